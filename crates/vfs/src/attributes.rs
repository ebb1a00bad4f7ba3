//! Attributes of files and directories, and how they are kept with objects.

use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_store::{ObjectAttributes, ObjectMeta};

/// The content type of directory markers, as s3fs and SFTPGo write it.
pub(crate) const DIRECTORY_CONTENT_TYPE: &str = "application/x-directory";

/// That of symbolic links, as s3fs writes it.
const LINK_CONTENT_TYPE: &str = "application/octet-stream";

/// The bits of a mode that tell the type (`S_IFMT`, POSIX `<sys/stat.h>`).
const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;
const PERMISSION_BITS: u32 = 0o7777;

const DEFAULT_FILE_MODE: u32 = S_IFREG | 0o644;
const DEFAULT_DIRECTORY_MODE: u32 = S_IFDIR | 0o755;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
}

/// What STAT tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileAttributes {
    /// What it is; always the type that `mode` tells.
    pub kind: FileKind,
    /// Size in bytes; 0 for directories.
    pub size: u64,
    /// The owner's number as it was set; 0 if it never was.
    pub uid: u32,
    /// The group's number as it was set; 0 if it never was.
    pub gid: u32,
    /// Permissions with the file-type bits (`S_IFMT`).
    pub mode: u32,
    /// Last access, in seconds since the Unix epoch; `mtime` if it was never set.
    pub atime: u64,
    /// Last change of the content, in seconds since the Unix epoch.
    pub mtime: u64,
}

/// The attributes that a client asks to set. Absent ones stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// Size in bytes.
    pub size: Option<u64>,
    /// Owner and group.
    pub owner: Option<(u32, u32)>,
    /// Permissions; file-type bits are ignored.
    pub mode: Option<u32>,
    /// Last access and last change, in seconds since the Unix epoch.
    pub times: Option<(u32, u32)>,
}

impl SetAttributes {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether anything but the size is asked for.
    pub(crate) fn changes_metadata(&self) -> bool {
        self.owner.is_some() || self.mode.is_some() || self.times.is_some()
    }

    /// Writes the metadata of a file as s3fs does: names `mtime`, `atime` (seconds), `mode` (decimal,
    /// with file-type bits), `uid`, `gid`. A symbolic link's type bits stay.
    pub(crate) fn apply_to_file(&self, attributes: &mut ObjectAttributes) {
        let kind = attributes.metadata.get("mode").and_then(|mode| mode.parse().ok()).map_or(S_IFREG, file_type);
        self.apply(kind, attributes);
    }

    /// The same for a file that is being made. It has a mode of its own then, even if nobody has set one:
    /// s3fs would show a file without one as nobody's to read.
    pub(crate) fn apply_to_new_file(&self, attributes: &mut ObjectAttributes) {
        self.apply_to_file(attributes);
        attributes.metadata.entry("mode".to_owned()).or_insert_with(|| (S_IFREG | 0o644).to_string());
    }

    /// The same for a directory's marker.
    pub(crate) fn apply_to_directory(&self, attributes: &mut ObjectAttributes) {
        attributes.content_type.get_or_insert_with(|| DIRECTORY_CONTENT_TYPE.to_owned());
        self.apply(S_IFDIR, attributes);
    }

    fn apply(&self, kind: u32, attributes: &mut ObjectAttributes) {
        let metadata = &mut attributes.metadata;
        let mut set = |name: &str, value: u32| metadata.insert(name.to_owned(), value.to_string());
        if let Some((uid, gid)) = self.owner {
            set("uid", uid);
            set("gid", gid);
        }
        if let Some(mode) = self.mode {
            set("mode", kind | (mode & PERMISSION_BITS));
        }
        if let Some((atime, mtime)) = self.times {
            set("atime", atime);
            set("mtime", mtime);
        }
    }
}

