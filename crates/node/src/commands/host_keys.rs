//! `tidegate hostkey …`

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use humantime_serde::re::humantime::format_duration;
use serde::Serialize;
use serde_json::json;
use tidegate_aws::Aws;
use tidegate_ssh::{
    Change, HostKey, HostKeyAlgorithm, HostKeyError, HostKeyFileError, HostKeySet, ImportedHostKey, KeyState,
    RotationError, Rules, change_host_keys, import_host_keys, init_host_keys, load_host_keys, rotate_host_keys,
};
use tidegate_store::{DataKeys, Directory, HostKeyStore, StoreResult, Tenant};
use tracing::warn;

use super::CommandError;
use super::print::{Printer, Shown};
use crate::cli::{HostkeyAction, KeyStep};
use crate::config::Config;
use crate::expiry::{now, rfc3339};
use crate::host_keys;

/// One host key as it is shown: never its private part.
#[derive(Serialize)]
struct HostKeyView {
    algorithm: String,
    fingerprint: String,
    state: &'static str,
    public_key: String,
}

/// One host key with what has happened to it.
#[derive(Serialize)]
struct HostKeyStateView {
    fingerprint: String,
    algorithm: String,
    state: &'static str,
    since: Option<String>,
    created: Option<String>,
    may_be_activated: Option<String>,
    public_key: String,
}

impl Shown for HostKeyView {
    const COLUMNS: &'static [&'static str] = &["algorithm", "fingerprint", "state", "public key"];

    fn row(&self) -> Vec<String> {
        vec![self.algorithm.clone(), self.fingerprint.clone(), self.state.to_owned(), self.public_key.clone()]
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}

impl Shown for HostKeyStateView {
    const COLUMNS: &'static [&'static str] =
        &["fingerprint", "algorithm", "state", "since", "created", "may be activated"];

    fn row(&self) -> Vec<String> {
        let time = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
        let (since, created, ready) = (time(&self.since), time(&self.created), time(&self.may_be_activated));
        vec![self.fingerprint.clone(), self.algorithm.clone(), self.state.to_owned(), since, created, ready]
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let public_key = ("public key", self.public_key.clone());
        Self::COLUMNS.iter().copied().zip(self.row()).chain([public_key]).collect()
    }
}

/// The cluster's sealed host keys and those who ask for changes of them.
pub(super) struct HostKeys<'a> {
    pub(super) store: HostKeyStore,
    pub(super) data_keys: Arc<dyn DataKeys>,
    pub(super) config: &'a Config,
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
    let host_keys =
        HostKeys { store: config.host_keys.store(&aws)?, data_keys: config.host_keys.data_keys(&aws)?, config };
    if let HostkeyAction::Import { .. } | HostkeyAction::Init = action {
        refuse_exposed(&config.host_keys, exposed_to(aws.directory().as_ref(), &config.host_keys).await)?;
    }
    host_keys.run(action, imported, printer).await
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

