//! Extensions beyond those that OpenSSH's client can't do without.
//!
//! Source: OpenSSH's PROTOCOL, section 4, for `expand-path@openssh.com`, `fsync@openssh.com`,
//! `statvfs@openssh.com`, `fstatvfs@openssh.com` and `users-groups-by-id@openssh.com`; for `check-file`,
//! `home-directory` and `copy-data` draft-ietf-secsh-filexfer-extensions-00, sections 3, 5 and 7.

use bytes::Bytes;
use tidegate_vfs::Usage;

use super::cursor::Cursor;
use super::request::handle;
use super::{HandleId, MAX_PACKET, Malformed};

/// The fields of an EXTENDED request behind its name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields carry the names that their documents give them")]
pub enum Extension {
    CheckFile(CheckFile),
    CopyData(CopyData),
    ExpandPath { path: Bytes },
    FstatVfs { handle: HandleId },
    Fsync { handle: HandleId },
    HomeDirectory { user: Bytes },
    StatVfs { path: Bytes },
    UsersGroupsById { uids: Bytes, gids: Bytes },
}

/// Asks for checksums of a range of a file, one for each block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFile {
    /// The file.
    pub file: CheckedFile,
    /// Names of algorithms, the one that the client likes best first, with commas between.
    pub algorithms: Bytes,
    /// Where the range begins.
    pub offset: u64,
    /// How long it is, in bytes; 0 for all up to the end of the file.
    pub len: u64,
    /// How long a block is, in bytes; 0 for the whole range.
    pub block: u32,
}

/// A file as it is named to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckedFile {
    /// An open one.
    Handle(HandleId),
    /// One by its path.
    Path(Bytes),
}

/// Asks for a range of an open file to be copied to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyData {
    /// The file that is read.
    pub from: HandleId,
    /// Where the range begins.
    pub offset: u64,
    /// How long it is, in bytes; 0 for all up to the end of the file.
    pub len: u64,
    /// The file that is written.
    pub to: HandleId,
    /// Where the range is to begin there.
    pub at: u64,
}

impl Extension {
    /// The extension's name in metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CheckFile(_) => "check-file",
            Self::CopyData(_) => "copy-data",
            Self::ExpandPath { .. } => "expand-path",
            Self::FstatVfs { .. } => "fstatvfs",
            Self::Fsync { .. } => "fsync",
            Self::HomeDirectory { .. } => "home-directory",
            Self::StatVfs { .. } => "statvfs",
            Self::UsersGroupsById { .. } => "users-groups-by-id",
        }
    }
}

/// Decodes the fields of the extension of this name; `None` if it is none of these.
pub(super) fn decode_extension(name: &[u8], data: &mut Cursor) -> Result<Option<Extension>, Malformed> {
    Ok(Some(match name {
        // paramiko calls it by the name that is announced.
        b"check-file-handle" | b"check-file" => {
            let file = CheckedFile::Handle(handle(data)?);
            Extension::CheckFile(check_file(file, data)?)
        }
        b"check-file-name" => {
            let file = CheckedFile::Path(data.string()?);
            Extension::CheckFile(check_file(file, data)?)
        }
        b"copy-data" => Extension::CopyData(CopyData {
            from: handle(data)?,
            offset: data.u64()?,
            len: data.u64()?,
            to: handle(data)?,
            at: data.u64()?,
        }),
        b"expand-path@openssh.com" => Extension::ExpandPath { path: data.string()? },
        b"fstatvfs@openssh.com" => Extension::FstatVfs { handle: handle(data)? },
        b"fsync@openssh.com" => Extension::Fsync { handle: handle(data)? },
        b"home-directory" => Extension::HomeDirectory { user: data.string()? },
        b"statvfs@openssh.com" => Extension::StatVfs { path: data.string()? },
        b"users-groups-by-id@openssh.com" => Extension::UsersGroupsById { uids: data.string()?, gids: data.string()? },
        _ => return Ok(None),
    }))
}

fn check_file(file: CheckedFile, data: &mut Cursor) -> Result<CheckFile, Malformed> {
    Ok(CheckFile { file, algorithms: data.string()?, offset: data.u64()?, len: data.u64()?, block: data.u32()? })
}

/// What `statvfs@openssh.com` tells of the file system that a path lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// What it holds in all, in bytes.
    pub total: u64,
    /// What may be added to it, in bytes.
    pub free: u64,
    /// How many files it can hold.
    pub files: u64,
    /// How many may be added.
    pub free_files: u64,
}

