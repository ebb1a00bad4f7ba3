//! `tidegate hostkey …`

use serde::Serialize;
use tidegate_aws::Aws;
use tidegate_ssh::{HostKeyError, HostKeySet, init_host_keys, load_host_keys, rotate_host_keys};

use super::CommandError;
use super::print::{Printer, Shown};
use crate::cli::HostkeyAction;
use crate::config::Config;

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
    let aws = Aws::connect(&config.aws).await?;
    let store = config.host_keys.store(&aws)?;
    let data_keys = config.host_keys.data_keys(&aws)?;
    let cluster = config.cluster.as_str();
    let keys = match action {
        HostkeyAction::Init => init_host_keys(&store, data_keys.as_ref(), cluster).await?,
        HostkeyAction::Show => {
            load_host_keys(&store, data_keys.as_ref(), cluster).await?.ok_or(HostKeyError::Missing)?
        }
        HostkeyAction::Rotate => rotate_host_keys(&store, data_keys.as_ref(), cluster).await?,
    };
    let mut list = printer.list::<HostKeyView>();
    list.page(&views(&keys))?;
    list.finish("there are no host keys")?;
    match action {
        HostkeyAction::Rotate => {
            printer.note("nodes use the new keys when they start again; clients will see the change")
        }
        _ => Ok(()),
    }
}

fn views(keys: &HostKeySet) -> Vec<HostKeyView> {
    keys.fingerprints()
        .into_iter()
        .zip(keys.public_keys())
        .map(|((algorithm, fingerprint), public_key)| HostKeyView { algorithm, fingerprint, public_key })
        .collect()
}