impl HostKeys<'_> {
    /// Does what was asked for; `imported` are the keys of the files that an import names.
    pub(super) async fn run(
        &self,
        action: &HostkeyAction,
        imported: Option<HostKeySet>,
        printer: &mut Printer<'_>,
    ) -> Result<(), CommandError> {
        let (data_keys, cluster) = (self.data_keys.as_ref(), self.config.cluster.as_str());
        match action {
            HostkeyAction::Import { replace, .. } => {
                let set = imported.ok_or(CommandError::HostKeyFiles(HostKeyFileError::None))?;
                self.import(set, *replace, printer).await
            }
            HostkeyAction::Init => show(&init_host_keys(&self.store, data_keys, cluster).await?, view, printer),
            HostkeyAction::Show => show(&self.load().await?, view, printer),
            HostkeyAction::List => show(&self.load().await?, state_view, printer),
            HostkeyAction::Add { algorithm, announce_for } => {
                self.add((*algorithm).into(), *announce_for, printer).await
            }
            HostkeyAction::Activate(step) => self.step(step, HostKeySet::activate, "active", printer).await,
            HostkeyAction::Retire(step) => self.step(step, HostKeySet::retire, "retired", printer).await,
            HostkeyAction::Remove(step) => self.step(step, HostKeySet::remove, "removed", printer).await,
            HostkeyAction::Rotate { force: false } => Err(CommandError::RotateAll),
            HostkeyAction::Rotate { force: true } => {
                show(&rotate_host_keys(&self.store, data_keys, cluster).await?, view, printer)?;
                printer.note(&format!("{}; clients that know the old keys alone refuse to connect then", self.when()))
            }
        }
    }

    /// Makes the keys of another server the cluster's.
    async fn import(&self, set: HostKeySet, replace: bool, printer: &mut Printer<'_>) -> Result<(), CommandError> {
        let (data_keys, cluster) = (self.data_keys.as_ref(), self.config.cluster.as_str());
        show(&import_host_keys(&self.store, data_keys, cluster, set, replace).await?, view, printer)?;
        printer.note(&format!(
            "{}; ECDSA keys are shown with ssh.ecdsa_host_key = true alone. Remove the files where they are not needed",
            self.when()
        ))
    }

    async fn load(&self) -> Result<HostKeySet, HostKeyError> {
        let keys = load_host_keys(&self.store, self.data_keys.as_ref(), &self.config.cluster).await?;
        keys.ok_or(HostKeyError::Missing)
    }

    async fn add(
        &self,
        algorithm: HostKeyAlgorithm,
        announce_for: Duration,
        printer: &mut Printer<'_>,
    ) -> Result<(), CommandError> {
        let key = HostKey::generate(algorithm, KeyState::Announced).await?;
        let (set, _) = self.change(|set| set.add(key.clone(), announce_for, &self.rules(false))).await?;
        let added = set.key(&key.fingerprint()).unwrap_or(&key);
        printer.record(&state_view(added))?;
        printer.note(
            "clients must learn the public key before it is activated: put it beside the old one in their known_hosts",
        )
    }

    /// Takes one key a step further and says what came of it.
    async fn step(
        &self,
        KeyStep { fingerprint, force }: &KeyStep,
        step: fn(&mut HostKeySet, &str, &Rules) -> Result<Change, RotationError>,
        state: &'static str,
        printer: &mut Printer<'_>,
    ) -> Result<(), CommandError> {
        let (set, change) = self.change(|set| step(set, fingerprint, &self.rules(*force))).await?;
        let record = |retired: &Option<String>, changed: bool| {
            json!({
                "fingerprint": fingerprint, "state": state, "changed": changed, "retired": retired,
                "revision": set.revision(),
            })
        };
        match change {
            Change::None => {
                printer.message(&format!("the key {fingerprint} is {state} already"), &record(&None, false))
            }
            Change::Made { retired } => {
                let followed = retired.as_ref().map(|old| format!("; {old} is retired")).unwrap_or_default();
                let text = format!("the key {fingerprint} is {state}{followed}. {}", self.when());
                printer.message(&text, &record(&retired, true))
            }
        }
    }

    async fn change<T>(
        &self,
        change: impl FnMut(&mut HostKeySet) -> Result<T, RotationError>,
    ) -> Result<(HostKeySet, T), HostKeyError> {
        change_host_keys(&self.store, self.data_keys.as_ref(), &self.config.cluster, change).await
    }

    fn rules(&self, force: bool) -> Rules {
        Rules { now: now(), force, ecdsa_offered: self.config.ssh.ecdsa_host_key }
    }

    fn when(&self) -> String {
        format!("Nodes follow within {}", format_duration(self.config.host_keys.refresh_interval))
    }
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

fn show<T: Shown>(keys: &HostKeySet, view: fn(&HostKey) -> T, printer: &mut Printer<'_>) -> Result<(), CommandError> {
    let views: Vec<T> = keys.keys().iter().map(view).collect();
    let mut list = printer.list::<T>();
    list.page(&views)?;
    list.finish("there are no host keys")
}

fn view(key: &HostKey) -> HostKeyView {
    HostKeyView {
        algorithm: key.algorithm(),
        fingerprint: key.fingerprint(),
        state: key.state().as_str(),
        public_key: key.public_key(),
    }
}

fn state_view(key: &HostKey) -> HostKeyStateView {
    // 0 stands for what the first format did not keep.
    let time = |time: u64| (time > 0).then(|| rfc3339(time));
    HostKeyStateView {
        fingerprint: key.fingerprint(),
        algorithm: key.algorithm(),
        state: key.state().as_str(),
        since: time(key.since()),
        created: time(key.created()),
        may_be_activated: key.ready().and_then(time),
        public_key: key.public_key(),
    }
}

#[cfg(test)]
mod tests;
