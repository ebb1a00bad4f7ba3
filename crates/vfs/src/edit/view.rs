//! A file as it is at one moment, to be copied from or read through; and ranges of it laid over another.

use std::ops::Range;
use std::sync::Arc;

use futures::future::BoxFuture;
use tidegate_store::{KeptChecksums, limits};
use tokio::sync::oneshot;

use super::content::{Base, Content, Hold};
use super::extents::Extents;
use super::scratch::Scratch;
use super::{Edit, RUNS_MAX};
use crate::assembly::too_large;
use crate::error::FsError;
use crate::reader::ReadData;

/// What a file holds at the moment that it was taken. As long as it lives, what is written to the file waits
/// in memory, unless it has nothing but what the store has.
#[derive(Debug)]
pub struct View {
    content: Content,
    hold: Hold,
}

impl View {
    /// A version of a file.
    pub(crate) fn of_version(base: Arc<Base>, scratch: &Scratch) -> Self {
        let (size, scratch) = (base.size, Arc::new(scratch.file()));
        let content = Content { base: Some(base), base_end: size, size, extents: Extents::default(), scratch };
        Self { content, hold: Arc::new(oneshot::channel().0) }
    }

    /// The size of the file.
    pub fn size(&self) -> u64 {
        self.content.size
    }

    /// Reads up to `len` bytes at `offset`: fewer only at the end of the file. Reading begins with this call, in
    /// a Tokio runtime; the caller bounds how many run at once.
    pub fn read(&self, offset: u64, len: u32) -> BoxFuture<'static, Result<ReadData, FsError>> {
        self.content.read(offset..offset.saturating_add(u64::from(len)), Arc::clone(&self.hold))
    }

    /// The checksums that the store keeps for all of it: `None` if it was changed, and where the store does
    /// not tell.
    pub async fn kept_checksums(&self) -> Option<KeptChecksums> {
        let base = self.content.base.as_ref().filter(|_| self.content.is_unchanged())?;
        base.store.kept_checksums(&base.key, Some(&base.etag)).await.ok()
    }

    /// Whether the store has every byte of a range.
    pub(crate) fn is_stored(&self, range: Range<u64>) -> bool {
        let inside = self.content.stored().into_iter().map(|stored| {
            let (from, to) = (stored.range.start.max(range.start), stored.range.end.min(range.end));
            to.saturating_sub(from)
        });
        inside.sum::<u64>() == range.end - range.start
    }
}

impl Edit {
    /// The file as it is now.
    pub(crate) fn view(&self) -> View {
        View { content: self.content.clone(), hold: Arc::clone(&self.reads) }
    }

    /// Lays a range of another file, all of which the store has, over this one.
    ///
    /// # Errors
    /// The latched failure; `TooLarge`; `Unsupported` for holes and runs beyond the limits.
    pub(crate) fn copy(&mut self, view: &View, range: Range<u64>, at: u64) -> Result<(), FsError> {
        self.check()?;
        let len = range.end - range.start;
        let end = at.checked_add(len).filter(|end| *end <= limits::OBJECT_MAX).ok_or_else(too_large)?;
        if at > self.content.size {
            self.check_holes(end, len)?;
        }
        self.turn += 1;
        self.content.size = self.content.size.max(end);
        for stored in view.content.stored() {
            let (from, to) = (stored.range.start.max(range.start), stored.range.end.min(range.end));
            if from < to {
                if self.content.extents.len() >= RUNS_MAX {
                    return Err(FsError::unsupported(
                        "the copy has too many separate pieces; close the file in between",
                    ));
                }
                let start = from - range.start + at;
                self.content.extents.copy(start, &stored.base, stored.in_version(&(from..to)), self.turn);
            }
        }
        Ok(())
    }
}
