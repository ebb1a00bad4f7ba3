//! Attributes that listings need and that cost a request each.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tidegate_store::{ETag, ObjectKey};
use tokio::time::Instant;

use crate::attributes::FileAttributes;
use crate::hashed_names::{HashedName, NameHasher};
use crate::metrics::Metrics;

/// One cache for the node, of bounded size.
///
/// A file's attributes are kept under bucket, key, tag and time of its object, so an entry can't go
/// stale: whatever changes the object changes its name here, but for new metadata on the same bytes
/// within the second that the time tells. So an entry is good only once that second is over: when by
/// the store's own clock the object was [`SETTLED`] old as it was looked up, or when the same name was
/// seen [`SETTLE`] apart. A subdirectory's marker is not told apart like that by a listing, so its
/// attributes are kept under its key for a short time.
#[derive(Debug)]
pub(crate) struct AttributeCache {
    names: NameHasher,
    files: Mutex<Generations<Seen>>,
    directories: Mutex<Generations<(Instant, FileAttributes)>>,
    directory_life: Duration,
    metrics: Metrics,
}

/// The resolution of S3's LastModified, and as much again for clocks of its servers that differ.
const SETTLE: Duration = Duration::from_secs(2);

/// Objects older than this by the store's clock are settled when they are first seen. The second that
/// their time tells and the one that the clock does, and three for clocks of its servers that differ.
const SETTLED: Duration = Duration::from_secs(5);

/// The same by our own clock, where the store has not told its own: however wrong ours is within reason.
const OLD: Duration = Duration::from_secs(3600);

/// A file's attributes as of the last time they were looked up.
#[derive(Clone, Copy, Debug)]
struct Seen {
    first: Instant,
    settled: bool,
    attributes: FileAttributes,
}

impl AttributeCache {
    pub(crate) fn new(entries: usize, directory_life: Duration, metrics: Metrics) -> Self {
        Self {
            names: NameHasher::default(),
            files: Mutex::new(Generations::new(entries)),
            directories: Mutex::new(Generations::new(entries / 8)),
            directory_life,
            metrics,
        }
    }

    pub(crate) fn file(&self, bucket: &str, version: Version<'_>) -> Option<FileAttributes> {
        let name = self.names.name(&(bucket, version));
        let seen = lock(&self.files).get(name).filter(|seen| seen.settled);
        self.counted(seen.map(|seen| seen.attributes))
    }

    /// The same without counting the look.
    pub(crate) fn known_file(&self, bucket: &str, version: Version<'_>) -> Option<FileAttributes> {
        let name = self.names.name(&(bucket, version));
        lock(&self.files).get(name).filter(|seen| seen.settled).map(|seen| seen.attributes)
    }

    /// Notes what a lookup has shown that was sent at `asked` by the store's clock.
    pub(crate) fn put_file(
        &self,
        bucket: &str,
        version: Version<'_>,
        asked: Option<SystemTime>,
        attributes: FileAttributes,
    ) {
        let name = self.names.name(&(bucket, version));
        let is_old = match asked {
            Some(asked) => asked.duration_since(version.last_modified).is_ok_and(|age| age >= SETTLED),
            None => version.last_modified.elapsed().is_ok_and(|age| age > OLD),
        };
        let mut files = lock(&self.files);
        let before = files.get(name);
        let first = before.map_or_else(Instant::now, |seen| seen.first);
        let settled = is_old || before.is_some_and(|seen| seen.settled) || first.elapsed() >= SETTLE;
        files.put(name, Seen { first, settled, attributes });
    }

    pub(crate) fn directory(&self, bucket: &str, marker: &ObjectKey) -> Option<FileAttributes> {
        let name = self.names.name(&(bucket, marker));
        let found = lock(&self.directories).get(name).filter(|(since, _)| since.elapsed() < self.directory_life);
        self.counted(found.map(|(_, attributes)| attributes))
    }

    pub(crate) fn put_directory(&self, bucket: &str, marker: &ObjectKey, attributes: FileAttributes) {
        let name = self.names.name(&(bucket, marker));
        lock(&self.directories).put(name, (Instant::now(), attributes));
    }

    pub(crate) fn forget_directory(&self, bucket: &str, marker: &ObjectKey) {
        let name = self.names.name(&(bucket, marker));
        lock(&self.directories).remove(name);
    }

    fn counted(&self, found: Option<FileAttributes>) -> Option<FileAttributes> {
        let counter = if found.is_some() { &self.metrics.attribute_hits } else { &self.metrics.attribute_misses };
        counter.inc();
        found
    }
}

