//! Users of a passwd file. Source: passwd(5), group(5).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use tidegate_store::{AuthorizedKey, Mapping, Mappings, UserChange, UserName};

use super::authorized_keys::KeyRules;
use super::findings::{Findings, Place};
use super::source::{Draft, Files, Picked, View, limited};
use crate::access::directory as directory_path;
use crate::import::PasswdArgs;

/// The greatest size of a file with keys, in bytes.
const MAX_KEYS_FILE: u64 = 1 << 20;

/// A line of a passwd file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    line: usize,
    name: String,
    uid: u32,
    gid: u32,
    home: String,
    shell: String,
}

/// What is put in the place of the tokens of a template.
struct Tokens<'a> {
    user: &'a str,
    home: &'a str,
    uid: u32,
}

/// The groups that are asked for.
struct Groups {
    numbers: BTreeSet<u32>,
    members: BTreeSet<String>,
}

/// Reads the users and their keys.
pub(super) fn read(args: &PasswdArgs, rules: &KeyRules, files: &mut Files<'_>, findings: &mut Findings) -> Vec<Draft> {
    let (file, text) = match files.read(&args.passwd) {
        Ok(read) => read,
        Err((place, problem)) => {
            findings.error(&place, None, problem);
            return Vec::new();
        }
    };
    let entries = parse(&text, &file, findings);
    let groups = groups(args, files, findings);
    let mut picked = Picked::new(&args.options);
    let mut drafts = Vec::new();
    for entry in entries {
        if !picked.wants(&entry.name) {
            continue;
        }
        if let Some(reason) = unwanted(&entry, args, groups.as_ref()) {
            findings.leave_out(&entry.name, reason);
            continue;
        }
        let place = Place::line(&file, entry.line);
        // Before the name goes into a path.
        let name = match entry.name.parse::<UserName>() {
            Ok(name) => name,
            Err(error) => {
                findings.error(&place, Some(&entry.name), format!("{error} (--exclude leaves the user out)"));
                continue;
            }
        };
        let keys = match read_keys(args, &entry, rules, findings) {
            Some(keys) => keys,
            None if args.include_keyless => Vec::new(),
            None => {
                findings.leave_out(&entry.name, "there is no file with keys");
                continue;
            }
        };
        if keys.is_empty() && !args.include_keyless {
            findings.leave_out(&entry.name, "there is no key that could be taken");
            continue;
        }
        match access(args, &entry) {
            Ok(access) => drafts.push(Draft { name, keys, place, view: View::Of(args.tenant.clone(), access) }),
            Err(problem) => findings.error(&place, Some(&entry.name), problem),
        }
    }
    if args.root.is_none() && !drafts.is_empty() {
        findings.warn(
            &Place::file(&file),
            None,
            "each of these users sees all of the tenant's files; --root says which directory alone, such as --root \
             /home/%u",
        );
    }
    picked.report_missing(findings);
    drafts
}

/// The users in a passwd file. Lines that can't be read are told in `findings`.
pub(super) fn parse(text: &[u8], file: &str, findings: &mut Findings) -> Vec<Entry> {
    let text = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
    let mut entries = Vec::new();
    for (n, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let place = Place::line(file, n + 1);
        if line.starts_with(['+', '-']) {
            findings.warn(&place, None, "this line refers to NIS, whose users are not here: getent passwd lists them");
            continue;
        }
        match entry(n + 1, line) {
            Some(entry) => entries.push(entry),
            None => findings.error(&place, None, "this is no line of a passwd file: name:x:UID:GID:comment:home:shell"),
        }
    }
    entries
}

fn entry(line: usize, text: &str) -> Option<Entry> {
    let fields: Vec<&str> = text.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { return None };
    Some(Entry {
        line,
        name: Some(*name).filter(|name| !name.is_empty())?.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: (*home).to_owned(),
        shell: (*shell).trim_end().to_owned(),
    })
}

/// Why a user is left out, if so.
fn unwanted(entry: &Entry, args: &PasswdArgs, groups: Option<&Groups>) -> Option<String> {
    if !(args.min_uid..=args.max_uid).contains(&entry.uid) {
        return Some(format!("the number {} is not between {} and {}", entry.uid, args.min_uid, args.max_uid));
    }
    if groups.is_some_and(|groups| !groups.hold(entry)) {
        return Some("in none of the groups".to_owned());
    }
    let shell = Path::new(&entry.shell).file_name().and_then(|name| name.to_str());
    if !args.include_nologin && matches!(shell, Some("nologin" | "false")) {
        return Some(format!("the shell {} lets nobody log in (see --include-nologin)", entry.shell));
    }
    None
}

impl Groups {
    fn hold(&self, entry: &Entry) -> bool {
        self.numbers.contains(&entry.gid) || self.members.contains(&entry.name)
    }
}

