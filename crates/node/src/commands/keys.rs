//! `tidegate user key …`

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;
use serde_json::json;
use tidegate_ssh::{ParsedKey, check_public_key};
use tidegate_store::{AuthorizedKey, Directory, StoreErrorKind, User, UserName};

use super::print::{Printer, Shown};
use super::{CommandError, users};
use crate::cli::KeyArgs;
use crate::expiry::{now, rfc3339};

/// The greatest size of a file with keys, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A key as it is shown.
#[derive(Serialize)]
pub(super) struct KeyView {
    id: String,
    algorithm: String,
    comment: String,
    added: String,
    expires: Option<String>,
    expired: bool,
    key: String,
}

impl KeyView {
    pub(super) fn new(key: &AuthorizedKey) -> Self {
        Self {
            id: key.id.clone(),
            algorithm: key.key.split(' ').next().unwrap_or_default().to_owned(),
            comment: key.comment.clone(),
            added: rfc3339(key.added),
            expires: key.expires.map(rfc3339),
            expired: key.expires.is_some_and(|expires| expires <= now()),
            key: key.key.clone(),
        }
    }
}

impl Shown for KeyView {
    const COLUMNS: &'static [&'static str] = &["id", "algorithm", "added", "expires", "comment"];

    fn row(&self) -> Vec<String> {
        let expires = match &self.expires {
            None => "never".to_owned(),
            Some(time) if self.expired => format!("{time} (expired)"),
            Some(time) => time.clone(),
        };
        vec![self.id.clone(), self.algorithm.clone(), self.added.clone(), expires, self.comment.clone()]
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}

/// The keys that the command line names, checked; the same key given twice counts once.
pub(super) fn read(args: &KeyArgs, stdin: &mut dyn Read) -> Result<Vec<AuthorizedKey>, CommandError> {
    let added = now();
    let expires = args.expires.map(|expiry| expiry.resolve(added)).transpose()?;
    let mut keys: Vec<AuthorizedKey> = Vec::new();
    for source in &args.sources {
        for ParsedKey { id, key, comment, .. } in parse(source, stdin)? {
            if keys.iter().all(|known| known.id != id) {
                keys.push(AuthorizedKey { id, key, comment, added, expires });
            }
        }
    }
    Ok(keys)
}

fn parse(source: &str, stdin: &mut dyn Read) -> Result<Vec<ParsedKey>, CommandError> {
    let (place, text) = match source {
        "-" => ("standard input".to_owned(), limited(stdin).map_err(|error| unreadable("standard input", error))?),
        key if key.trim().contains(' ') && !Path::new(key).exists() => ("the argument".to_owned(), key.to_owned()),
        path => {
            let text = File::open(path).and_then(limited).map_err(|error| unreadable(path, error))?;
            (path.to_owned(), text)
        }
    };
    // A private key has many lines, of which the first tells all.
    if text.trim_start().starts_with("-----BEGIN") {
        return check_public_key(&text).map(|key| vec![key]).map_err(|source| CommandError::Key { place, source });
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !matches!(line.trim().chars().next(), None | Some('#')));
    let keys: Vec<_> = lines
        .map(|(n, line)| {
            check_public_key(line)
                .map_err(|source| CommandError::Key { place: format!("line {} of {place}", n + 1), source })
        })
        .collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(CommandError::NoKeyIn(place)) } else { Ok(keys) }
}

/// The whole text of a small file.
pub(super) fn limited(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
    }
    Ok(text)
}

fn unreadable(path: &str, source: io::Error) -> CommandError {
    CommandError::ReadKey { path: path.into(), source }
}

/// Adds the keys: all of them or none.
pub(super) async fn add(
    directory: &dyn Directory,
    name: &UserName,
    keys: Vec<AuthorizedKey>,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    if keys.is_empty() {
        return Err(CommandError::NoKey);
    }
    if let Err(error) = directory.add_keys(name, &keys).await {
        return Err(match error.kind() {
            StoreErrorKind::NotFound => CommandError::no_user(name),
            StoreErrorKind::PreconditionFailed => {
                let user = users::read(directory, name).await?;
                match keys.iter().find(|key| user.keys.iter().any(|known| known.id == key.id)) {
                    Some(key) => CommandError::Exists { what: "key", name: key.id.clone() },
                    None => CommandError::TooManyKeys { user: name.to_string(), max: User::MAX_KEYS },
                }
            }
            _ => CommandError::store(format!("adding keys to {name}"), error),
        });
    }
    let views: Vec<_> = keys.iter().map(KeyView::new).collect();
    let ids: Vec<_> = keys.iter().map(|key| key.id.as_str()).collect();
    printer.done(&format!("added to {name}: {}", ids.join(", ")), &views)
}

pub(super) async fn list(
    directory: &dyn Directory,
    name: &UserName,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let user = users::read(directory, name).await?;
    let mut list = printer.list::<KeyView>();
    list.page(&user.keys.iter().map(KeyView::new).collect::<Vec<_>>())?;
    list.finish(&format!("{name} has no keys; add one with: tidegate user key add {name} --key FILE"))
}

pub(super) async fn remove(
    directory: &dyn Directory,
    name: &UserName,
    id: &str,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    if let Err(error) = directory.remove_key(name, id).await {
        if error.kind() != StoreErrorKind::NotFound {
            return Err(CommandError::store(format!("removing a key of {name}"), error));
        }
        // Tells a missing user from a missing key.
        users::read(directory, name).await?;
        let see = format!("tidegate user key list {name}");
        return Err(CommandError::NotFound { what: "key", name: id.to_owned(), see });
    }
    let text = format!("the key {id} of {name} is removed: no login any more, once the nodes' caches have run out");
    printer.message(&text, &json!({ "user": name, "id": id, "removed": true }))
}
