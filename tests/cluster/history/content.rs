//! Content that tells whose it is, so that a reader can say if it has all of it and nothing else.

use tidegate_tests::random_bytes;

use super::Version;

/// The version and the length, eight bytes each, stand in front.
const HEAD: usize = 16;

/// The content of one upload, `len` bytes but 16 at least.
pub(crate) fn content(version: Version, len: usize) -> Vec<u8> {
    let len = len.max(HEAD);
    let mut bytes = random_bytes(version.0, len);
    bytes[..8].copy_from_slice(&version.0.to_be_bytes());
    bytes[8..HEAD].copy_from_slice(&(len as u64).to_be_bytes());
    bytes
}

/// Whose content this is.
///
/// # Errors
/// What is wrong with it, if it is not all of one upload's.
pub(crate) fn recognise(bytes: &[u8]) -> Result<Version, String> {
    let Some((head, _)) = bytes.split_at_checked(HEAD) else {
        return Err(format!("{} bytes are no upload's content", bytes.len()));
    };
    let number = |part: &[u8]| u64::from_be_bytes(part.try_into().expect("eight bytes"));
    let (version, len) = (Version(number(&head[..8])), number(&head[8..]));
    if len != bytes.len() as u64 {
        return Err(format!("{} bytes that begin like {version:?}, which has {len}", bytes.len()));
    }
    let whole = content(version, bytes.len());
    if bytes == whole {
        return Ok(version);
    }
    let at = bytes.iter().zip(&whole).take_while(|(found, expected)| found == expected).count();
    Err(format!("other bytes from {at} on than {version:?} of {len} bytes has"))
}
