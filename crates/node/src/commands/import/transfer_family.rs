//! Users of AWS Transfer Family, as the AWS command line prints them. Source: AWS Transfer Family API
//! Reference, `DescribedUser`, `ListedUser`, `HomeDirectoryMapEntry`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use tidegate_store::{AuthorizedKey, Mappings, UserName};

use super::authorized_keys::KeyRules;
use super::findings::{Findings, Place};
use super::source::{Draft, Files, Picked, View};
use crate::import::TransferArgs;

const WITHOUT_POLICY: &str = "users had a session policy (Policy), which is ignored: they may do what --permissions \
                              says in all that they see";
const ROLES: &str = "users had a role (Role) whose policies these files don't tell: compare what they allowed with \
                     --permissions";

/// `DescribedUser`, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Described {
    home_directory: Option<String>,
    home_directory_mappings: Option<Vec<MapEntry>>,
    home_directory_type: Option<String>,
    policy: Option<String>,
    posix_profile: Option<Value>,
    role: Option<String>,
    ssh_public_keys: Option<Vec<PublicKey>>,
    user_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MapEntry {
    entry: String,
    target: String,
    r#type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublicKey {
    ssh_public_key_body: String,
}

/// `ListedUser`, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    user_name: String,
    ssh_public_key_count: usize,
}

/// What the files hold.
#[derive(Default)]
struct Documents {
    described: Vec<(Place, Described)>,
    listed: Vec<(Place, Listed)>,
}

/// Reads the users and their keys.
pub(super) fn read(
    args: &TransferArgs,
    rules: &KeyRules,
    files: &mut Files<'_>,
    findings: &mut Findings,
) -> Vec<Draft> {
    let mut documents = Documents::default();
    for path in &args.files {
        match files.read(path) {
            Ok((file, text)) => documents.read(&file, &text, findings),
            Err((place, problem)) => findings.error(&place, None, problem),
        }
    }
    let mut picked = Picked::new(&args.options);
    let mut counts = BTreeMap::new();
    let mut drafts = Vec::new();
    for (place, user) in documents.described {
        let name = user.user_name.clone().unwrap_or_default();
        counts.insert(name.clone(), user.ssh_public_keys.as_ref().map_or(0, Vec::len));
        if !picked.wants(&name) {
            continue;
        }
        match name.parse::<UserName>() {
            Ok(name) => drafts.extend(draft(args, rules, &name, &place, user, findings)),
            Err(error) => findings.error(&place, Some(&name), error.to_string()),
        }
    }
    for (place, user) in documents.listed {
        let name = user.user_name.as_str();
        if !picked.wants(name) {
            continue;
        }
        match counts.get(name) {
            Some(count) if *count == user.ssh_public_key_count => {}
            Some(count) => findings.error(
                &place,
                Some(name),
                format!("the list tells of {} keys, and {count} are described", user.ssh_public_key_count),
            ),
            None => findings.error(
                &place,
                Some(name),
                "the list tells of this user, but no file describes it: aws transfer describe-user",
            ),
        }
    }
    picked.report_missing(findings);
    drafts
}

impl Documents {
    /// Reads one file: any number of documents, one behind the other or in a list.
    fn read(&mut self, file: &str, text: &[u8], findings: &mut Findings) {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
        let (mut line, mut counted) = (1, 0);
        loop {
            let begins = stream.byte_offset();
            let blanks = text.iter().skip(begins).take_while(|byte| byte.is_ascii_whitespace()).count();
            let reached = begins + blanks;
            line += text.iter().take(reached).skip(counted).filter(|byte| **byte == b'\n').count();
            counted = reached;
            match stream.next() {
                None => return,
                Some(Ok(document)) => self.take(&Place::line(file, line), document, findings),
                Some(Err(error)) => {
                    let problem = format!("this is no JSON, such as from aws … --output json: {error}");
                    findings.error(&Place::line(file, error.line().max(1)), None, problem);
                    return;
                }
            }
        }
    }

    fn take(&mut self, place: &Place, document: Value, findings: &mut Findings) {
        let mut fields = match document {
            Value::Array(list) => {
                for one in list {
                    match one {
                        Value::Object(_) => self.take(place, one, findings),
                        _ => findings.error(place, None, UNKNOWN),
                    }
                }
                return;
            }
            Value::Object(fields) => fields,
            _ => return findings.error(place, None, UNKNOWN),
        };
        if fields.get("NextToken").is_some_and(|token| !token.is_null()) {
            findings.error(place, None, "the list of users goes on (NextToken): fetch all of its pages");
        }
        if let Some(user) = fields.remove("User") {
            return self.describe(place, user, findings);
        }
        match fields.remove("Users") {
            Some(Value::Array(list)) => {
                for user in list {
                    if user.get("SshPublicKeyCount").is_none() {
                        self.describe(place, user, findings);
                        continue;
                    }
                    match serde_json::from_value(user) {
                        Ok(listed) => self.listed.push((place.clone(), listed)),
                        Err(error) => findings.error(place, None, format!("this is no ListedUser: {error}")),
                    }
                }
            }
            Some(_) => findings.error(place, None, UNKNOWN),
            None => self.describe(place, Value::Object(fields), findings),
        }
    }

