//! `tidegate hostkey …`

use std::fs::File;
use std::path::PathBuf;

use serde::Serialize;
use tidegate_aws::Aws;
use tidegate_ssh::{
    HostKeyError, HostKeyFileError, HostKeySet, ImportedHostKey, import_host_keys, init_host_keys, load_host_keys,
    rotate_host_keys,
};
use tidegate_store::{Directory, StoreResult, Tenant};
use tracing::warn;

use super::CommandError;
use super::print::{Printer, Shown};
use crate::cli::HostkeyAction;
use crate::config::Config;
use crate::host_keys;

/// One host key as it is shown: never its private part.
#[derive(Serialize)]
struct HostKeyView {
    algorithm: String,
    fingerprint: String,
    public_key: String,
}

impl Shown for HostKeyView {
    const COLUMNS: &'static [&'static str] = &["algorithm", "fingerprint", "public key"];

    fn row(&self) -> Vec<String> {
        vec![self.algorithm.clone(), self.fingerprint.clone(), self.public_key.clone()]
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}

pub(super) async fn run(
    action: &HostkeyAction,
    config: &Config,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    // Files are read before any service is asked: a wrong one is the commonest mistake.
    let imported = match action {
        HostkeyAction::Import { files, .. } => Some(read(files, config.ssh.ecdsa_host_key)?),
        _ => None,
    };
    let aws = Aws::connect(&config.aws).await?;
    let store = config.host_keys.store(&aws)?;
    let data_keys = config.host_keys.data_keys(&aws)?;
    let cluster = config.cluster.as_str();
    let keys = match action {
        HostkeyAction::Import { replace, .. } => {
            refuse_exposed(&config.host_keys, exposed_to(aws.directory().as_ref(), &config.host_keys).await)?;
            let set = imported.ok_or(HostKeyError::Missing)?;
            import_host_keys(&store, data_keys.as_ref(), cluster, set, *replace).await?
        }
        HostkeyAction::Init => {
            refuse_exposed(&config.host_keys, exposed_to(aws.directory().as_ref(), &config.host_keys).await)?;
            init_host_keys(&store, data_keys.as_ref(), cluster).await?
        }
        HostkeyAction::Show => {
            load_host_keys(&store, data_keys.as_ref(), cluster).await?.ok_or(HostKeyError::Missing)?
        }
        HostkeyAction::Rotate => rotate_host_keys(&store, data_keys.as_ref(), cluster).await?,
    };
    let mut list = printer.list::<HostKeyView>();
    list.page(&views(&keys))?;
    list.finish("there are no host keys")?;
    match action {
        HostkeyAction::Import { .. } => printer.note(
            "nodes use these when they start again; ECDSA keys only with ssh.ecdsa_host_key = true. Remove the files where \
             they are not needed",
        ),
        HostkeyAction::Rotate => {
            printer.note("nodes use the new keys when they start again; clients will see the change")
        }
        _ => Ok(()),
    }
}

/// The keys in these files, of which nodes must offer at least one.
fn read(files: &[PathBuf], with_ecdsa: bool) -> Result<HostKeySet, CommandError> {
    let mut keys = Vec::new();
    for path in files {
        let refused = |source: HostKeyFileError| CommandError::HostKeyFile { path: path.clone(), source };
        let mut file = File::open(path).map_err(|error| refused(error.into()))?;
        keys.push(ImportedHostKey::read(&mut file).map_err(refused)?);
    }
    if !with_ecdsa && keys.iter().all(ImportedHostKey::is_ecdsa) {
        return Err(CommandError::EcdsaAlone);
    }
    HostKeySet::imported(keys).map_err(CommandError::HostKeyFiles)
}

/// The first tenant among whose files the host keys lie, disabled ones included.
pub(super) async fn exposed_to(
    directory: &dyn Directory,
    host_keys: &host_keys::Config,
) -> StoreResult<Option<Tenant>> {
    let mut after = None;
    loop {
        let page = directory.tenants(after.as_deref()).await?;
        if let Some(tenant) = page.items.into_iter().find(|tenant| host_keys.lie_within(tenant)) {
            return Ok(Some(tenant));
        }
        after = page.next;
        if after.is_none() {
            return Ok(None);
        }
    }
}

/// Refuses to make keys where a tenant would reach them. Without an answer it goes on: the table may
/// be made later than the keys, and nodes check every tenant that logs in.
pub(super) fn refuse_exposed(
    host_keys: &host_keys::Config,
    found: StoreResult<Option<Tenant>>,
) -> Result<(), CommandError> {
    match found {
        Ok(None) => Ok(()),
        Ok(Some(tenant)) => Err(CommandError::HostKeysExposed {
            tenant: tenant.name.to_string(),
            bucket: tenant.bucket,
            key: host_keys.key.clone(),
        }),
        Err(error) => {
            warn!(
                error = error.report(),
                "the tenants can't be listed: it is not checked whether the host keys lie among a tenant's files"
            );
            Ok(())
        }
    }
}

fn views(keys: &HostKeySet) -> Vec<HostKeyView> {
    keys.fingerprints()
        .into_iter()
        .zip(keys.public_keys())
        .map(|((algorithm, fingerprint), public_key)| HostKeyView { algorithm, fingerprint, public_key })
        .collect()
}
