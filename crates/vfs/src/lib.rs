//! File semantics over objects: one user's view of a tenant's files, with paths, permissions,
//! uploads in parts, read-ahead and directories.
//!
//! [`Vfs`] is the node's; [`Vfs::mount`] gives a session its [`Mount`].

mod aborting;
mod assembly;
mod attribute_cache;
mod attributes;
mod budget;
mod config;
mod copying;
mod directory;
mod edit;
mod error;
mod hashed_names;
mod hidden;
mod in_flight;
mod journal;
mod key;
mod known_directories;
mod links;
mod lookups;
mod machine_memory;
mod metrics;
mod mount;
mod mounted;
mod namespace;
mod open;
mod open_files;
mod path;
mod per_tenant;
mod permission;
mod prefetch;
mod reader;
mod reaper;
mod rename;
mod seen_links;
mod shares;
mod tags;
mod usage;
mod vfs;
mod writer;
mod written;
mod zeros;

pub use attributes::{FileAttributes, FileKind, SetAttributes};
pub use config::{Config, ConfigError, ListingAttributes};
pub use directory::{Directory, DirectoryEntry};
pub use edit::View;
pub use error::{FsError, FsErrorKind};
pub use key::key_of_client_path;
pub use metrics::Metrics;
pub use mount::{Mount, OpenFile, OpenOptions, Replace};
pub use open_files::Begun;
pub use path::VirtualPath;
pub use reader::{ReadData, Reader};
pub use reaper::{Reaped, abort_upload};
pub use usage::{USAGE_SETTLES, Usage};
pub use vfs::{Services, Vfs};
pub use writer::{Admission, Copy, Published, Writer};
