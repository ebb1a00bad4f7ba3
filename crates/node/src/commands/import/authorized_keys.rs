//! A user's keys, from the text of an `authorized_keys` file.

use std::collections::BTreeSet;

use tidegate_ssh::{KeyOption, ParsedKey, check_public_key, split_authorized_key};
use tidegate_store::AuthorizedKey;

use super::findings::{Findings, Place};
use super::options::{Meaning, meaning};
use crate::expiry::rfc3339;

/// The longest comment that is kept, in bytes: what a user's key may have.
const MAX_COMMENT: usize = 512;

const UNSEEN_TOUCH: &str = "keys of the kinds sk-…: sshd asks that their owner touches the device, Tidegate does not \
                            see whether it was done";

/// How keys are taken.
#[derive(Clone, Debug)]
pub(super) struct KeyRules {
    /// The options to ignore, in small letters.
    ignored: BTreeSet<String>,
    /// Whether what can't be taken is left out, in place of being an error.
    skip: bool,
    /// Seconds since the Unix epoch.
    now: u64,
}

/// A key as one line gives it.
struct Taken {
    key: AuthorizedKey,
    remarks: Vec<String>,
}

impl KeyRules {
    pub(super) fn new(ignored: &[String], skip: bool, now: u64) -> Self {
        Self { ignored: ignored.iter().map(|name| name.to_ascii_lowercase()).collect(), skip, now }
    }

    /// The keys in a text, each once. What can't be taken is told in `findings`.
    pub(super) fn read(&self, text: &[u8], file: &str, user: &str, findings: &mut Findings) -> Vec<AuthorizedKey> {
        let mut keys: Vec<AuthorizedKey> = Vec::new();
        // What is no UTF-8 can only be of account in a comment.
        let text = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
        for (n, line) in text.lines().enumerate() {
            let place = Place::line(file, n + 1);
            if line.starts_with("-----BEGIN") || line.starts_with("---- BEGIN SSH2") {
                self.refuse(&place, user, other_format(line), findings);
                // All that follows belongs to it.
                break;
            }
            let taken = match self.line(line) {
                Ok(None) => continue,
                Ok(Some(taken)) => taken,
                Err(problem) => {
                    self.refuse(&place, user, &problem, findings);
                    continue;
                }
            };
            for remark in &taken.remarks {
                findings.warn(&place, Some(user), remark);
            }
            if taken.key.expires.is_some_and(|expires| expires <= self.now) {
                let when = taken.key.expires.map(rfc3339).unwrap_or_default();
                findings.warn(&place, Some(user), format!("the key {} has expired at {when}: left out", taken.key.id));
                continue;
            }
            if let Some(known) = keys.iter_mut().find(|known| known.id == taken.key.id) {
                // sshd tries line after line: what one of them allows is allowed.
                known.expires = known.expires.zip(taken.key.expires).map(|(one, other)| one.max(other));
                findings.warn(&place, Some(user), format!("the key {} is there already", known.id));
                continue;
            }
            if taken.key.key.starts_with("sk-") {
                findings.count(UNSEEN_TOUCH);
            }
            keys.push(taken.key);
        }
        keys
    }

    fn refuse(&self, place: &Place, user: &str, problem: &str, findings: &mut Findings) {
        if self.skip {
            findings.warn(place, Some(user), format!("{problem}: left out"));
        } else {
            findings.error(place, Some(user), problem);
        }
    }

    fn line(&self, line: &str) -> Result<Option<Taken>, String> {
        let Some((options, key)) = split_authorized_key(line).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let ParsedKey { id, key, comment, .. } =
            check_public_key(&with_short_comment(key)).map_err(|error| error.to_string())?;
        let mut taken =
            Taken { key: AuthorizedKey { id, key, comment, added: self.now, expires: None }, remarks: Vec::new() };
        for option in &options {
            self.apply(option, &mut taken)?;
        }
        Ok(Some(taken))
    }

    fn apply(&self, option: &KeyOption, taken: &mut Taken) -> Result<(), String> {
        let name = &option.name;
        let id = &taken.key.id;
        match meaning(option) {
            Meaning::Holds => {}
            Meaning::Expires { at, local } => {
                if local {
                    taken.remarks.push(format!(
                        "\"expiry-time\" of the key {id} has no Z and so was the old server's local time: it is read \
                         as UTC, {}",
                        rfc3339(at)
                    ));
                }
                taken.key.expires = Some(taken.key.expires.map_or(at, |earlier| earlier.min(at)));
            }
            Meaning::NoLogin(reason) => return Err(format!("\"{name}\": {reason}")),
            Meaning::Lost(reason) if self.ignored.contains(name) => {
                taken.remarks.push(format!("\"{name}\" of the key {id} is ignored: {reason}"));
            }
            Meaning::Lost(reason) => {
                return Err(format!("the key {id} has the option \"{name}\": {reason} (see --ignore-options)"));
            }
        }
        Ok(())
    }
}

fn other_format(line: &str) -> &'static str {
    if line.contains("SSH2 PUBLIC") {
        "this is a public key in the format of RFC 4716; convert it with: ssh-keygen -i -f FILE"
    } else {
        "this is a private key or a certificate in PEM, not a list of public keys"
    }
}

/// The key with its comment on one line and no longer than it may be: a comment is no reason to
/// refuse a key.
fn with_short_comment(key: &str) -> String {
    let mut words = key.splitn(3, [' ', '\t']);
    let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut comment: String =
        words.next().unwrap_or_default().chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    while comment.len() > MAX_COMMENT {
        comment.pop();
    }
    format!("{kind} {blob} {comment}")
}

#[cfg(test)]
mod tests;
