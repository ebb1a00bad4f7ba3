//! The tenant and the user to try things with.

use std::io;

use thiserror::Error;
use tidegate_ssh::{KeyGenerationError, ParsedKey, PublicKeyError, check_public_key, generate_client_key};
use tidegate_store::{
    AuthorizedKey, Directory, InvalidName, Mappings, Permission, PermissionRules, Status, StoreErrorKind, StoreResult,
    Tenant, TenantLimits, User,
};

use super::DevError;
use super::files::DataFiles;
use crate::expiry::now;

/// The demo tenant.
const TENANT: &str = "demo";
/// The demo user.
pub(super) const USER: &str = "demo";
/// Where the demo tenant's files lie.
const PREFIX: &str = "tenants/demo/";

/// Why the demo user has no key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key's files.
    #[error("the demo user's key can't be read or written")]
    File(#[from] io::Error),
    /// No key could be made.
    #[error(transparent)]
    Generation(#[from] KeyGenerationError),
    /// A name that was chosen here is not valid.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The public key's file holds something else.
    #[error("{file} is no public key; remove it and the demo user gets a new one")]
    PublicKey {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: PublicKeyError,
    },
}

/// Makes what is missing and leaves alone what is there, as an administrator may have changed it.
pub(super) async fn make(directory: &dyn Directory, files: &DataFiles<'_>, bucket: &str) -> Result<(), DevError> {
    let failed = |action| move |source| DevError::Prepare { action, source };
    let (line, is_new) = client_key(files)?;
    let key = authorized(&line, files)?;
    unless_there(directory.create_tenant(&tenant(bucket)?).await).map_err(failed("making the demo tenant"))?;
    let user = user(key.clone())?;
    let made = unless_there(directory.create_user(&user).await).map_err(failed("making the demo user"))?;
    if is_new && !made {
        unless_there(directory.add_key(&user.name, &key).await).map_err(failed("adding the demo user's key"))?;
    }
    Ok(())
}

/// The public line of the demo user's key, and whether it was made just now.
fn client_key(files: &DataFiles<'_>) -> Result<(String, bool), KeyError> {
    if let Some(line) = files.read_client_key()? {
        return Ok((line, false));
    }
    let (private, public) = generate_client_key("tidegate demo user")?;
    files.write_client_key(&private, &public)?;
    Ok((public, true))
}

fn authorized(line: &str, files: &DataFiles<'_>) -> Result<AuthorizedKey, KeyError> {
    let ParsedKey { id, key, comment, .. } = check_public_key(line)
        .map_err(|source| KeyError::PublicKey { file: files.client_public_key().display().to_string(), source })?;
    Ok(AuthorizedKey { id, key, comment, added: now(), expires: None })
}

fn tenant(bucket: &str) -> Result<Tenant, KeyError> {
    Ok(Tenant {
        name: TENANT.parse()?,
        status: Status::Active,
        bucket: bucket.to_owned(),
        prefix: PREFIX.parse()?,
        limits: TenantLimits::default(),
        created: now(),
    })
}

fn user(key: AuthorizedKey) -> Result<User, KeyError> {
    Ok(User {
        name: USER.parse()?,
        tenant: TENANT.parse()?,
        status: Status::Active,
        home: "/".to_owned(),
        permissions: Permission::ALL.into_iter().collect(),
        rules: PermissionRules::default(),
        mappings: Mappings::default(),
        max_sessions: None,
        lists_uploads: false,
        keys: vec![key],
        created: now(),
    })
}

/// Whether it was made now; fine if it is there.
fn unless_there(result: StoreResult<()>) -> StoreResult<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => Ok(false),
        Err(error) => Err(error),
    }
}
