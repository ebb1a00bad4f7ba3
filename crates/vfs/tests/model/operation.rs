//! What a client does, and what it hears.

use proptest::prelude::*;
use tidegate_vfs::{FsErrorKind, Replace};

use crate::harness::PART;

/// A request, or the few that make one transfer.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A change in place: OPEN without TRUNC, one WRITE after the other, CLOSE.
    Change {
        path: String,
        access: Access,
        at: usize,
        content: Content,
    },
    /// A symbolic link: what it says, and where it is.
    Link {
        target: String,
        path: String,
    },
    List(String),
    MakeDirectory(String),
    /// A whole upload: OPEN with CREAT and TRUNC, and EXCL if asked for.
    Put {
        path: String,
        content: Content,
        exclusive: bool,
    },
    Read(String),
    Remove(String),
    RemoveDirectory(String),
    Rename {
        from: String,
        to: String,
        replace: bool,
    },
    Resize(String, usize),
    SetMode(String, u32),
    Stat(String),
}

/// How a file is opened that is changed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// APPEND, and CREAT: what is written goes to the end.
    Append,
    /// WRITE alone.
    Write,
    /// READ too: what was written is read back before CLOSE.
    ReadWrite,
}

impl Operation {
    pub(crate) fn replace(replace: bool) -> Replace {
        if replace { Replace::Existing } else { Replace::Never }
    }
}

/// Bytes that tell of what they are by their seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) seed: u8,
    pub(crate) len: usize,
}

impl Content {
    pub(crate) fn bytes(self) -> Vec<u8> {
        (0..self.len).map(|at| self.seed ^ (at >> 8) as u8 ^ at as u8).collect()
    }
}

/// What is heard.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Content(Vec<u8>),
    Done,
    Failed(FsErrorKind),
    /// Names, and whether each is a directory.
    Names(Vec<(String, bool)>),
    /// Whether it is a directory, and its size and permissions if it is a file.
    Status(bool, Option<(u64, u32)>),
}

impl Answer {
    /// Whether it is what a store that fails may lead to.
    pub(crate) fn is_fault(&self) -> bool {
        matches!(self, Self::Failed(FsErrorKind::Unavailable | FsErrorKind::Conflict))
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Content(bytes) => write!(f, "{} bytes that begin with {:?}", bytes.len(), bytes.get(..4)),
            Self::Done => f.write_str("done"),
            Self::Failed(kind) => write!(f, "failed: {kind:?}"),
            Self::Names(names) => write!(f, "{names:?}"),
            Self::Status(is_directory, file) => write!(f, "directory: {is_directory}, file: {file:?}"),
        }
    }
}

pub(crate) fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => (any_target(), any_path()).prop_map(|(target, path)| Operation::Link { target, path }),
        2 => any_path().prop_map(Operation::List),
        4 => any_path().prop_map(Operation::MakeDirectory),
        6 => (any_path(), any_content(), prop::bool::weighted(0.2))
            .prop_map(|(path, content, exclusive)| Operation::Put { path, content, exclusive }),
        4 => (any_path(), any_access(), any_offset(), any_content())
            .prop_map(|(path, access, at, content)| Operation::Change { path, access, at, content }),
        2 => any_path().prop_map(Operation::Read),
        1 => (any_path(), any_offset()).prop_map(|(path, size)| Operation::Resize(path, size)),
        3 => any_path().prop_map(Operation::Remove),
        3 => any_path().prop_map(Operation::RemoveDirectory),
        5 => (any_path(), any_path(), prop::bool::ANY)
            .prop_map(|(from, to, replace)| Operation::Rename { from, to, replace }),
        2 => (any_path(), prop_oneof![Just(0o600), Just(0o640), Just(0o755)])
            .prop_map(|(path, mode)| Operation::SetMode(path, mode)),
        2 => any_path().prop_map(Operation::Stat),
    ]
}

/// Few names, so that they meet.
fn any_path() -> impl Strategy<Value = String> {
    let name = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just("b-c")];
    prop::collection::vec(name, 1..4).prop_map(|names| names.iter().map(|name| format!("/{name}")).collect())
}

/// From the root, or from where the link is.
fn any_target() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any_path(),
        1 => Just("a".to_owned()),
        1 => Just("../b".to_owned()),
        1 => Just("../a/b".to_owned()),
    ]
}

fn any_access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::Append), Just(Access::Write), Just(Access::ReadWrite)]
}

/// Anywhere, and around the bounds of parts.
fn any_offset() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1..200_usize, PART - 2..PART + 3, 0..4 * PART]
}

fn any_content() -> impl Strategy<Value = Content> {
    let len = prop_oneof![Just(0), 1..200_usize, Just(PART), PART..3 * PART];
    (prop::num::u8::ANY, len).prop_map(|(seed, len)| Content { seed, len })
}