/// One version of an object's bytes and metadata. The time is part of it because new metadata on
/// the same bytes keeps the tag.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Version<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) etag: &'a ETag,
    pub(crate) last_modified: SystemTime,
}

/// A map that forgets what was not used lately: when the young half is full it becomes the old one,
/// and the old one is dropped.
#[derive(Debug)]
pub(crate) struct Generations<V> {
    half: usize,
    young: HashMap<HashedName, V>,
    old: HashMap<HashedName, V>,
}

impl<V: Copy> Generations<V> {
    pub(crate) fn new(entries: usize) -> Self {
        Self { half: entries / 2, young: HashMap::new(), old: HashMap::new() }
    }

    pub(crate) fn get(&mut self, name: HashedName) -> Option<V> {
        if let Some(value) = self.young.get(&name) {
            return Some(*value);
        }
        let value = self.old.remove(&name)?;
        self.put(name, value);
        Some(value)
    }

    pub(crate) fn put(&mut self, name: HashedName, value: V) {
        if self.half == 0 {
            return;
        }
        if self.young.len() >= self.half && !self.young.contains_key(&name) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, value);
    }

    fn remove(&mut self, name: HashedName) {
        self.young.remove(&name);
        self.old.remove(&name);
    }
}

fn lock<V>(generations: &Mutex<Generations<V>>) -> MutexGuard<'_, Generations<V>> {
    generations.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used_and_stays_small() {
        let (mut generations, names) = (Generations::new(100), NameHasher::default());
        for n in 0..1_000 {
            generations.put(names.name(&n), n);
            assert_eq!(generations.get(names.name(&0)), Some(0), "used all the time");
            assert!(generations.young.len() + generations.old.len() <= 100);
        }
        assert_eq!(generations.get(names.name(&500)), None);
        assert_eq!(generations.get(names.name(&999)), Some(999));
    }

    #[test]
    fn another_version_is_another_entry() {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let cache = AttributeCache::new(100, Duration::from_secs(1), metrics);
        let (key, etag, time) = (ObjectKey::new("k").unwrap(), ETag::new("\"1\""), SystemTime::UNIX_EPOCH);
        let version = Version { key: &key, etag: &etag, last_modified: time };
        cache.put_file("b", version, Some(time + SETTLED), FileAttributes::listed(1, time));
        assert!(cache.file("b", version).is_some());
        assert!(cache.file("c", version).is_none(), "another bucket");
        let later = Version { last_modified: time + Duration::from_secs(1), ..version };
        assert!(cache.file("b", later).is_none(), "new metadata");
        assert!(cache.file("b", Version { etag: &ETag::new("\"2\""), ..version }).is_none(), "new bytes");
    }

    // New metadata within the second that a listing tells has the same tag and time.
    #[tokio::test(start_paused = true)]
    async fn a_young_object_is_looked_up_again_until_its_second_is_over() {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let cache = AttributeCache::new(100, Duration::from_secs(1), metrics);
        let (key, etag, time) = (ObjectKey::new("k").unwrap(), ETag::new("\"1\""), SystemTime::now());
        let version = Version { key: &key, etag: &etag, last_modified: time };
        cache.put_file("b", version, Some(time), FileAttributes::listed(1, time));
        tokio::time::advance(SETTLE).await;
        assert!(cache.file("b", version).is_none(), "what was seen then may have changed since");
        let changed = FileAttributes { mode: 0o100_600, ..FileAttributes::listed(1, time) };
        cache.put_file("b", version, Some(time), changed);
        assert_eq!(cache.file("b", version), Some(changed));
    }

    #[test]
    fn how_old_an_object_is_the_store_s_clock_says_and_ours_only_without_it() {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let cache = AttributeCache::new(100, Duration::from_secs(1), metrics);
        let (key, etag, now) = (ObjectKey::new("k").unwrap(), ETag::new("\"1\""), SystemTime::now());
        let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
        let is_settled = |last_modified, asked| {
            let version = Version { key: &key, etag: &etag, last_modified };
            cache.put_file("b", version, asked, FileAttributes::listed(1, last_modified));
            cache.file("b", version).is_some()
        };
        // A store whose clock is an hour behind ours, right, and an hour ahead.
        for (n, store) in [now - hour, now, now + hour].into_iter().enumerate() {
            // Another version for each case.
            let made = store - SETTLED - n as u32 * Duration::from_millis(1);
            assert!(!is_settled(made + 2 * second, Some(store)), "too young");
            assert!(!is_settled(made + 60 * second, Some(store)), "from the future");
            assert!(is_settled(made, Some(store)), "old enough");
        }
        assert!(!is_settled(now - 20 * second, None));
        assert!(is_settled(now - hour - second, None));
    }
}
