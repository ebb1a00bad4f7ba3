//! Files that were stored lately, as they were stored: clients set a file's attributes right after its
//! CLOSE, and need not wait for the store to tell what it was just told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_store::{ObjectKey, ObjectMeta};
use tokio::time::Instant;

use crate::hashed_names::{HashedName, NameHasher};

/// How many files are remembered on a node, each for how long. With metadata as long as S3 allows they
/// take 2 MiB.
const FILES_MAX: usize = 1_024;
const LIFE: Duration = Duration::from_secs(5);

/// What one request stored under a key, until that changes through this node or its time is over.
#[derive(Debug, Default)]
pub(crate) struct Written {
    names: NameHasher,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By bucket and key.
    files: HashMap<HashedName, File>,
    /// Oldest first; a number that is no longer its file's is of no meaning.
    order: VecDeque<(u64, HashedName)>,
    next: u64,
}

#[derive(Debug)]
struct File {
    number: u64,
    since: Instant,
    meta: ObjectMeta,
}

impl Written {
    /// Remembers what was stored.
    pub(crate) fn note(&self, bucket: &str, key: &ObjectKey, meta: ObjectMeta) {
        let name = self.names.name(&(bucket, key));
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.files.insert(name, File { number, since: Instant::now(), meta });
        state.order.push_back((number, name));
        while state.order.len() > FILES_MAX {
            let Some((number, name)) = state.order.pop_front() else { break };
            if state.files.get(&name).is_some_and(|file| file.number == number) {
                state.files.remove(&name);
            }
        }
    }

    /// What was stored under a key, if nothing has changed it through this node since.
    pub(crate) fn get(&self, bucket: &str, key: &ObjectKey) -> Option<ObjectMeta> {
        let name = self.names.name(&(bucket, key));
        let state = self.state();
        let file = state.files.get(&name)?;
        (file.since.elapsed() < LIFE).then(|| file.meta.clone())
    }

    /// The key was changed, or may have been.
    pub(crate) fn forget(&self, bucket: &str, key: &ObjectKey) {
        let name = self.names.name(&(bucket, key));
        self.state().files.remove(&name);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tidegate_store::{ETag, ObjectAttributes};

    use super::*;

    fn key(n: usize) -> ObjectKey {
        ObjectKey::new(n.to_string()).unwrap()
    }

    fn meta(size: u64) -> ObjectMeta {
        let (etag, attributes) = (ETag::new("\"e\""), ObjectAttributes::default());
        ObjectMeta { size, etag, last_modified: SystemTime::UNIX_EPOCH, attributes, tag_count: 0, checksum: None }
    }

    #[tokio::test(start_paused = true)]
    async fn remembers_the_latest_for_a_while() {
        let written = Written::default();
        written.note("b", &key(1), meta(1));
        written.note("b", &key(1), meta(2));
        assert_eq!(written.get("b", &key(1)).map(|meta| meta.size), Some(2));
        assert!(written.get("c", &key(1)).is_none(), "another bucket");
        tokio::time::advance(LIFE).await;
        assert!(written.get("b", &key(1)).is_none());
        written.note("b", &key(1), meta(3));
        written.forget("b", &key(1));
        assert!(written.get("b", &key(1)).is_none());
    }

    #[tokio::test]
    async fn stays_small() {
        let written = Written::default();
        for n in 0..3 * FILES_MAX {
            written.note("b", &key(n), meta(1));
            written.note("b", &key(0), meta(1));
        }
        let state = written.state();
        assert!(state.files.len() <= FILES_MAX && state.order.len() <= FILES_MAX);
        assert!(state.files.contains_key(&written.names.name(&("b", &key(0)))), "stored again and again");
    }
}
