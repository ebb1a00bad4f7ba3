//! The node's settings: one typed struct per crate or module that has any, nested here.
//!
//! They come from a TOML file, and from `TIDEGATE_*` variables of the environment on top of it.
//! Nothing else in the program reads the environment.

mod effective;
mod environment;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

pub use effective::Effective;
pub use environment::{Environment, VariableError};

use crate::{admin, host_keys, shutdown, telemetry};

/// The greatest size of a configuration file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The cluster's name, the same on all its nodes. It is bound into the sealed host keys.
    /// Default: `tidegate`.
    pub cluster: String,
    /// How long accounts are remembered.
    pub accounts: tidegate_store::cached::Config,
    /// The side port.
    pub admin: admin::Config,
    /// S3, DynamoDB, KMS and STS.
    pub aws: tidegate_aws::Config,
    /// What happens at SIGTERM.
    pub drain: shutdown::Config,
    /// Where the cluster's host keys lie and what seals them.
    pub host_keys: host_keys::Config,
    /// The log.
    pub log: telemetry::Config,
    /// SFTP sessions.
    pub sftp: tidegate_sftp::Config,
    /// The SSH front.
    pub ssh: tidegate_ssh::Config,
    /// The file system.
    pub vfs: tidegate_vfs::Config,
}

/// A configuration that was read, and where each setting stands now.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The typed settings, checked.
    pub config: Config,
    /// Every setting with the value in force, for people.
    pub effective: Effective,
}

/// A setting that can't work, by its full name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {rule}")]
pub struct InvalidSetting {
    field: String,
    rule: String,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The settings are well-formed but can't work.
    #[error("the configuration is not valid: {}", Problems(.0))]
    Invalid(Vec<InvalidSetting>),
    /// The file is not TOML, or names or types in it are wrong.
    #[error("{}:{line}:{column}: {message}", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// The file can't be read.
    #[error("the configuration file {} can't be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A variable of the environment is wrong.
    #[error(transparent)]
    Variable(#[from] VariableError),
}

struct Problems<'a>(&'a [InvalidSetting]);

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl InvalidSetting {
    /// The setting `field` breaks `rule`.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }

    /// From the text of another crate's error, which names its field with or without its section.
    fn in_section(section: &str, error: &impl ToString) -> Self {
        let text = error.to_string();
        let text = text.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')).unwrap_or(&text);
        match text.split_once(' ') {
            Some((field, rule)) => Self::new(format!("{section}.{}", field.trim_end_matches(':')), rule),
            None => Self::new(section, text),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: "tidegate".to_owned(),
            accounts: Default::default(),
            admin: Default::default(),
            aws: Default::default(),
            drain: Default::default(),
            host_keys: Default::default(),
            log: Default::default(),
            sftp: Default::default(),
            ssh: Default::default(),
            vfs: Default::default(),
        }
    }
}

impl Config {
    /// Reads the file, applies the environment and checks the whole.
    ///
    /// # Errors
    /// See [`LoadError`]; errors in the file name its line.
    pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, LoadError> {
        let text = read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text, environment)
    }

    /// Settings for a command that takes no file: `defaults`, and the environment on top. Not
    /// checked, for the command sets more.
    ///
    /// # Errors
    /// [`LoadError::Variable`].
    pub fn over(mut defaults: toml::Table, environment: &Environment) -> Result<Self, LoadError> {
        Ok(environment.apply(&mut defaults)?)
    }

    fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Loaded, LoadError> {
        let refused = |error| parse_error(path, text, &error);
        // The typed reading comes first: only it knows the place of what is wrong.
        toml::from_str::<Self>(text).map_err(refused)?;
        let mut table: toml::Table = toml::from_str(text).map_err(refused)?;
        let config = environment.apply(&mut table)?;
        config.validate().map_err(LoadError::Invalid)?;
        Ok(Loaded { config, effective: Effective::new(table) })
    }

    /// Checks every setting; with `Err`, at most one problem per section.
    ///
    /// # Errors
    /// The settings that can't work, by name.
    pub fn validate(&self) -> Result<(), Vec<InvalidSetting>> {
        let cluster = if (1..=128).contains(&self.cluster.len()) {
            Ok(())
        } else {
            Err(InvalidSetting::new("cluster", "it takes 1 to 128 bytes"))
        };
        let problems: Vec<_> = [
            cluster,
            self.accounts.validate().map_err(|error| InvalidSetting::in_section("accounts", &error)),
            self.admin.validate(),
            self.aws.validate().map_err(|error| InvalidSetting::in_section("aws", &error)),
            self.host_keys.validate(),
            self.log.validate(),
            self.sftp.validate().map_err(|error| InvalidSetting::in_section("sftp", &error)),
            self.ssh.validate().map_err(|error| InvalidSetting::in_section("ssh", &error)),
            self.vfs.validate().map_err(|error| InvalidSetting::in_section("vfs", &error)),
        ]
        .into_iter()
        .filter_map(Result::err)
        .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
    }
    Ok(text)
}

