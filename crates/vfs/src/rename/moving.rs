//! Moves one object of a directory that is renamed.

use tidegate_store::{Condition, CopySource, ETag, ObjectKey, ObjectMeta, StoreErrorKind};

use super::{moved_key, untold};
use crate::copying::Copier;
use crate::error::{FsError, FsErrorKind};
use crate::vfs::Files;

/// How often an object is copied anew that is replaced while it is copied.
const TRIES: u32 = 4;

/// What a copy is to replace.
enum Onto {
    /// Nothing.
    Absent,
    /// An earlier copy of the same object.
    Copy(ETag),
}

impl Files {
    /// Moves an object to its place below `to`: a copy, then a delete of the version that was copied, so
    /// that it is in at least one of the two places at any time, and in one of them in the end. An
    /// object that is at its target already, from a rename that was interrupted, is only deleted.
    ///
    /// # Errors
    /// `AlreadyExists` if another file has its target: both stay.
    pub(super) async fn move_object(
        &self,
        copier: &Copier,
        key: &ObjectKey,
        from: &ObjectKey,
        to: &ObjectKey,
    ) -> Result<(), FsError> {
        let target = moved_key(key, from, to)?;
        let mut onto = Onto::Absent;
        for _ in 0..TRIES {
            // What a copy has to be told, a listing does not tell.
            let lookup = self.lookups.acquire().await;
            let found = self.head(key).await?;
            drop(lookup);
            // Another rename or a REMOVE took it meanwhile.
            let Some(meta) = found else { return Ok(()) };
            match self.move_version(copier, (key, &meta), &target, &onto).await? {
                Moved::Done => return Ok(()),
                // What took its place is moved instead; the copy of the older version goes.
                Moved::Replaced(copy) => onto = copy.map_or(onto, Onto::Copy),
            }
        }
        Err(FsError::new(
            FsErrorKind::Conflict,
            "a file in this directory is changed again and again; ask for the rename again to finish it",
        ))
    }

    async fn move_version(
        &self,
        copier: &Copier,
        (key, meta): (&ObjectKey, &ObjectMeta),
        target: &ObjectKey,
        onto: &Onto,
    ) -> Result<Moved, FsError> {
        let condition = match onto {
            Onto::Absent => Condition::IfAbsent,
            Onto::Copy(etag) => Condition::IfMatch(etag.clone()),
        };
        let (size, etag) = (meta.size, &meta.etag);
        let source = CopySource { key: key.clone(), if_match: Some(etag.clone()) };
        let copied = {
            // Parts take leave for themselves.
            let _lane = if copier.is_in_parts(size) { None } else { Some(copier.lane().await) };
            copier.copy(&source, size, target, untold(meta), &condition).await
        };
        let copy = match copied {
            Ok(receipt) => receipt.etag,
            // Another rename or a REMOVE took it meanwhile.
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(Moved::Done),
            Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => {
                let (source, found) = futures::try_join!(self.head(key), self.head(target))?;
                let Some(source) = source else { return Ok(Moved::Done) };
                let Some(found) = found else { return Ok(Moved::Replaced(None)) };
                if source.etag != *etag {
                    return Ok(Moved::Replaced(None));
                }
                match self.is_same(key, &source, target, &found).await? {
                    Same::Yes => found.etag,
                    Same::Changed => return Ok(Moved::Replaced(None)),
                    Same::Unknown => return Ok(Moved::Replaced(Some(found.etag))),
                    Same::No => return Err(taken(target, error.into())),
                }
            }
            Err(error) => return Err(error.into()),
        };
        let _lane = copier.lane().await;
        match self.store.delete_version(key, etag).await {
            Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => Ok(Moved::Replaced(Some(copy))),
            deleted => Ok(deleted.map(|()| Moved::Done)?),
        }
    }

    /// Whether what lies at the target is the copy that an interrupted rename has left.
    async fn is_same(
        &self,
        key: &ObjectKey,
        source: &ObjectMeta,
        target: &ObjectKey,
        found: &ObjectMeta,
    ) -> Result<Same, FsError> {
        if source.size != found.size {
            return Ok(Same::No);
        }
        if source.etag == found.etag {
            return Ok(Same::Yes);
        }
        let checksums = futures::future::try_join(
            self.store.checksum(key, Some(&source.etag)),
            self.store.checksum(target, Some(&found.etag)),
        );
        let is_copy = source.attributes == found.attributes && source.last_modified <= found.last_modified;
        let checksums = match checksums.await {
            Err(error) if matches!(error.kind(), StoreErrorKind::NotFound | StoreErrorKind::PreconditionFailed) => {
                return Ok(Same::Changed);
            }
            checksums => checksums?,
        };
        Ok(match checksums {
            (Some(source), Some(found)) if source == found => Same::Yes,
            (Some(_), Some(_)) => Same::No,
            // Without checksums the tags of the same bytes differ where one was stored in parts or under
            // a key. What looks like the copy is written over with the very same bytes.
            _ if is_copy => Same::Unknown,
            _ => Same::No,
        })
    }
}

enum Moved {
    Done,
    /// Another version is there now; the tag of the copy of the one before, if there is one.
    Replaced(Option<ETag>),
}

enum Same {
    /// One of the two is another version by now, or gone.
    Changed,
    No,
    Unknown,
    Yes,
}

fn taken(target: &ObjectKey, cause: FsError) -> FsError {
    let name = target.as_str().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    FsError::new(
        FsErrorKind::AlreadyExists,
        format!(
            "both directories hold a file \"{}\", and the two differ; remove one of them and ask for the rename again",
            name.escape_debug()
        ),
    )
    .caused_by(cause)
}
