//! `tidegate check-config`

use serde::Serialize;
use serde_json::json;
use tidegate_aws::{Aws, Probe};
use tidegate_ssh::load_host_keys;
use tidegate_store::{DataKeys, EncryptionContext, StoreResult};

use super::print::{Printer, Shown};
use super::{CommandError, Failure};
use crate::config::{Config, Loaded};
use crate::file_limit::FileLimit;
use crate::host_keys::Seal;

/// A check and what it found.
#[derive(Serialize)]
struct ProbeView {
    check: &'static str,
    ok: bool,
    message: String,
}

impl Shown for ProbeView {
    const COLUMNS: &'static [&'static str] = &["check", "result", "message"];

    fn row(&self) -> Vec<String> {
        let result = if self.ok { "ok" } else { "FAILED" };
        vec![self.check.to_owned(), result.to_owned(), self.message.clone()]
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}

/// Prints the settings in force, or, with `probe`, what the services answered.
pub(super) async fn run(loaded: &Loaded, probe: bool, printer: &mut Printer<'_>) -> Result<(), CommandError> {
    if !probe {
        let json = json!(loaded.effective.table());
        let files = FileLimit::reachable(loaded.config.ssh.max_connections);
        let text = || format!("# The configuration is valid. In force:\n{}\n# Here, {files}\n", loaded.effective);
        return printer.document(&json, text);
    }
    let found = probes(&loaded.config).await?;
    let mut list = printer.list::<ProbeView>();
    list.page(&found)?;
    list.finish("")?;
    let failed = found.iter().filter(|probe| !probe.ok).count();
    if failed == 0 { Ok(()) } else { Err(CommandError::Probes { failed, all: found.len() }) }
}

async fn probes(config: &Config) -> Result<Vec<ProbeView>, CommandError> {
    let aws = Aws::connect(&config.aws).await?;
    let bucket = config.host_keys.bucket()?;
    let mut found: Vec<_> = aws
        .probe(bucket)
        .await
        .into_iter()
        // Without KMS the root key is the local file, which is checked below.
        .filter(|probe| config.host_keys.seal == Seal::Kms || probe.name != "kms")
        .map(|Probe { name, ok, message }| ProbeView { check: name, ok, message })
        .collect();
    if config.host_keys.seal == Seal::LocalFile {
        found.push(match local_file(config, &aws).await {
            Ok(()) => ProbeView { check: "local root key", ok: true, message: "it seals and opens".to_owned() },
            Err(message) => ProbeView { check: "local root key", ok: false, message },
        });
    }
    found.push(host_keys(config, &aws).await);
    // Never a failure: a node with few connections serves well, and may run under another limit.
    let files = FileLimit::reachable(config.ssh.max_connections).to_string();
    found.push(ProbeView { check: "open files", ok: true, message: files });
    Ok(found)
}

async fn local_file(config: &Config, aws: &Aws) -> Result<(), String> {
    let data_keys = config.host_keys.data_keys(aws).map_err(|error| Failure(&error).to_string())?;
    round_trip(data_keys.as_ref()).await.map_err(|error| error.report())
}

async fn round_trip(data_keys: &dyn DataKeys) -> StoreResult<()> {
    let context = EncryptionContext::from([("tidegate:purpose".to_owned(), "probe".to_owned())]);
    let key = data_keys.generate(&context).await?;
    data_keys.unwrap(&key.wrapped, &context).await.map(drop)
}

async fn host_keys(config: &Config, aws: &Aws) -> ProbeView {
    let loaded = async {
        let store = config.host_keys.store(aws).map_err(|error| Failure(&error).to_string())?;
        let data_keys = config.host_keys.data_keys(aws).map_err(|error| Failure(&error).to_string())?;
        let keys = load_host_keys(&store, data_keys.as_ref(), &config.cluster)
            .await
            .map_err(|error| Failure(&error).to_string())?;
        match keys {
            Some(keys) => Ok(keys.fingerprints().into_iter().map(|(_, print)| print).collect::<Vec<_>>().join(", ")),
            None if config.host_keys.auto_init => Ok("none yet: the first node makes them".to_owned()),
            None => Err("none yet: run tidegate hostkey init".to_owned()),
        }
    };
    match loaded.await {
        Ok(message) => ProbeView { check: "host keys", ok: true, message },
        Err(message) => ProbeView { check: "host keys", ok: false, message },
    }
}
