//! The settings of the file system.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use thiserror::Error;
use tidegate_store::limits;

use crate::machine_memory::machine_memory;

/// Settings of the file system, the same for every tenant of a node.
///
/// # The largest upload
/// S3 takes 10,000 parts. Without a size hint in OPEN, the first 1,000 parts have `part_size`
/// bytes, and every 1,000 parts their size doubles up to `part_size_max`, but never beyond a quarter of
/// the budget for uploads: with the defaults, and a memory budget of 512 MiB or more, 8, 16 and 32 MiB
/// for 1,000 parts each, and 64 MiB. Behind 4,624 parts a GiB of them at a time is one part of the
/// upload, so that there are numbers for 5 TiB. With a hint, parts are large enough for the hint to fit
/// into 9,000 of them, where that takes no more than an eighth of the budget for uploads.
///
/// While memory is short, a part stays smaller than that, so that no file fails where smaller parts
/// would do. At the latest, sizes double at equal distances over the first 4,624 parts: with the defaults
/// every 1,156. A file waits for memory, and fails after `budget_wait`, only where not even a part of
/// that size may be had: for its first part, and then behind 9, 27 and 63 GiB, for a part of 16, 32 and
/// 64 MiB.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bytes of file content that the node holds in memory at most, over all sessions; at least
    /// 128 MiB. Default: a quarter of the memory of the machine, or of the control group if that
    /// has less, at least 128 MiB.
    pub memory_budget: Option<ByteSize>,
    /// How many percent of `memory_budget` are for uploads (10 to 90); the rest is for read-ahead.
    /// Default: 50.
    pub write_share: u8,
    /// How long a write that needs more memory than its file holds, the first one above all, waits
    /// for it before the file fails. Default: 30 seconds.
    #[serde(with = "humantime_serde")]
    pub budget_wait: Duration,
    /// How many bytes of file content one session may have in memory at once, on their way to the store or
    /// from it; at least `part_size`. What each open file needs to go on at all comes on top: one part of an
    /// upload, a range that a READ waits for. Default: no limit but the session's fair share.
    pub session_in_flight_max: Option<ByteSize>,
    /// What each running transfer takes of `memory_budget` beside the file's content, for its buffers in
    /// SSH and SFTP: an upload with its first byte, a download once it goes beyond its first 256 KiB.
    /// At most 16 MiB. Default: 1280 KiB.
    pub transfer_overhead: ByteSize,
    /// Size of the smallest parts of an upload, and the memory that each file takes with its first
    /// byte unless its size is known to be less; 5 MiB to 5 GiB. Default: 8 MiB.
    pub part_size: ByteSize,
    /// Size to which parts grow while a file of unknown length does; at least `part_size` and at
    /// most the budget for uploads. Default: 64 MiB.
    pub part_size_max: ByteSize,
    /// Parts of one file that are under way to the store at once at most (1 to 64). There are as many
    /// as keep the client from waiting, and no more than help and than fair shares of the memory
    /// allow. Default: 16.
    pub upload_concurrency: usize,
    /// How many bytes of a file may never be written; they read as zeros. Holes of 64 MiB or more are filled
    /// inside the store, so they cost the node nothing, but the tenant its quota, and whoever pays for the bucket
    /// its price. Default: 5 TiB.
    pub hole_max: ByteSize,
    /// Whether all that is sent of an upload is kept on scratch too until its CLOSE, as far as there is room, so
    /// that it may be written again, or cut off, anywhere. Without that it may where the client has opened the file
    /// for reading too. Default: false.
    pub keep_uploads: bool,
    /// About how many bytes of a file behind its first parts become one part together. It is no setting: tests have
    /// smaller ones.
    #[serde(skip)]
    pub part_group: ByteSize,
    /// Where the bytes of files that are changed in place wait for their CLOSE, in files without names;
    /// best on a disk of the machine's own. Default: the system's folder for temporary files.
    pub scratch_dir: Option<PathBuf>,
    /// How many bytes they may take there in all. Default: 10 GiB.
    pub scratch_limit: ByteSize,
    /// Largest file that is copied inside the store in one request, for RENAME and new attributes; larger
    /// ones are copied in parts, several at once. At most 5 GiB. Default: 5 GiB.
    pub copy_whole_max: ByteSize,
    /// Size of those parts, 5 MiB to 5 GiB; larger where a file would have more than 10,000 of them.
    /// Default: 256 MiB.
    pub copy_part_size: ByteSize,
    /// Copies inside the store that one request (a RENAME of a directory, or of such a file) has under
    /// way at once (1 to 128); a file that is changed or appended to has 8 at most. A node has 256 of them
    /// at most. Default: 32.
    pub copy_concurrency: usize,
    /// How far one open file is read ahead at most; 0 switches read-ahead off. How far it is follows
    /// the client's pace and the store's latency, within the file's share of the memory for reading.
    /// Default: 64 MiB.
    pub read_ahead_max: ByteSize,
    /// How many files one session may have open ahead of a client that opens a directory's files one
    /// after the other in the order of their listing (0 to 256); 0 switches that off, as a
    /// `read_ahead_max` of 0 does. Default: 32.
    pub prefetch_files: usize,
    /// How long after its request such a file may still be used: so much older than the newest version
    /// on other nodes what a client reads can be, at most 10 seconds. Default: 1 second.
    #[serde(with = "humantime_serde")]
    pub prefetch_life: Duration,
    /// Whether files that are read from beginning to end are compared with the CRC-64/NVME that the
    /// store keeps: those of up to 256 KiB before a byte is handed out, others with their last read,
    /// for one HEAD per file. Default: true.
    pub verify_downloads: bool,
    /// Where listings take modes, owners and times from. Default: `exact`.
    pub listing_attributes: ListingAttributes,
    /// Requests for attributes that one listing has under way at once (1 to 256). Default: 96, which at 20 ms stays
    /// below the 5,500 requests a second that S3 takes for a prefix.
    pub listing_concurrency: usize,
    /// Files whose attributes are remembered for listings, about 100 bytes each. Default: 100,000.
    pub attribute_cache_entries: usize,
    /// How long a session relies on a directory that it has seen to exist, before it asks the store
    /// again. Default: 10 seconds.
    #[serde(with = "humantime_serde")]
    pub directory_life: Duration,
    /// How long an upload that was cut can be resumed, from the last time that something was written to
    /// it; a second to 30 days. Default: 3 days.
    #[serde(with = "humantime_serde")]
    pub upload_life: Duration,
    /// How long an upload may take from its begin to its end, cut or not: then it is removed, even from who
    /// works on it. At least `upload_life`, at most 90 days. The bucket's lifecycle rule, which counts from the
    /// begin too, must leave multipart uploads alone for longer. Default: 7 days.
    #[serde(with = "humantime_serde")]
    pub upload_age_max: Duration,
    /// How often one node of the cluster looks for uploads that nobody has resumed in time and removes
    /// them; a second to a day. Default: 1 hour.
    #[serde(with = "humantime_serde")]
    pub reap_interval: Duration,
}

