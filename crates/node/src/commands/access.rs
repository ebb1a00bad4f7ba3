//! `tidegate user set`, and what `user add` is told of what a user sees and may do.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;

use serde::{Deserialize, Serialize};
use tidegate_store::{
    Directory, InvalidAccess, Mapping, Mappings, PermissionRule, PermissionRules, StoreErrorKind, User, UserChange,
    UserName,
};
use tidegate_vfs::VirtualPath;

use super::keys::limited;
use super::print::Printer;
use super::users::{self, UserView};
use super::{CommandError, tenants};
use crate::access::{AccessArgs, RuleArg, directory as directory_path};
use crate::limits;

/// A mapping as AWS Transfer Family writes it (`HomeDirectoryMapEntry`), and `ReadOnly`, which it
/// does not have.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct MapEntry {
    entry: String,
    target: String,
    #[serde(default, skip_serializing)]
    r#type: EntryType,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    read_only: bool,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum EntryType {
    #[default]
    Directory,
    File,
}

impl MapEntry {
    /// As it can be given again.
    pub(super) fn new(mapping: &Mapping) -> Self {
        Self {
            entry: mapping.entry.to_string(),
            target: mapping.target.to_string(),
            r#type: EntryType::Directory,
            read_only: mapping.read_only,
        }
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let end = if self.read_only { " (read-only)" } else { "" };
        format!("{} shows {}{end}", self.entry, self.target)
    }

    /// For this user. The name is put in now: it never changes, and what is checked is what holds.
    fn mapping(self, user: &UserName) -> Result<Mapping, String> {
        let target = Mappings::target_for(&self.target, user);
        if self.r#type == EntryType::File {
            return Err(format!("the entry \"{}\" is of the type FILE; only directories can be mapped", self.entry));
        }
        if let Some(unknown) = [&self.entry, &target].into_iter().find(|path| path.contains("${")) {
            return Err(format!("\"{unknown}\": only {} is known, in a Target", Mappings::USER_NAME));
        }
        let path = |text: &str| directory_path(text).map_err(|error| error.to_string());
        Ok(Mapping { entry: path(&self.entry)?, target: path(&target)?, read_only: self.read_only })
    }
}

/// What the command line says of a user, checked by itself.
pub(super) fn read(args: &AccessArgs, user: &UserName, stdin: &mut dyn Read) -> Result<UserChange, CommandError> {
    let home = args.home.as_deref().map(home).transpose()?;
    let rules: Vec<_> = args
        .rules
        .iter()
        .filter_map(|rule| match rule {
            RuleArg::None => None,
            RuleArg::Rule(path, permissions) => {
                Some(PermissionRule { path: path.clone(), permissions: permissions.clone() })
            }
        })
        .collect();
    let (whole, rules): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.path.relative().is_empty());
    let mut everywhere = args.permissions.iter().map(|list| list.0.clone());
    let mut whole = everywhere.by_ref().chain(whole.iter().map(|rule| rule.permissions.clone()));
    let permissions = whole.next();
    if whole.next().is_some() {
        let root = "/".parse().map_err(|_| CommandError::Home("/".to_owned()))?;
        return Err(CommandError::Rules(InvalidAccess::Twice(root)));
    }
    // A rule for the root alone leaves the others as they are.
    let names_others = !rules.is_empty() || args.rules.contains(&RuleArg::None);
    let rules = names_others.then(|| PermissionRules::new(rules)).transpose().map_err(CommandError::Rules)?;
    let mappings = args.mappings.as_deref().map(|source| mappings(source, user, stdin)).transpose()?;
    let max_sessions = limits::change(args.max_sessions, |limit| limit);
    Ok(UserChange { home, permissions, rules, mappings, max_sessions, lists_uploads: args.list_uploads })
}

fn home(home: &str) -> Result<String, CommandError> {
    let refused = || CommandError::Home(home.to_owned());
    if !home.starts_with('/') {
        return Err(refused());
    }
    let path = VirtualPath::resolve(&VirtualPath::root(), home.as_bytes()).map_err(|_| refused())?;
    Ok(path.as_str().to_owned())
}

fn mappings(source: &str, user: &UserName, stdin: &mut dyn Read) -> Result<Mappings, CommandError> {
    let (place, text) = match source {
        "none" => return Ok(Mappings::default()),
        "-" => ("standard input", limited(stdin)),
        path => (path, File::open(path).and_then(limited)),
    };
    let refused = |problem: String| CommandError::Mappings { place: place.to_owned(), problem };
    let text = text.map_err(|error| refused(format!("it can't be read: {error}")))?;
    let entries: Vec<MapEntry> = serde_json::from_str(&text).map_err(|error| {
        refused(format!(r#"it is no JSON list such as [{{"Entry": "/", "Target": "/home/{user}"}}]: {error}"#))
    })?;
    if entries.is_empty() {
        return Err(refused("the list is empty; \"none\" in place of a file removes all mappings".to_owned()));
    }
    let mappings = entries.into_iter().map(|entry| entry.mapping(user)).collect::<Result<_, _>>().map_err(refused)?;
    Mappings::new(mappings).map_err(|error| refused(error.to_string()))
}

/// Fails if the user's sessions would start in a directory that the user does not see.
pub(super) fn check_home(user: &User) -> Result<(), CommandError> {
    let is_seen = user.home.parse().is_ok_and(|home| user.mappings.show(&home));
    if is_seen || user.mappings.as_slice().is_empty() {
        return Ok(());
    }
    Err(CommandError::HiddenHome { home: user.home.clone(), user: user.name.to_string() })
}

/// Changes what a user sees and may do, and shows the user as it is then.
pub(super) async fn set(
    directory: &dyn Directory,
    name: &UserName,
    change: &UserChange,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let mut user = users::read(directory, name).await?;
    change.apply(&mut user);
    check_home(&user)?;
    directory.set_user(name, change).await.map_err(|error| match error.kind() {
        StoreErrorKind::NotFound => CommandError::no_user(name),
        _ => CommandError::store(format!("changing the user {name}"), error),
    })?;
    printer.record(&UserView::new(&users::read(directory, name).await?))?;
    if change.mappings.is_some() {
        note_bucket(directory, &user, printer).await?;
    }
    printer.note("it holds for sessions that begin once the nodes' caches have run out (accounts.ttl)")
}

/// In AWS Transfer Family a target begins with the bucket.
async fn note_bucket(directory: &dyn Directory, user: &User, printer: &mut Printer<'_>) -> Result<(), CommandError> {
    let bucket = tenants::read(directory, &user.tenant).await?.bucket;
    let begins = |mapping: &&Mapping| mapping.target.relative().split('/').next() == Some(bucket.as_str());
    match user.mappings.as_slice().iter().find(begins) {
        Some(mapping) => printer.note(&format!(
            "the target {} begins with the bucket's name: a target is a path in the tenant's files, without bucket \
             and prefix",
            mapping.target
        )),
        None => Ok(()),
    }
}