/// The attributes of the marker of a directory that was there by its entries alone: the mode that such a
/// directory is shown with.
pub(crate) fn implied_directory() -> ObjectAttributes {
    let mut attributes = ObjectAttributes::default();
    let set = SetAttributes { mode: Some(DEFAULT_DIRECTORY_MODE), ..SetAttributes::default() };
    set.apply_to_directory(&mut attributes);
    attributes
}

/// The attributes of a symbolic link that is made `now` (seconds since the Unix epoch), as s3fs writes
/// them.
pub(crate) fn link_attributes(attributes: &mut ObjectAttributes, now: u64) {
    attributes.content_type = Some(LINK_CONTENT_TYPE.to_owned());
    let mut set = |name: &str, value: String| attributes.metadata.insert(name.to_owned(), value);
    for name in ["atime", "ctime", "mtime"] {
        set(name, now.to_string());
    }
    set("gid", "0".to_owned());
    set("mode", (S_IFLNK | 0o777).to_string());
    set("uid", "0".to_owned());
}

/// Whether an object with these attributes is a symbolic link, if its size is one that a link has.
pub(crate) fn is_link_mode(attributes: &ObjectAttributes) -> bool {
    attributes.metadata.get("mode").and_then(|mode| mode.parse().ok()).is_some_and(|mode| file_type(mode) == S_IFLNK)
}

impl FileAttributes {
    /// A file as the object behind it tells: its metadata where there is any, else the defaults of
    /// [`FileAttributes::listed`].
    pub(crate) fn of_file(meta: &ObjectMeta) -> Self {
        Self::with_metadata(Self::listed(meta.size, meta.last_modified), &meta.attributes, file_type)
    }

    /// A file as a listing shows it: mode 0644, owner and group 0, changed when the object was made.
    pub(crate) fn listed(size: u64, last_modified: SystemTime) -> Self {
        let mtime = unix_seconds(last_modified);
        Self { kind: FileKind::File, size, uid: 0, gid: 0, mode: DEFAULT_FILE_MODE, atime: mtime, mtime }
    }

    /// A directory that has no marker: mode 0755, owner and group 0, times 0.
    pub(crate) fn directory() -> Self {
        Self { kind: FileKind::Directory, size: 0, uid: 0, gid: 0, mode: DEFAULT_DIRECTORY_MODE, atime: 0, mtime: 0 }
    }

    /// A directory as its marker tells.
    pub(crate) fn of_marker(meta: &ObjectMeta) -> Self {
        let mtime = unix_seconds(meta.last_modified);
        Self::with_metadata(Self { atime: mtime, mtime, ..Self::directory() }, &meta.attributes, |_| S_IFDIR)
    }

    /// A file that is being uploaded: `attributes` as they will be published, `now` for a time that
    /// was not set.
    pub(crate) fn of_upload(size: u64, attributes: &ObjectAttributes, now: SystemTime) -> Self {
        Self::with_metadata(Self::listed(size, now), attributes, |_| S_IFREG)
    }

    fn with_metadata(defaults: Self, attributes: &ObjectAttributes, kind: fn(u32) -> u32) -> Self {
        let text = |name: &str| attributes.metadata.get(name).map(String::as_str);
        let number = |name: &str| text(name).and_then(|value| value.parse::<u32>().ok());
        let mtime = text("mtime").and_then(seconds).unwrap_or(defaults.mtime);
        let mode = number("mode").map_or(defaults.mode, |mode| kind(mode) | (mode & PERMISSION_BITS));
        Self {
            kind: match mode & S_IFMT {
                S_IFDIR => FileKind::Directory,
                S_IFLNK => FileKind::Symlink,
                _ => FileKind::File,
            },
            size: defaults.size,
            uid: number("uid").unwrap_or(defaults.uid),
            gid: number("gid").unwrap_or(defaults.gid),
            mode,
            atime: text("atime").and_then(seconds).unwrap_or(mtime),
            mtime,
        }
    }
}

/// The type that an object without a trailing slash has: whatever its mode says, it is no
/// directory, because nothing can lie below it by being it.
fn file_type(mode: u32) -> u32 {
    if mode & S_IFMT == S_IFLNK { S_IFLNK } else { S_IFREG }
}

