//! The one credential of the embedded servers.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::{private_file, random};

/// Base 32 without the letters that look like digits, so that a key can be read out.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// An access key in the form of AWS's: 20 characters, and a secret of 40.
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    access_key: String,
    secret_key: String,
}

impl Credentials {
    /// Those kept in `path`, made if the file is not there.
    ///
    /// # Errors
    /// Those of the file system; `InvalidData` if the file holds something else.
    pub(crate) fn load_or_make(path: &Path) -> io::Result<Self> {
        let contents = private_file::read_or_make(path, || {
            let made = Self { access_key: format!("TDGT{}", text::<16>()?), secret_key: text::<40>()? };
            Ok(Zeroizing::new(serde_json::to_vec_pretty(&made)?))
        })?;
        Ok(serde_json::from_slice(&contents)?)
    }

    pub(crate) fn access_key(&self) -> &str {
        &self.access_key
    }

    pub(crate) fn secret_key(&self) -> &str {
        &self.secret_key
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// `N` random characters, 5 bits each.
fn text<const N: usize>() -> io::Result<String> {
    let bytes = Zeroizing::new(random::bytes::<N>().map_err(io::Error::other)?);
    let symbol = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map_or('A', char::from);
    Ok(bytes.iter().map(symbol).collect())
}