/// The place and the message, without the line itself: it may hold a secret.
fn parse_error(path: &Path, text: &str, error: &toml::de::Error) -> LoadError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let of_a_secret = text.lines().nth(line).is_some_and(|line| line.contains("secret"));
    let message =
        if of_a_secret { "the value of this setting is not valid".to_owned() } else { error.message().to_owned() };
    LoadError::Parse { path: path.to_owned(), line: line + 1, column: column + 1, message }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(text: &str) -> Result<Loaded, LoadError> {
        Config::parse(Path::new("node.toml"), text, &Environment::default())
    }

    #[test]
    fn an_empty_file_is_the_defaults_and_they_are_valid() {
        let loaded = parse("").unwrap();
        assert_eq!(format!("{:?}", loaded.config), format!("{:?}", Config::default()));
    }

    #[test]
    fn unknown_fields_are_refused_with_their_line() {
        let cases = [
            ("clutser = \"a\"\n", "node.toml:1:1: unknown field `clutser`"),
            ("cluster = \"a\"\n\n[ssh]\n  lisen = 1\n", "node.toml:4:3: unknown field `lisen`"),
            ("[aws.endpoints]\ns4 = \"http://x\"\n", "node.toml:2:1: unknown field `s4`"),
            ("[drain]\ndelay = 5\n", "node.toml:2:9: invalid type: integer `5`"),
            ("[drain\n", "node.toml:1:7: "),
        ];
        for (text, expected) in cases {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn a_secret_is_not_repeated_in_an_error() {
        let message = parse("[aws]\nsecret_access_key = [\"hunter2\"]\n").unwrap_err().to_string();
        assert_eq!(message, "node.toml:2:21: the value of this setting is not valid");
    }

    #[test]
    fn every_section_is_checked_and_every_problem_named() {
        let text = "cluster = \"\"\n[ssh]\nmax_channels = 0\n[admin]\nmax_connections = 0\n[log]\nlevel = \"a=b=c\"\n\
                    [vfs]\nwrite_share = 0\n[sftp]\nmax_open_handles = 0\n[aws]\nmax_attempts = 0\n";
        let message = parse(text).unwrap_err().to_string();
        for name in [
            "cluster",
            "ssh.max_channels",
            "admin.max_connections",
            "log.level",
            "vfs.write_share",
            "sftp.max_open_handles",
            "aws.max_attempts",
        ] {
            assert!(message.contains(&format!("{name}: ")), "{name} is missing in: {message}");
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let environment = Environment::new([("TIDEGATE_DRAIN__DELAY", "1m")]);
        let loaded =
            Config::parse(Path::new("f"), "[drain]\ndelay = \"2s\"\ndeadline = \"3s\"\n", &environment).unwrap();
        assert_eq!(loaded.config.drain.delay, Duration::from_secs(60));
        assert_eq!(loaded.config.drain.deadline, Duration::from_secs(3));
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let error = Config::load(Path::new("/nonexistent/node.toml"), &Environment::default()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/node.toml"), "{error}");
    }
}
