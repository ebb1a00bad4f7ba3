//! What a user sees and may do, as given on the command line.

use std::str::FromStr;

use clap::Args;
use thiserror::Error;
use tidegate_store::{DirectoryPath, InvalidName, Permission, Permissions};

use crate::limits::Lifted;

/// What a user sees and may do; what is not named stays, or is the default for a new user.
#[derive(Args, Clone, Debug, Default)]
pub struct AccessArgs {
    /// The directory where sessions start, as the user sees it
    #[arg(long, value_name = "PATH")]
    pub home: Option<String>,
    /// What the user may do: "all", "none", or a list of delete, list, mkdir, overwrite, read,
    /// rename, set-attributes, symlink, write
    #[arg(long, value_name = "LIST")]
    pub permissions: Option<PermissionList>,
    /// What the user may do in a directory and below, in place of that: /inbox=list,write. May be
    /// given several times; the longest path decides. "none" stands for no such rules
    #[arg(long = "permission", value_name = "PATH=LIST|none")]
    pub rules: Vec<RuleArg>,
    /// A file with the directories that the user sees, as a JSON list of Entry, Target and, if it
    /// is to be so, "ReadOnly": true; - for standard input. "none" stands for all of the tenant's
    /// files as they are
    #[arg(long, value_name = "FILE|-|none")]
    pub mappings: Option<String>,
    /// Sessions at once, over all nodes; "none" lifts the limit
    #[arg(long, value_name = "N|none")]
    pub max_sessions: Option<Lifted<u32>>,
    /// Whether listings also show files that are being uploaded or were cut, as STAT does
    #[arg(long, value_name = "true|false")]
    pub list_uploads: Option<bool>,
}

/// Permissions: `all`, `none`, or words joined by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionList(pub Permissions);

/// One rule, or the word `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleArg {
    /// `none`
    None,
    /// `PATH=LIST`
    Rule(DirectoryPath, Permissions),
}

/// The text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// The path or a permission is wrong.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// It has no `=`.
    #[error("it takes a directory and what may be done in it, such as /inbox=list,write")]
    NoRule,
}

impl FromStr for PermissionList {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Ok(Self(match text {
            "all" => Permission::ALL.into(),
            "none" => Permissions::new(),
            list => list.split(',').map(str::parse).collect::<Result<_, _>>()?,
        }))
    }
}

impl FromStr for RuleArg {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text == "none" {
            return Ok(Self::None);
        }
        // The last one: a path may hold others.
        let (path, list) = text.rsplit_once('=').ok_or(RuleError::NoRule)?;
        Ok(Self::Rule(directory(path)?, list.parse::<PermissionList>()?.0))
    }
}

/// A directory's path, with or without a `/` at its end.
pub(crate) fn directory(path: &str) -> Result<DirectoryPath, InvalidName> {
    match path.strip_suffix('/') {
        Some(rest) if !rest.is_empty() => rest.parse(),
        _ => path.parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_words_or_a_list() {
        let count = |text: &str| text.parse::<PermissionList>().map(|list| list.0.len()).ok();
        assert_eq!((count("all"), count("none"), count("list,read,list")), (Some(9), Some(0), Some(2)));
        assert_eq!((count(""), count("list,"), count("list,all")), (None, None, None));
    }

    #[test]
    fn rules_are_a_path_and_a_list() {
        let rule = |path: &str, permissions: &[Permission]| {
            Ok(RuleArg::Rule(path.parse().unwrap(), permissions.iter().copied().collect()))
        };
        assert_eq!("/in/=list".parse(), rule("/in", &[Permission::List]));
        assert_eq!("/=none".parse(), rule("/", &[]));
        assert_eq!("/a=b=read".parse(), rule("/a=b", &[Permission::Read]));
        assert_eq!("none".parse(), Ok(RuleArg::None));
        assert_eq!("/in".parse::<RuleArg>(), Err(RuleError::NoRule));
        for bad in ["in=list", "/a//b=list", "/a/../b=list", "/in=fly", "/in="] {
            assert!(matches!(bad.parse::<RuleArg>(), Err(RuleError::Name(_))), "{bad}");
        }
    }
}
