//! Lines of OpenSSH's `authorized_keys` files, taken apart: options and key.
//!
//! Source: sshd(8), "AUTHORIZED_KEYS FILE FORMAT", and OpenSSH's auth-options.c. The parser of
//! `ssh-key` does not serve here: it takes every `#` for the beginning of a comment and ends the
//! options at the first blank, inside quotes too.

use thiserror::Error;

use crate::public_key::KEY_TYPES;

/// An option in front of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOption {
    /// Its name, in small letters: OpenSSH does not heed the case.
    pub name: String,
    /// What stands in quotes behind the `=`, with `\"` as `"`.
    pub value: Option<String>,
}

/// Why a line can't be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuthorizedKeyError {
    /// There is no key in the line, or none behind its options.
    #[error("there is no public key in OpenSSH's format in it")]
    NoKey,
    /// The options don't follow sshd(8).
    #[error("the options in front of the key can't be read")]
    Options,
}

/// Takes a line apart: its options, none for most, and the key with its comment, which is still to be
/// checked ([`crate::check_public_key`]). `None` for a blank line or a comment.
///
/// # Errors
/// If it is neither.
pub fn split_authorized_key(line: &str) -> Result<Option<(Vec<KeyOption>, &str)>, AuthorizedKeyError> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if begins_with_key(line) {
        return Ok(Some((Vec::new(), line)));
    }
    let end = options_end(line).ok_or(AuthorizedKeyError::NoKey)?;
    let (options, key) = line.split_at_checked(end).ok_or(AuthorizedKeyError::NoKey)?;
    let key = key.trim_start();
    if !begins_with_key(key) {
        return Err(AuthorizedKeyError::NoKey);
    }
    Ok(Some((parse_options(options)?, key)))
}

/// Whether the first word names a type of key, whether or not it opens anything.
fn begins_with_key(text: &str) -> bool {
    let word = text.split([' ', '\t']).next().unwrap_or_default();
    KEY_TYPES.contains(&word) || word == "ssh-dss" || (word.contains("-cert-v0") && is_name(word))
}

/// Whether these are signs of an option's or a key type's name.
fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte))
}

/// Where the options end: at the first blank outside of quotes.
fn options_end(line: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (place, byte) in line.bytes().enumerate() {
        match byte {
            b'"' if !escaped => quoted = !quoted,
            b' ' | b'\t' if !quoted => return Some(place),
            _ => {}
        }
        // Only a quote can be escaped: "\\" are two backslashes.
        escaped = byte == b'\\' && !escaped && line.as_bytes().get(place + 1) == Some(&b'"');
    }
    None
}

fn parse_options(mut text: &str) -> Result<Vec<KeyOption>, AuthorizedKeyError> {
    let mut options = Vec::new();
    loop {
        let end = text.find(['=', ',']).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end).ok_or(AuthorizedKeyError::Options)?;
        if !is_name(name) {
            return Err(AuthorizedKeyError::Options);
        }
        let name = name.to_ascii_lowercase();
        let (value, rest) = match rest.strip_prefix('=') {
            None => (None, rest),
            Some(quoted) => {
                let (value, rest) = dequote(quoted).ok_or(AuthorizedKeyError::Options)?;
                (Some(value), rest)
            }
        };
        options.push(KeyOption { name, value });
        match rest.strip_prefix(',') {
            Some(more) => text = more,
            None if rest.is_empty() => return Ok(options),
            None => return Err(AuthorizedKeyError::Options),
        }
    }
}

/// The text in quotes at the beginning, and what is behind them.
fn dequote(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((place, char)) = chars.next() {
        match char {
            '"' => return Some((value, text.get(place + 1..)?)),
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                value.push('"');
            }
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn options(text: &str) -> Vec<(String, Option<String>)> {
        let line = format!("{text} {KEY} a comment");
        let (options, key) = split_authorized_key(&line).unwrap().unwrap();
        assert_eq!(key, format!("{KEY} a comment"));
        options.into_iter().map(|option| (option.name, option.value)).collect()
    }

    #[test]
    fn options_are_taken_apart_as_openssh_does() {
        let of = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let flag = |name: &str| (name.to_owned(), None);
        assert_eq!(options("restrict,No-PTY"), [flag("restrict"), flag("no-pty")]);
        assert_eq!(
            options(r#"command="echo \"a b\", # c",from="10.0.0.0/8,!10.1.2.3""#),
            [of("command", "echo \"a b\", # c"), of("from", "10.0.0.0/8,!10.1.2.3")]
        );
        assert_eq!(options(r#"command="a \\ b",no-pty"#), [of("command", r"a \\ b"), flag("no-pty")]);
        assert_eq!(options(r#"environment="A=b""#), [of("environment", "A=b")]);
    }

    #[test]
    fn lines_without_options_blank_ones_and_comments_are_told_apart() {
        assert_eq!(split_authorized_key(&format!("\t {KEY} x # y\r")), Ok(Some((vec![], &*format!("{KEY} x # y")))));
        for blank in ["", "  \t", "# ssh-ed25519 AAAA", " # x", "\r"] {
            assert_eq!(split_authorized_key(blank), Ok(None), "{blank:?}");
        }
        for other in ["ssh-dss AAAA x", "ssh-rsa-cert-v01@openssh.com AAAA"] {
            assert_eq!(split_authorized_key(other), Ok(Some((vec![], other))));
        }
    }

    #[test]
    fn what_can_not_be_read_is_refused() {
        for (line, expected) in [
            ("hello".to_owned(), AuthorizedKeyError::NoKey),
            ("hello world".to_owned(), AuthorizedKeyError::NoKey),
            ("1024 35 12345 old@ssh1".to_owned(), AuthorizedKeyError::NoKey),
            (format!("command=\"open {KEY}"), AuthorizedKeyError::NoKey),
            (format!("no-pty, {KEY}"), AuthorizedKeyError::Options),
            (format!("no-pty,,restrict {KEY}"), AuthorizedKeyError::Options),
            (format!("from=10.0.0.1 {KEY}"), AuthorizedKeyError::Options),
            (format!("from=\"a\"b {KEY}"), AuthorizedKeyError::Options),
            (format!("=\"a\" {KEY}"), AuthorizedKeyError::Options),
            ("1 ##-cert-v01@openssh.com AAAA".to_owned(), AuthorizedKeyError::NoKey),
            (format!("no-pty \"-cert-v01 {KEY}"), AuthorizedKeyError::NoKey),
        ] {
            assert_eq!(split_authorized_key(&line), Err(expected), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_value_in_quotes_comes_back(value in "[^\\x00-\\x1f\\\\]{0,40}", before in "[a-z-]{1,12}") {
            let line = format!("{before},from=\"{}\" {KEY}", value.replace('"', "\\\""));
            let (options, key) = split_authorized_key(&line).unwrap().unwrap();
            prop_assert_eq!(key, KEY);
            prop_assert_eq!(&options[1], &KeyOption { name: "from".to_owned(), value: Some(value) });
        }

        #[test]
        fn no_line_panics_and_a_key_is_never_cut(line in ".{0,200}") {
            if let Ok(Some((options, key))) = split_authorized_key(&line) {
                prop_assert!(line.trim().ends_with(key));
                prop_assert_eq!(split_authorized_key(key), Ok(Some((Vec::new(), key))));
                prop_assert!(options.iter().all(|option| !option.name.is_empty()));
            }
        }
    }
}
