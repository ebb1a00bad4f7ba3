//! Body files: written once, shared by objects and parts, removed when nobody needs them.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failure::Failure;

/// The name of a body file: a number that no other body of the folder ever had while it was there.
pub(crate) type BodyId = i64;

/// Folders below the bodies' folder, so that none grows too large to list.
const SHARDS: i64 = 256;

/// The folder of body files.
#[derive(Debug)]
pub(crate) struct Bodies {
    folder: PathBuf,
    next: AtomicI64,
    pins: Mutex<HashMap<BodyId, Pin>>,
}

/// How many readers hold a body, and whether it is to be removed when the last lets go.
#[derive(Debug, Default)]
struct Pin {
    readers: u32,
    doomed: bool,
}

impl Bodies {
    /// Opens the folder, and removes the bodies that the index does not refer to: those of
    /// uploads that ended with the process. Returns how many it removed.
    pub(crate) fn open(
        folder: PathBuf,
        mut referenced: impl FnMut(BodyId) -> Result<bool, Failure>,
    ) -> Result<(Arc<Self>, u64), Failure> {
        let mut greatest = 0;
        let mut removed = 0;
        for shard in 0..SHARDS {
            let shard = shard_folder(&folder, shard);
            fs::create_dir_all(&shard)?;
            for entry in fs::read_dir(&shard)? {
                let entry = entry?;
                let id = entry.file_name().to_str().and_then(|name| BodyId::from_str_radix(name, 16).ok());
                greatest = greatest.max(id.unwrap_or(0));
                let keep = match id {
                    Some(id) => referenced(id)?,
                    None => false,
                };
                if !keep {
                    fs::remove_file(entry.path())?;
                    removed += 1;
                }
            }
        }
        let bodies = Self { folder, next: AtomicI64::new(greatest + 1), pins: Mutex::default() };
        Ok((Arc::new(bodies), removed))
    }

    /// A new, empty body. It goes again unless it is kept.
    pub(crate) fn create(self: &Arc<Self>) -> io::Result<NewBody> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let file = OpenOptions::new().write(true).create_new(true).open(self.path(id))?;
        Ok(NewBody { bodies: Arc::clone(self), id, file, kept: false })
    }

    pub(crate) fn open_body(&self, id: BodyId) -> io::Result<File> {
        File::open(self.path(id))
    }

    /// Keeps bodies readable until the result is dropped. The caller holds the index locked from
    /// the moment it read these numbers, else a writer may have removed them in between.
    pub(crate) fn pin(self: &Arc<Self>, ids: Vec<BodyId>) -> Pinned {
        let mut pins = self.pins();
        for id in &ids {
            pins.entry(*id).or_default().readers += 1;
        }
        drop(pins);
        Pinned { bodies: Arc::clone(self), ids }
    }

    /// Takes the bodies that no range refers to any more and returns those to remove now; the
    /// pinned ones go with their last reader. The caller holds the index locked, and removes with
    /// [`Bodies::remove`] once it has let go of it.
    pub(crate) fn discard(&self, mut ids: Vec<BodyId>) -> Vec<BodyId> {
        if !ids.is_empty() {
            let mut pins = self.pins();
            ids.retain(|id| match pins.get_mut(id) {
                Some(pin) => {
                    pin.doomed = true;
                    false
                }
                None => true,
            });
        }
        ids
    }

    /// Takes back [`Bodies::discard`] for bodies that a range refers to again. The caller holds
    /// the index locked and the bodies pinned.
    pub(crate) fn revive(&self, ids: &[BodyId]) {
        let mut pins = self.pins();
        for id in ids {
            if let Some(pin) = pins.get_mut(id) {
                pin.doomed = false;
            }
        }
    }

    pub(crate) fn remove(&self, ids: &[BodyId]) {
        for id in ids {
            if let Err(error) = fs::remove_file(self.path(*id)) {
                tracing::warn!(%error, body = id, "a body file that nothing refers to can't be removed");
            }
        }
    }

    fn path(&self, id: BodyId) -> PathBuf {
        shard_folder(&self.folder, id % SHARDS).join(format!("{id:016x}"))
    }

    fn pins(&self) -> MutexGuard<'_, HashMap<BodyId, Pin>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shard_folder(folder: &Path, shard: i64) -> PathBuf {
    folder.join(format!("{shard:02x}"))
}

/// A body that is being written.
#[derive(Debug)]
pub(crate) struct NewBody {
    bodies: Arc<Bodies>,
    id: BodyId,
    pub(crate) file: File,
    kept: bool,
}

impl NewBody {
    pub(crate) fn id(&self) -> BodyId {
        self.id
    }

    /// The index refers to it now.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for NewBody {
    fn drop(&mut self) {
        if !self.kept {
            self.bodies.remove(&[self.id]);
        }
    }
}

/// Bodies that stay readable while this lives.
#[derive(Debug)]
pub(crate) struct Pinned {
    bodies: Arc<Bodies>,
    ids: Vec<BodyId>,
}

impl Pinned {
    pub(crate) fn bodies(&self) -> &Bodies {
        &self.bodies
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.bodies.pins();
        let mut last = Vec::new();
        for id in &self.ids {
            if let Some(pin) = pins.get_mut(id) {
                pin.readers -= 1;
                if pin.readers == 0 {
                    if pin.doomed {
                        last.push(*id);
                    }
                    pins.remove(id);
                }
            }
        }
        drop(pins);
        self.bodies.remove(&last);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn bodies() -> (tempfile::TempDir, Arc<Bodies>) {
        let folder = tempfile::TempDir::new().unwrap();
        let (bodies, _) = Bodies::open(folder.path().to_owned(), |_| Ok(true)).unwrap();
        (folder, bodies)
    }

    fn kept(bodies: &Arc<Bodies>) -> BodyId {
        let mut body = bodies.create().unwrap();
        body.file.write_all(b"bytes").unwrap();
        let id = body.id();
        body.keep();
        id
    }

    #[test]
    fn a_body_that_is_not_kept_goes() {
        let (_folder, bodies) = bodies();
        let body = bodies.create().unwrap();
        let id = body.id();
        bodies.open_body(id).unwrap();
        drop(body);
        assert_eq!(bodies.open_body(id).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_discarded_body_goes_with_its_last_reader() {
        let (_folder, bodies) = bodies();
        let (read, unread) = (kept(&bodies), kept(&bodies));
        let (first, second) = (bodies.pin(vec![read]), bodies.pin(vec![read]));
        assert_eq!(bodies.discard(vec![read, unread]), [unread]);
        drop(first);
        bodies.open_body(read).unwrap();
        drop(second);
        assert_eq!(bodies.open_body(read).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_revived_body_stays() {
        let (_folder, bodies) = bodies();
        let id = kept(&bodies);
        let pinned = bodies.pin(vec![id]);
        assert!(bodies.discard(vec![id]).is_empty());
        bodies.revive(&[id]);
        drop(pinned);
        bodies.open_body(id).unwrap();
    }

    #[test]
    fn numbers_are_not_used_again() {
        let (folder, bodies) = bodies();
        let ids = [kept(&bodies), kept(&bodies)];
        drop(bodies);
        let (bodies, removed) = Bodies::open(folder.path().to_owned(), |id| Ok(id == ids[0])).unwrap();
        assert_eq!(removed, 1);
        bodies.open_body(ids[0]).unwrap();
        assert!(kept(&bodies) > ids[1]);
    }
}