/// Where listings take modes, owners and times from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListingAttributes {
    /// From each object's metadata, as STAT shows them: one HEAD per object that is not remembered.
    #[default]
    Exact,
    /// From the listing alone: when the object was made, and default modes and owners. STAT may
    /// show others.
    Fast,
}

/// Which setting is wrong, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} {rule}")]
pub struct ConfigError {
    /// The field's name.
    pub field: &'static str,
    /// What it takes.
    pub rule: &'static str,
}

const BUDGET_MIN: u64 = 128 << 20;
const REAP_INTERVAL_MIN: Duration = Duration::from_secs(1);
const REAP_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
const UPLOAD_LIFE_MIN: Duration = Duration::from_secs(1);
const UPLOAD_LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
const UPLOAD_AGE_MAX: Duration = Duration::from_secs(90 * 24 * 3600);

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_budget: None,
            write_share: 50,
            budget_wait: Duration::from_secs(30),
            session_in_flight_max: None,
            transfer_overhead: ByteSize::kib(1280),
            part_size: ByteSize::mib(8),
            part_size_max: ByteSize::mib(64),
            upload_concurrency: 16,
            hole_max: ByteSize::tib(5),
            keep_uploads: false,
            part_group: ByteSize::gib(1),
            scratch_dir: None,
            scratch_limit: ByteSize::gib(10),
            copy_whole_max: ByteSize::gib(5),
            copy_part_size: ByteSize::mib(256),
            copy_concurrency: 32,
            read_ahead_max: ByteSize::mib(64),
            prefetch_files: 32,
            prefetch_life: Duration::from_secs(1),
            verify_downloads: true,
            listing_attributes: ListingAttributes::Exact,
            listing_concurrency: 96,
            attribute_cache_entries: 100_000,
            directory_life: Duration::from_secs(10),
            upload_life: Duration::from_secs(3 * 24 * 3600),
            upload_age_max: Duration::from_secs(7 * 24 * 3600),
            reap_interval: Duration::from_secs(3600),
        }
    }
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let parts = self.part_size.as_u64();
        let checks = [
            (
                self.memory_budget.is_none_or(|budget| budget.as_u64() >= BUDGET_MIN),
                "memory_budget",
                "takes 128 MiB or more",
            ),
            ((10..=90).contains(&self.write_share), "write_share", "takes 10 to 90 (percent)"),
            (!self.budget_wait.is_zero(), "budget_wait", "takes more than 0"),
            (
                self.session_in_flight_max.is_none_or(|max| max >= self.part_size),
                "session_in_flight_max",
                "takes at least part_size",
            ),
            (self.transfer_overhead <= ByteSize::mib(16), "transfer_overhead", "takes at most 16 MiB"),
            ((limits::PART_MIN..=limits::PART_MAX).contains(&parts), "part_size", "takes 5 MiB to 5 GiB"),
            (
                (parts..=limits::PART_MAX.min(self.write_budget())).contains(&self.part_size_max.as_u64()),
                "part_size_max",
                "takes at least part_size and at most the budget for uploads (memory_budget times write_share)",
            ),
            ((1..=64).contains(&self.upload_concurrency), "upload_concurrency", "takes 1 to 64"),
            (
                self.scratch_dir.as_ref().is_none_or(|folder| folder.is_dir()),
                "scratch_dir",
                "takes a folder that exists",
            ),
            (self.copy_whole_max.as_u64() <= limits::PART_MAX, "copy_whole_max", "takes at most 5 GiB"),
            (
                (limits::PART_MIN..=limits::PART_MAX).contains(&self.copy_part_size.as_u64()),
                "copy_part_size",
                "takes 5 MiB to 5 GiB",
            ),
            ((1..=128).contains(&self.copy_concurrency), "copy_concurrency", "takes 1 to 128"),
            (self.prefetch_files <= 256, "prefetch_files", "takes 0 to 256"),
            (
                !self.prefetch_life.is_zero() && self.prefetch_life <= Duration::from_secs(10),
                "prefetch_life",
                "takes more than 0 and at most 10 seconds",
            ),
            ((1..=256).contains(&self.listing_concurrency), "listing_concurrency", "takes 1 to 256"),
            (
                (UPLOAD_LIFE_MIN..=UPLOAD_LIFE_MAX).contains(&self.upload_life),
                "upload_life",
                "takes a second to 30 days",
            ),
            (
                (self.upload_life..=UPLOAD_AGE_MAX).contains(&self.upload_age_max),
                "upload_age_max",
                "takes upload_life to 90 days",
            ),
            (
                (REAP_INTERVAL_MIN..=REAP_INTERVAL_MAX).contains(&self.reap_interval),
                "reap_interval",
                "takes a second to a day",
            ),
        ];
        match checks.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, rule)) => Err(ConfigError { field, rule }),
            None => Ok(()),
        }
    }

    /// Where scratch files are made.
    pub(crate) fn scratch_folder(&self) -> PathBuf {
        self.scratch_dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// Bytes for uploads.
    pub(crate) fn write_budget(&self) -> u64 {
        let share = u128::from(self.budget()) * u128::from(self.write_share) / 100;
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// Bytes for read-ahead.
    pub(crate) fn read_budget(&self) -> u64 {
        self.budget().saturating_sub(self.write_budget())
    }

    fn budget(&self) -> u64 {
        self.memory_budget.map_or_else(
            || machine_memory().map_or(BUDGET_MIN, |memory| (memory / 4).max(BUDGET_MIN)),
            |set| set.as_u64(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn the_defaults_fit_into_the_smallest_budget() {
        let config = Config { memory_budget: Some(ByteSize::b(BUDGET_MIN)), ..Config::default() };
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn reads_sizes_and_durations_as_people_write_them() {
        let config: Config = toml::from_str(
            "memory_budget = \"2GiB\"\nbudget_wait = \"5s\"\npart_size = 8388608\nlisting_attributes = \"fast\"",
        )
        .unwrap();
        assert_eq!((config.memory_budget, config.budget_wait), (Some(ByteSize::gib(2)), Duration::from_secs(5)));
        assert_eq!((config.part_size, config.listing_attributes), (ByteSize::mib(8), ListingAttributes::Fast));
        assert!(toml::from_str::<Config>("part_sise = 1").is_err(), "unknown fields are refused");
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let mut config = Config { memory_budget: Some(ByteSize::mib(64)), ..Config::default() };
        assert_eq!(config.validate().unwrap_err().field, "memory_budget");
        config = Config { part_size: ByteSize::mib(4), ..Config::default() };
        assert_eq!(config.validate().unwrap_err().field, "part_size");
        config =
            Config { memory_budget: Some(ByteSize::mib(128)), part_size_max: ByteSize::mib(65), ..Config::default() };
        assert_eq!(config.validate().unwrap_err().field, "part_size_max");
        config = Config { upload_age_max: Duration::from_secs(2 * 24 * 3600), ..Config::default() };
        assert_eq!(config.validate().unwrap_err().field, "upload_age_max", "less than upload_life");
    }

    #[test]
    fn splits_the_budget() {
        let config = Config { memory_budget: Some(ByteSize::mib(200)), write_share: 25, ..Config::default() };
        assert_eq!(config.write_budget() >> 20, 50);
        assert_eq!(config.write_budget() + config.read_budget(), 200 << 20);
    }
}