/// The groups of `--group`: numbers stand for themselves, names are looked up in the group file.
fn groups(args: &PasswdArgs, files: &mut Files<'_>, findings: &mut Findings) -> Option<Groups> {
    if args.groups.is_empty() {
        return None;
    }
    let mut groups = Groups { numbers: BTreeSet::new(), members: BTreeSet::new() };
    let mut unknown: BTreeSet<&str> = args.groups.iter().map(String::as_str).collect();
    let text = match args.group_file.as_deref().map(|path| files.read(path)) {
        None => Vec::new(),
        Some(Ok((_, text))) => text,
        Some(Err((place, problem))) => {
            findings.error(&place, None, problem);
            return Some(groups);
        }
    };
    let text = String::from_utf8_lossy(&text);
    for line in text.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members] = fields.as_slice() else { continue };
        if args.groups.iter().any(|wanted| wanted == name || wanted == gid) {
            unknown.retain(|wanted| wanted != name && wanted != gid);
            groups.numbers.extend(gid.parse::<u32>().ok());
            groups.members.extend(members.split(',').map(|member| member.trim().to_owned()));
        }
    }
    for name in unknown {
        match name.parse() {
            Ok(number) => {
                groups.numbers.insert(number);
            }
            Err(_) => findings.missing(name, "there is no such group in the file of --group-file"),
        }
    }
    Some(groups)
}

/// The keys in all the user's files; `None` if there is no file.
fn read_keys(
    args: &PasswdArgs,
    entry: &Entry,
    rules: &KeyRules,
    findings: &mut Findings,
) -> Option<Vec<AuthorizedKey>> {
    let tokens = Tokens { user: &entry.name, home: &entry.home, uid: entry.uid };
    let mut keys: Vec<AuthorizedKey> = Vec::new();
    let mut any = false;
    for template in &args.keys {
        let path = match tokens.expand(template) {
            Ok(path) => path,
            Err(problem) => {
                findings.error(&Place::file(template), None, problem);
                return None;
            }
        };
        let place = Place::file(&path);
        let text = match read_regular(Path::new(&path)) {
            Ok(None) => continue,
            Ok(Some((text, open_to_others))) => {
                if open_to_others {
                    findings.warn(
                        &place,
                        Some(&entry.name),
                        "others than its owner may write to this file: sshd does not read such a file (StrictModes)",
                    );
                }
                text
            }
            Err(error) => {
                findings.error(&place, Some(&entry.name), format!("it can't be read: {error}"));
                any = true;
                continue;
            }
        };
        any = true;
        for key in rules.read(&text, &path, &entry.name, findings) {
            match keys.iter().any(|known| known.id == key.id) {
                true => findings.warn(&place, Some(&entry.name), format!("the key {} is there already", key.id)),
                false => keys.push(key),
            }
        }
    }
    any.then_some(keys)
}

/// A small file and whether others than its owner may write to it; `None` if there is none. Nothing
/// but files: users could have put a pipe there, on which a reader waits for ever.
fn read_regular(path: &Path) -> io::Result<Option<(Vec<u8>, bool)>> {
    use std::os::unix::fs::PermissionsExt;

    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if !about.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let text = limited(fs::File::open(path)?, MAX_KEYS_FILE)?;
    Ok(Some((text, about.permissions().mode() & 0o022 != 0)))
}

/// What the user sees and may do.
fn access(args: &PasswdArgs, entry: &Entry) -> Result<UserChange, String> {
    let base = args.home_base.as_deref().map(|base| base.trim_end_matches('/'));
    let home = match base {
        None => entry.home.as_str(),
        Some(base) => match entry.home.strip_prefix(base) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => return Err(format!("the home \"{}\" does not lie in \"{base}\" (--home-base)", entry.home)),
        },
    };
    let tokens = Tokens { user: &entry.name, home, uid: entry.uid };
    let path = |template: &str| {
        let path = tokens.expand(template)?;
        directory_path(&path).map_err(|error| error.to_string())
    };
    let mappings = match &args.root {
        None => None,
        Some(root) => {
            let (entry, target) = (path("/")?, path(root)?);
            let whole = target.relative().is_empty();
            let list = if whole { vec![] } else { vec![Mapping { entry, target, read_only: false }] };
            Some(Mappings::new(list).map_err(|error| error.to_string())?)
        }
    };
    Ok(UserChange { home: Some(path(&args.home)?.to_string()), mappings, ..UserChange::default() })
}

impl Tokens<'_> {
    /// The template with the tokens of sshd_config(5), "TOKENS", in which a path can be written.
    fn expand(&self, template: &str) -> Result<String, String> {
        let mut path = String::new();
        let mut chars = template.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                path.push(char);
                continue;
            }
            match chars.next() {
                Some('%') => path.push('%'),
                Some('h') => path.push_str(self.home),
                Some('u') => path.push_str(self.user),
                Some('U') => path.push_str(&self.uid.to_string()),
                _ => return Err(format!("\"{template}\": a % is followed by u, h, U or another %")),
            }
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests;