/// Seconds since the Unix epoch, from a number that may have a fraction (rclone writes one). Times
/// before 1970 are shown as 0: SFTP version 3 can't carry them.
fn seconds(text: &str) -> Option<u64> {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    if let Some(digits) = whole.strip_prefix('-') {
        return digits.bytes().all(|b| b.is_ascii_digit()).then_some(0);
    }
    whole.parse().ok()
}

/// The time by this node's clock, in seconds since the Unix epoch.
pub(crate) fn unix_now() -> u64 {
    unix_seconds(SystemTime::now())
}

/// In seconds since the Unix epoch.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_store::ETag;

    use super::*;

    fn object(metadata: &[(&str, &str)]) -> ObjectMeta {
        ObjectMeta {
            size: 7,
            etag: ETag::new("\"e\""),
            last_modified: UNIX_EPOCH + Duration::from_secs(1_000),
            attributes: ObjectAttributes {
                content_type: None,
                metadata: metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
                ..ObjectAttributes::default()
            },
            tag_count: 0,
            checksum: None,
        }
    }

    #[test]
    fn objects_without_metadata_show_defaults() {
        let file = FileAttributes::of_file(&object(&[]));
        assert_eq!((file.kind, file.size, file.mode), (FileKind::File, 7, 0o100_644));
        assert_eq!((file.mtime, file.atime, file.uid, file.gid), (1_000, 1_000, 0, 0));
        let directory = FileAttributes::of_marker(&object(&[]));
        assert_eq!((directory.kind, directory.size, directory.mode), (FileKind::Directory, 0, 0o40_755));
        assert_eq!(directory.mtime, 1_000);
    }

    #[test]
    fn reads_what_s3fs_and_rclone_write() {
        let s3fs = FileAttributes::of_file(&object(&[
            ("mtime", "1700000000.123456789"),
            ("atime", "1700000001"),
            ("mode", "33188"),
            ("uid", "1000"),
            ("gid", "100"),
        ]));
        assert_eq!((s3fs.mtime, s3fs.atime), (1_700_000_000, 1_700_000_001));
        assert_eq!((s3fs.mode, s3fs.uid, s3fs.gid), (0o100_644, 1000, 100));
        let rclone = FileAttributes::of_file(&object(&[("mtime", "1563462631.949263")]));
        assert_eq!((rclone.mtime, rclone.atime), (1_563_462_631, 1_563_462_631));
    }

    #[test]
    fn nonsense_in_metadata_is_as_if_it_were_absent() {
        let file = FileAttributes::of_file(&object(&[("mtime", "soon"), ("mode", "rwx"), ("uid", "-1")]));
        assert_eq!(file, FileAttributes::of_file(&object(&[])));
        assert_eq!(FileAttributes::of_file(&object(&[("mtime", "-5.5")])).mtime, 0);
    }

    #[test]
    fn the_type_follows_the_key_not_a_foreign_mode() {
        assert_eq!(FileAttributes::of_file(&object(&[("mode", "16877")])).kind, FileKind::File);
        assert_eq!(FileAttributes::of_file(&object(&[("mode", "41471")])).kind, FileKind::Symlink);
        assert_eq!(FileAttributes::of_marker(&object(&[("mode", "33188")])).mode, 0o40_644);
    }

    #[test]
    fn what_is_set_is_shown_again() {
        let set = SetAttributes { size: None, owner: Some((7, 8)), mode: Some(0o600), times: Some((5, 6)) };
        let mut meta = object(&[("other", "kept")]);
        set.apply_to_file(&mut meta.attributes);
        let shown = FileAttributes::of_file(&meta);
        assert_eq!((shown.uid, shown.gid, shown.mode, shown.atime, shown.mtime), (7, 8, 0o100_600, 5, 6));
        assert_eq!(meta.attributes.metadata.get("mode").map(String::as_str), Some("33152"));
        assert_eq!(meta.attributes.metadata.get("other").map(String::as_str), Some("kept"));
    }
}
