//! `tidegate import …`: users and keys from other servers. Everything is read and checked first;
//! nothing is written while there is an error.

mod authorized_keys;
mod findings;
mod locate;
mod options;
mod passwd;
mod plan;
mod report;
mod source;
#[cfg(test)]
mod tests;
mod transfer_family;
mod write;

use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_store::{Directory, TenantName};

use self::authorized_keys::KeyRules;
use self::findings::Findings;
use self::report::Report;
use self::source::{Draft, Files};
use super::print::Printer;
use super::{CommandError, tenants};
use crate::expiry::now;
use crate::import::{ImportOptions, ImportSource};

/// The greatest number of users of one run: all of them are held in memory.
const MAX_USERS: usize = 100_000;

/// How often a run tells how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// What the sources tell, before any service was asked.
#[derive(Debug)]
pub(super) struct Sources {
    drafts: Vec<Draft>,
    findings: Findings,
}

/// Reads the sources.
pub(super) fn read(source: &ImportSource, stdin: &mut dyn Read) -> Sources {
    let mut findings = Findings::default();
    let options = options(source);
    let rules = KeyRules::new(&options.ignore_options, options.skip_keys, now());
    let mut files = Files::new(stdin);
    let drafts = match source {
        ImportSource::Passwd(args) => passwd::read(args, &rules, &mut files, &mut findings),
        ImportSource::TransferFamily(args) => transfer_family::read(args, &rules, &mut files, &mut findings),
    };
    Sources { drafts, findings }
}

/// Makes the plan and, unless it is a dry run or has errors, does it.
pub(super) async fn run(
    directory: &dyn Directory,
    source: &ImportSource,
    read: Sources,
    progress: &(dyn Fn(usize, usize) + Sync),
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let Sources { drafts, mut findings } = read;
    let options = options(source);
    if drafts.len() > MAX_USERS {
        return Err(CommandError::TooManyUsers { users: drafts.len(), max: MAX_USERS });
    }
    let tenants = match source {
        ImportSource::Passwd(args) => vec![tenants::read(directory, &args.tenant).await?],
        ImportSource::TransferFamily(_) => plan::tenants(directory).await?,
    };
    let users = plan::users(drafts, &tenants, only(source), options, &mut findings);
    let steps = plan::steps(directory, users, options.update, &mut findings).await?;
    let mut report = Report::new(options.dry_run, &steps, &findings);
    let errors = findings.errors();
    if errors > 0 || options.dry_run {
        report.print(printer)?;
        return if errors > 0 { Err(CommandError::NotImported { errors }) } else { Ok(()) };
    }
    let all = steps.iter().filter(|step| step.action != plan::Action::Keep).count();
    let written = write::write(directory, &steps, &|done| progress(done, all)).await;
    let done = report.settle(&written.fates);
    report.print(printer)?;
    match written.failure {
        None => Ok(()),
        Some(source) => Err(CommandError::ImportCut { done, all, source: Box::new(source) }),
    }
}

/// Tells on standard error how far it is, every few seconds.
pub(super) fn progress() -> impl Fn(usize, usize) + Sync {
    let told = Mutex::new(Instant::now());
    move |done, all| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= PROGRESS {
            *told = Instant::now();
            eprintln!("tidegate: {done} of {all} users are written");
        }
    }
}

fn options(source: &ImportSource) -> &ImportOptions {
    match source {
        ImportSource::Passwd(args) => &args.options,
        ImportSource::TransferFamily(args) => &args.options,
    }
}

/// The one tenant that the users may have.
fn only(source: &ImportSource) -> Option<&TenantName> {
    match source {
        ImportSource::Passwd(args) => Some(&args.tenant),
        ImportSource::TransferFamily(args) => args.tenant.as_ref(),
    }
}
