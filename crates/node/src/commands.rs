//! The administrative commands: each takes ports and a place to print to, and nothing else.

mod access;
mod check_config;
mod error;
mod host_keys;
mod import;
mod keys;
mod print;
mod quotas;
mod tenants;
#[cfg(test)]
mod tests;
mod uploads;
mod users;

use std::io::{self, Write};

use clap::CommandFactory;
use tidegate_aws::Aws;
use tidegate_store::UserChange;

use crate::cli::{
    CheckConfigArgs, Cli, HostkeyArgs, Shell, TenantAction, TenantArgs, UploadsAction, UploadsArgs, UserAction,
    UserArgs, UserKeyAction,
};
use crate::config::Loaded;
use crate::import::ImportArgs;
use print::Printer;

pub use error::{CommandError, Failure};

/// `tidegate check-config`
///
/// # Errors
/// If a probe failed or could not be made.
pub async fn check_config(args: &CheckConfigArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CommandError> {
    let mut printer = Printer::new(args.admin.output, out);
    check_config::run(loaded, args.probe, &mut printer).await
}

/// `tidegate init`
///
/// # Errors
/// If the table can't be created.
pub async fn init(loaded: &Loaded, output: crate::cli::Output, out: &mut dyn Write) -> Result<(), CommandError> {
    let aws = Aws::connect(&loaded.config.aws).await?;
    let table = &loaded.config.aws.table;
    aws.create_table().await.map_err(|error| CommandError::store(format!("creating the table {table}"), error))?;
    let json = serde_json::json!({ "table": table, "status": "active" });
    Printer::new(output, out).message(&format!("the table {table} is ready"), &json)
}

/// `tidegate hostkey …`
///
/// # Errors
/// See [`CommandError`].
pub async fn hostkey(args: &HostkeyArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CommandError> {
    let mut printer = Printer::new(args.admin.output, out);
    host_keys::run(&args.action, &loaded.config, &mut printer).await
}

/// `tidegate tenant …`
///
/// # Errors
/// See [`CommandError`].
pub async fn tenant(args: &TenantArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CommandError> {
    let aws = Aws::connect(&loaded.config.aws).await?;
    let (directory, usage) = (aws.directory(), aws.usage());
    let (directory, usage) = (directory.as_ref(), usage.as_ref());
    let mut printer = Printer::new(args.admin.output, out);
    match &args.action {
        TenantAction::Add { name, bucket, prefix, limits } => {
            let tenant = tenants::new(name, bucket, prefix, limits.limits());
            aws.check_tenant(&tenant).map_err(|source| CommandError::TenantFiles { name: name.to_string(), source })?;
            tenants::add(directory, &tenant, &loaded.config.host_keys, &mut printer).await
        }
        TenantAction::List => tenants::list(directory, &mut printer).await,
        TenantAction::Show { name } => tenants::show(directory, usage, name, &mut printer).await,
        TenantAction::Set { name, limits } => {
            tenants::set(directory, usage, name, &limits.change(), &mut printer).await
        }
        TenantAction::Recount { name } => {
            quotas::recount(directory, aws.object_stores().as_ref(), usage, name, &mut printer).await
        }
        TenantAction::Disable { name } => tenants::disable(directory, name, &mut printer).await,
        TenantAction::Enable { name } => tenants::enable(directory, name, &mut printer).await,
    }
}

/// `tidegate user …`
///
/// # Errors
/// See [`CommandError`].
pub async fn user(args: &UserArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CommandError> {
    // Files are checked before any service is asked: a wrong one is the commonest mistake.
    let access = match &args.action {
        UserAction::Add { name, access, .. } | UserAction::Set { name, access } => {
            access::read(access, name, &mut io::stdin().lock())?
        }
        _ => UserChange::default(),
    };
    let keys = match &args.action {
        UserAction::Add { keys, .. } => keys::read(keys, &mut io::stdin().lock())?,
        UserAction::Key(args) => match &args.action {
            UserKeyAction::Add { keys, .. } => keys::read(keys, &mut io::stdin().lock())?,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    let directory = Aws::connect(&loaded.config.aws).await?.directory();
    let directory = directory.as_ref();
    let mut printer = Printer::new(args.admin.output, out);
    match &args.action {
        UserAction::Add { name, tenant, .. } => {
            let user = users::new(name, tenant, &access, keys)?;
            users::add(directory, &user, &mut printer).await
        }
        UserAction::List { tenant } => users::list(directory, tenant.as_ref(), &mut printer).await,
        UserAction::Show { name } => users::show(directory, name, &mut printer).await,
        UserAction::Set { name, .. } => access::set(directory, name, &access, &mut printer).await,
        UserAction::Disable { name } => users::disable(directory, name, &mut printer).await,
        UserAction::Enable { name } => users::enable(directory, name, &mut printer).await,
        UserAction::Remove { name } => users::remove(directory, name, &mut printer).await,
        UserAction::Key(args) => match &args.action {
            UserKeyAction::Add { name, .. } => keys::add(directory, name, keys, &mut printer).await,
            UserKeyAction::List { name } => keys::list(directory, name, &mut printer).await,
            UserKeyAction::Remove { name, id } => keys::remove(directory, name, id, &mut printer).await,
        },
    }
}

/// `tidegate import …`
///
/// # Errors
/// See [`CommandError`].
pub async fn import(args: &ImportArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CommandError> {
    // The sources are read before any service is asked: a wrong one is the commonest mistake.
    let sources = import::read(&args.source, &mut io::stdin().lock());
    let directory = Aws::connect(&loaded.config.aws).await?.directory();
    let mut printer = Printer::new(args.admin.output, out);
    import::run(directory.as_ref(), &args.source, sources, &import::progress(), &mut printer).await
}

/// `tidegate uploads …`
///
/// # Errors
/// See [`CommandError`].
pub async fn uploads(args: &UploadsArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CommandError> {
    let aws = Aws::connect(&loaded.config.aws).await?;
    let (directory, journal) = (aws.directory(), aws.journal());
    let mut printer = Printer::new(args.admin.output, out);
    match &args.action {
        UploadsAction::List { tenant } => {
            uploads::list(directory.as_ref(), journal.as_ref(), tenant.as_ref(), &mut printer).await
        }
        UploadsAction::Abort { tenant, path } => {
            let stores = aws.object_stores();
            uploads::abort(directory.as_ref(), stores.as_ref(), journal, (tenant, path), &mut printer).await
        }
    }
}

/// `tidegate completions SHELL`
///
/// # Errors
/// If the output can't be written.
pub fn completions(shell: Shell, out: &mut dyn Write) -> Result<(), CommandError> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    // Generated into memory first, for the generator panics when its output breaks.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
    out.write_all(&script)?;
    Ok(())
}
