//! What becomes of the options in front of a key. No restriction goes lost in silence: what Tidegate
//! can't hold makes it refuse the key.

use humantime_serde::re::humantime;
use std::time::UNIX_EPOCH;

use tidegate_ssh::KeyOption;

/// What an option means for a key that is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It holds here by itself, or it grants what there is none of.
    Holds,
    /// The key expires, in seconds since the Unix epoch.
    Expires {
        at: u64,
        /// Whether the time was given in the time zone of the old server, which is not known here.
        local: bool,
    },
    /// The key would be allowed more than before.
    Lost(&'static str),
    /// The key opens nothing by itself.
    NoLogin(&'static str),
}

/// Judges an option of sshd(8), "AUTHORIZED_KEYS FILE FORMAT".
pub(super) fn meaning(option: &KeyOption) -> Meaning {
    match (option.name.as_str(), &option.value) {
        // There is no forwarding, no terminal, no tunnel and no shell's start-up file to forbid; and
        // none to allow.
        (
            "agent-forwarding" | "no-agent-forwarding" | "port-forwarding" | "no-port-forwarding" | "pty" | "no-pty"
            | "user-rc" | "no-user-rc" | "x11-forwarding" | "no-x11-forwarding" | "restrict",
            None,
        )
        | ("permitopen" | "permitlisten" | "tunnel", Some(_))
        // Nothing is run that would have an environment.
        | ("environment", Some(_))
        // sshd heeds it beside "cert-authority" only.
        | ("principals", Some(_))
        // It asks for less, and Tidegate does not look for a touch.
        | ("no-touch-required", None) => Meaning::Holds,
        ("cert-authority", None) => Meaning::NoLogin(
            "the key signs certificates, which Tidegate does not know, and is no key to log in with",
        ),
        ("command", Some(command)) if is_sftp_server(command) => Meaning::Holds,
        ("command", Some(_)) => Meaning::Lost("Tidegate runs no command in place of SFTP"),
        ("expiry-time", Some(time)) => match expiry(time) {
            Some((at, local)) => Meaning::Expires { at, local },
            None => Meaning::Lost("the time can't be read"),
        },
        ("from", Some(_)) => Meaning::Lost("Tidegate does not tie a key to addresses"),
        ("verify-required", None) => Meaning::Lost("Tidegate does not see whether a FIDO key asked for its PIN"),
        _ => Meaning::Lost("Tidegate does not know it"),
    }
}

/// Whether a forced command is the SFTP server as it is: with none of the arguments that restrict it
/// or start it elsewhere.
fn is_sftp_server(command: &str) -> bool {
    let mut words = command.split_ascii_whitespace();
    let program = words.next().unwrap_or_default();
    let is_server = program == "internal-sftp" || program.rsplit('/').next() == Some("sftp-server");
    while let Some(word) = words.next() {
        match word {
            "-e" => {}
            "-f" | "-l" if words.next().is_some() => {}
            _ => return false,
        }
    }
    is_server
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, in UTC with a `Z` behind it, and whether there was
/// none. A local time is read as UTC.
fn expiry(text: &str) -> Option<(u64, bool)> {
    let digits = text.strip_suffix(['Z', 'z']);
    let local = digits.is_none();
    let digits = digits.unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (date, time) = digits.split_at_checked(8)?;
    let time = match time.len() {
        0 => "000000".to_owned(),
        4 => format!("{time}00"),
        6 => time.to_owned(),
        _ => return None,
    };
    let part = |text: &str, from: usize, to: usize| text.get(from..to).map(str::to_owned);
    let rfc3339 = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(date, 0, 4)?,
        part(date, 4, 6)?,
        part(date, 6, 8)?,
        part(&time, 0, 2)?,
        part(&time, 2, 4)?,
        part(&time, 4, 6)?
    );
    let since = humantime::parse_rfc3339(&rfc3339).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((since.as_secs(), local))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: Option<&str>) -> Meaning {
        meaning(&KeyOption { name: name.to_owned(), value: value.map(str::to_owned) })
    }

    #[test]
    fn what_tidegate_never_grants_needs_no_option() {
        for name in ["restrict", "no-pty", "no-port-forwarding", "pty", "no-touch-required"] {
            assert_eq!(of(name, None), Meaning::Holds, "{name}");
        }
        for command in ["internal-sftp", "/usr/lib/openssh/sftp-server -f AUTH -l INFO", " internal-sftp -e "] {
            assert_eq!(of("command", Some(command)), Meaning::Holds, "{command}");
        }
    }

    #[test]
    fn what_would_go_lost_is_refused() {
        for (name, value) in [
            ("command", Some("rrsync /srv")),
            ("command", Some("internal-sftp -R")),
            ("command", Some("internal-sftp -d /data")),
            ("command", Some("internal-sftp -P remove")),
            ("command", Some("internal-sftp -l")),
            ("command", Some("internal-sftp; id")),
            ("command", Some("")),
            ("from", Some("10.0.0.0/8")),
            ("verify-required", None),
            ("expiry-time", Some("tomorrow")),
            ("no-such-option", None),
            ("restrict", Some("yes")),
            ("from", None),
        ] {
            assert!(matches!(of(name, value), Meaning::Lost(_)), "{name} {value:?}");
        }
        assert!(matches!(of("cert-authority", None), Meaning::NoLogin(_)));
    }

    #[test]
    fn times_are_read_as_sshd_reads_them() {
        for (text, at, local) in [
            ("20270131Z", 1_801_353_600, false),
            ("202701311200Z", 1_801_396_800, false),
            ("20270131120000", 1_801_396_800, true),
        ] {
            assert_eq!(expiry(text), Some((at, local)), "{text}");
        }
        for bad in ["", "2027", "20271301", "2027013112", "20270131 1200", "2027013\u{663}", "+0270131"] {
            assert_eq!(expiry(bad), None, "{bad}");
        }
    }
}