    fn describe(&mut self, place: &Place, user: Value, findings: &mut Findings) {
        let name = user.get("UserName").and_then(Value::as_str).map(str::to_owned);
        if name.is_none() {
            return findings.error(place, None, UNKNOWN);
        }
        match serde_json::from_value(user) {
            Ok(described) => self.described.push((place.clone(), described)),
            Err(error) => findings.error(place, name.as_deref(), format!("this is no DescribedUser: {error}")),
        }
    }
}

const UNKNOWN: &str = "this is neither what describe-user nor what list-users prints";

fn draft(
    args: &TransferArgs,
    rules: &KeyRules,
    name: &UserName,
    place: &Place,
    user: Described,
    findings: &mut Findings,
) -> Option<Draft> {
    let told = Some(name.as_str());
    if user.posix_profile.as_ref().is_some_and(|profile| !profile.is_null()) {
        findings.error(place, told, "the user's files lie in EFS (PosixProfile), and Tidegate serves S3");
        return None;
    }
    if user.policy.as_ref().is_some_and(|policy| !policy.trim().is_empty()) {
        if args.ignore_policies {
            findings.count(WITHOUT_POLICY);
        } else {
            findings.error(
                place,
                told,
                "the user has a session policy (Policy), which Tidegate can't hold; the user will see the home \
                 directory or mappings only, and may do there what --permissions says: if that is as strict, \
                 --ignore-policies",
            );
        }
    }
    if user.role.is_some() {
        findings.count(ROLES);
    }
    let mut keys: Vec<AuthorizedKey> = Vec::new();
    for (n, key) in user.ssh_public_keys.iter().flatten().enumerate() {
        let where_from = format!("{place}, key {}", n + 1);
        for key in rules.read(key.ssh_public_key_body.as_bytes(), &where_from, name.as_str(), findings) {
            match keys.iter().any(|known| known.id == key.id) {
                true => findings.warn(place, told, format!("the key {} is there already", key.id)),
                false => keys.push(key),
            }
        }
    }
    if keys.is_empty() {
        findings.warn(place, told, "the user has no key, and can't log in until one is added");
    }
    match view(&user, name, args.home_as_root) {
        Ok((view, remark)) => {
            if let Some(remark) = remark {
                findings.warn(place, told, remark);
            }
            Some(Draft { name: name.clone(), keys, place: place.clone(), view })
        }
        Err(problem) => {
            findings.error(place, told, problem);
            None
        }
    }
}

/// What the user sees, and a remark on it.
fn view(user: &Described, name: &UserName, home_as_root: bool) -> Result<(View, Option<String>), String> {
    let home = user.home_directory.as_deref().map(without_end).filter(|home| *home != "/");
    match user.home_directory_type.as_deref().unwrap_or("PATH") {
        "PATH" => {
            let home = home.ok_or(
                "the user's home is / and its type PATH: what the user sees hangs on the role alone; give the user a \
                 home directory, or mappings",
            )?;
            // Under its path in S3, so that clients find what they know; nothing else is seen.
            let entry = if home_as_root { "/" } else { home };
            let view = View::Located { home: entry.to_owned(), targets: vec![(entry.to_owned(), home.to_owned())] };
            Ok((view, None))
        }
        "LOGICAL" => {
            let entries = user.home_directory_mappings.as_deref().unwrap_or_default();
            if entries.is_empty() {
                return Err("the home directory type is LOGICAL, and there are no HomeDirectoryMappings".to_owned());
            }
            let mut targets = Vec::new();
            for MapEntry { entry, target, r#type } in entries {
                if r#type.as_deref().is_some_and(|word| word != "DIRECTORY") {
                    return Err(format!("the entry \"{entry}\" is no DIRECTORY: only directories can be mapped"));
                }
                let target = Mappings::target_for(target, name);
                if let Some(unknown) = [entry, &target].into_iter().find(|path| path.contains("${")) {
                    return Err(format!("\"{unknown}\": only {} is known, in a Target", Mappings::USER_NAME));
                }
                targets.push((without_end(entry).to_owned(), without_end(&target).to_owned()));
            }
            let seen: BTreeSet<&str> = targets.iter().map(|(entry, _)| entry.as_str()).collect();
            let shown = |home: &str| {
                let under = |outer: &str, inner: &str| {
                    inner
                        .strip_prefix(outer.trim_end_matches('/'))
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                seen.iter().any(|entry| under(entry, home) || under(home, entry))
            };
            let (home, remark) = match home {
                None => ("/", None),
                Some(home) if shown(home) => (home, None),
                Some(home) => ("/", Some(format!("the home \"{home}\" lies in none of the mappings: / is taken"))),
            };
            Ok((View::Located { home: home.to_owned(), targets }, remark))
        }
        other => Err(format!("the home directory type \"{}\" is not known", other.escape_debug())),
    }
}

/// A path without a `/` at its end, but for the root's.
fn without_end(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        rest => rest,
    }
}

#[cfg(test)]
mod tests;