impl FileSystem {
    /// One without a limit: 1 EiB, which every client's arithmetic can take, and as many files as clients
    /// with 32 bits can count.
    pub const UNLIMITED: Self =
        Self { total: 1 << 60, free: 1 << 60, files: u32::MAX as u64, free_files: u32::MAX as u64 };

    /// The unit of the answer, in bytes.
    const BLOCK: u64 = 4096;
    /// `SSH_FXE_STATVFS_ST_NOSUID`.
    const NO_SUID: u64 = 2;
    const NAME_MAX: u64 = 255;

    /// What a tenant's quota leaves; what has none is unlimited.
    pub fn of_usage(usage: &Usage) -> Self {
        let unlimited = Self::UNLIMITED;
        let of = |limit: Option<u64>, used: u64, most: u64| {
            limit.map_or((most, most), |limit| (limit.min(most), limit.saturating_sub(used).min(most)))
        };
        let (total, free) = of(usage.bytes_limit, usage.bytes_used, unlimited.total);
        let (files, free_files) = of(usage.objects_limit, usage.objects_used, unlimited.files);
        Self { total, free, files, free_files }
    }

    /// The body of the answer: eleven numbers of 64 bits.
    pub fn encode(self) -> Vec<u8> {
        let (blocks, free) = (self.total / Self::BLOCK, self.free.min(self.total) / Self::BLOCK);
        let (files, free_files, id) = (self.files, self.free_files, 0);
        [Self::BLOCK, Self::BLOCK, blocks, free, free, files, free_files, free_files, id, Self::NO_SUID, Self::NAME_MAX]
            .into_iter()
            .flat_map(u64::to_be_bytes)
            .collect()
    }
}

/// The body of the answer to `users-groups-by-id@openssh.com`: for each number its name, empty where
/// `name` has none. `None` if the numbers are cut short or the answer does not fit one packet.
pub fn names_by_id(uids: &[u8], gids: &[u8], name: impl Fn(u32) -> Option<Bytes>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    for ids in [uids, gids] {
        let (ids, rest) = ids.as_chunks::<4>();
        let mut names = Vec::new();
        for id in ids {
            let name = name(u32::from_be_bytes(*id)).unwrap_or_default();
            names.extend_from_slice(&(name.len() as u32).to_be_bytes());
            names.extend_from_slice(&name);
            if names.len() > MAX_PACKET {
                return None;
            }
        }
        if !rest.is_empty() {
            return None;
        }
        body.extend_from_slice(&(names.len() as u32).to_be_bytes());
        body.append(&mut names);
    }
    (body.len() + 16 <= MAX_PACKET).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_name_and_unknown_ones_an_empty_one() {
        let uids = [0_u32.to_be_bytes(), 7_u32.to_be_bytes()].concat();
        let name = |id| (id == 0).then(|| Bytes::from_static(b"me"));
        let body = names_by_id(&uids, &[], name).unwrap();
        assert_eq!(body, b"\0\0\0\x0a\0\0\0\x02me\0\0\0\0\0\0\0\0");
        assert_eq!(names_by_id(&uids[..7], &[], name), None);
        assert_eq!(names_by_id(&vec![0; MAX_PACKET - 64], &[], name), None, "it would not fit a packet");
    }

    #[test]
    fn a_quota_is_the_size_of_the_file_system() {
        let usage = Usage { bytes_used: 300, bytes_limit: Some(1000), objects_used: 9, objects_limit: Some(7) };
        let expected = FileSystem { total: 1000, free: 700, files: 7, free_files: 0 };
        assert_eq!(FileSystem::of_usage(&usage), expected);
        assert_eq!(FileSystem::of_usage(&Usage::default()), FileSystem::UNLIMITED);
    }

    #[test]
    fn a_file_system_without_a_limit_is_all_free() {
        let body = FileSystem::UNLIMITED.encode();
        let numbers: Vec<_> = body.as_chunks::<8>().0.iter().map(|number| u64::from_be_bytes(*number)).collect();
        assert_eq!(numbers.len(), 11);
        assert_eq!((numbers[0], numbers[2], numbers[4], numbers[9], numbers[10]), (4096, 1 << 48, 1 << 48, 2, 255));
    }
}
