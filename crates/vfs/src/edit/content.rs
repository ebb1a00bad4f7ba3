//! The bytes of a file that is changed in place: what was written, over the version that it began with.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use tidegate_store::{CopySource, ETag, ObjectKey, ObjectStore};
use tokio::sync::oneshot;

use super::extents::{Extents, Place};
use super::scratch::ScratchFile;
use crate::assembly::ZEROS;
use crate::error::{FsError, FsErrorKind};
use crate::reader::{ReadData, Reader, TenantMemory};
use crate::vfs::Shared;

/// Gaps between ranges of the old version that are read through rather than left out by another request.
const READ_THROUGH: u64 = 1 << 20;

/// The version of a file that changes begin with.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) vfs: Arc<Shared>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) memory: TenantMemory,
    pub(crate) key: ObjectKey,
    pub(crate) etag: ETag,
    pub(crate) size: u64,
    pub(crate) reader: OnceLock<Reader>,
}

impl Base {
    /// Whether both are the same version of the same file.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key == other.key && self.etag == other.etag
    }

    /// It as the store copies from it.
    pub(super) fn source(&self) -> CopySource {
        CopySource { key: self.key.clone(), if_match: Some(self.etag.clone()) }
    }

    /// A range of it, in order. Fetching begins with this call.
    pub(crate) fn read(&self, range: Range<u64>) -> BoxFuture<'static, Result<ReadData, FsError>> {
        let reader = self.reader.get_or_init(|| {
            let (store, key, etag) = (Arc::clone(&self.store), self.key.clone(), self.etag.clone());
            let (config, metrics) = (&self.vfs.config, &self.vfs.metrics);
            Reader::of_version(store, key, etag, self.size, self.memory.join(), config, metrics)
        });
        // No part is larger than the memory for uploads of a node.
        let len = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
        let read = reader.read(range.start, len);
        async move {
            let data = read.await?;
            if data.len() == len as usize { Ok(data) } else { Err(incomplete()) }
        }
        .boxed()
    }
}

/// What a file holds. Clones see the same bytes as long as the scratch file is not written to.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) base: Option<Arc<Base>>,
    /// How much of the base still shows: less than its size once the file was cut.
    pub(super) base_end: u64,
    pub(super) size: u64,
    pub(super) extents: Extents,
    pub(super) scratch: Arc<ScratchFile>,
}

/// A range of a file that a version has behind this offset.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) range: Range<u64>,
    pub(super) base: Arc<Base>,
    pub(super) offset: u64,
}

impl Stored {
    /// Where a part of the range lies in the version.
    pub(super) fn in_version(&self, part: &Range<u64>) -> Range<u64> {
        part.start - self.range.start + self.offset..part.end - self.range.start + self.offset
    }
}

/// As long as one lives, the scratch file stays as it is.
pub(super) type Hold = Arc<oneshot::Sender<()>>;

enum Piece {
    /// A part of the nth range that is read of the base.
    Base(usize, Range<u64>),
    Bytes(Bytes),
    /// The nth range that is read of other versions.
    Copied(usize),
    /// The nth range that is read of the scratch file.
    Scratch(usize),
    Zeros(u64),
}

impl Content {
    /// What the store has of the file already, ascending.
    pub(super) fn stored(&self) -> Vec<Stored> {
        let pieces = self.extents.pieces(0..self.size);
        let stored = pieces.filter_map(|(range, place)| match (place, &self.base) {
            (Some(Place::Copied(base, offset)), _) => Some(Stored { range, base, offset }),
            (None, Some(base)) if range.start < self.base_end => {
                let (start, end) = (range.start, range.end.min(self.base_end));
                Some(Stored { range: start..end, base: Arc::clone(base), offset: start })
            }
            _ => None,
        });
        stored.collect()
    }

    /// What was never written, ascending.
    pub(super) fn hole_ranges(&self) -> Vec<Range<u64>> {
        let gaps = self.extents.pieces(0..self.size).filter(|(_, place)| place.is_none());
        let holes = gaps.map(|(range, _)| range.start.max(self.base_end)..range.end);
        holes.filter(|hole| hole.start < hole.end).collect()
    }

    /// The one version that the whole file is a copy of, if it is one.
    pub(super) fn whole_copy(&self) -> Option<Arc<Base>> {
        match self.extents.pieces(0..self.size).next() {
            Some((range, Some(Place::Copied(base, 0)))) if range.end == self.size && base.size == self.size => {
                Some(base)
            }
            _ => None,
        }
    }

    /// Whether all bytes are those of the base.
    pub(super) fn is_unchanged(&self) -> bool {
        let base = self.base.as_ref().map_or(0, |base| base.size);
        self.extents.is_empty() && self.size == base && self.base_end == base
    }

    /// How many bytes were never written.
    pub(super) fn holes(&self) -> u64 {
        let behind = self.base_end..self.size.max(self.base_end);
        (behind.end - behind.start).saturating_sub(self.extents.bytes_in(behind))
    }

    /// The bytes of a range, as they are now, cut at the end of the file. Reading begins with this call;
    /// `hold` is kept until it is done.
    pub(super) fn read(&self, range: Range<u64>, hold: Hold) -> BoxFuture<'static, Result<ReadData, FsError>> {
        let range = range.start..range.end.min(self.size);
        if range.start >= range.end {
            return futures::future::ready(Ok(ReadData::default())).boxed();
        }
        let (mut pieces, mut of_base, mut of_scratch) = (Vec::new(), Vec::<Range<u64>>::new(), Vec::new());
        let mut copied = Vec::new();
        for (range, place) in self.extents.pieces(range) {
            match place {
                Some(Place::Copied(base, offset)) => {
                    pieces.push(Piece::Copied(copied.len()));
                    copied.push(base.read(offset..offset + (range.end - range.start)));
                }
                Some(Place::Memory(bytes)) => pieces.push(Piece::Bytes(bytes)),
                Some(Place::Scratch) => {
                    pieces.push(Piece::Scratch(of_scratch.len()));
                    of_scratch.push(range);
                }
                None => {
                    let seam = self.base_end.clamp(range.start, range.end);
                    if range.start < seam {
                        match of_base.last_mut().filter(|last| range.start - last.end <= READ_THROUGH) {
                            Some(last) => last.end = seam,
                            None => of_base.push(range.start..seam),
                        }
                        pieces.push(Piece::Base(of_base.len() - 1, range.start..seam));
                    }
                    if seam < range.end {
                        pieces.push(Piece::Zeros(range.end - seam));
                    }
                }
            }
        }
        let from_base = self.read_base(&of_base);
        let from_scratch = self.read_scratch(of_scratch, Arc::clone(&hold));
        async move {
            let (from_base, copied, from_scratch) = futures::try_join!(from_base, try_join_all(copied), from_scratch)?;
            let mut data = ReadData::default();
            for piece in pieces {
                match piece {
                    Piece::Base(n, range) => {
                        let (Some(all), Some(of)) = (from_base.get(n), of_base.get(n)) else {
                            return Err(incomplete());
                        };
                        all.push_range_to(&mut data, range.start - of.start..range.end - of.start);
                    }
                    Piece::Bytes(bytes) => data.push(bytes),
                    Piece::Copied(n) => {
                        let all = copied.get(n).ok_or_else(incomplete)?;
                        all.push_range_to(&mut data, 0..all.len() as u64);
                    }
                    Piece::Scratch(n) => data.push(from_scratch.get(n).cloned().ok_or_else(incomplete)?),
                    Piece::Zeros(len) => push_zeros(&mut data, len),
                }
            }
            drop(hold);
            Ok(data)
        }
        .boxed()
    }

    fn read_base(&self, ranges: &[Range<u64>]) -> BoxFuture<'static, Result<Vec<ReadData>, FsError>> {
        let Some(base) = &self.base else { return futures::future::ready(Ok(Vec::new())).boxed() };
        try_join_all(ranges.iter().map(|range| base.read(range.clone())).collect::<Vec<_>>()).boxed()
    }

    fn read_scratch(&self, ranges: Vec<Range<u64>>, hold: Hold) -> BoxFuture<'static, Result<Vec<Bytes>, FsError>> {
        if ranges.is_empty() {
            return futures::future::ready(Ok(Vec::new())).boxed();
        }
        let scratch = Arc::clone(&self.scratch);
        let loading = tokio::task::spawn_blocking(move || {
            let loaded = ranges.iter().map(|range| scratch.load(range.start, (range.end - range.start) as usize));
            let loaded = loaded.collect();
            // Also if nobody waits for it any more.
            drop(hold);
            loaded
        });
        async move { loading.await.unwrap_or_else(|_| Err(incomplete())) }.boxed()
    }
}

fn push_zeros(data: &mut ReadData, mut len: u64) {
    while len > 0 {
        let some = len.min(ZEROS.len() as u64);
        data.push(Bytes::from_static(&ZEROS).slice(..some as usize));
        len -= some;
    }
}

fn incomplete() -> FsError {
    FsError::new(FsErrorKind::Unavailable, "the file could not be read as a whole; try again")
}

#[cfg(test)]
impl Base {
    /// One of a byte, in a store that does not have it.
    pub(super) fn of_test(key: &str) -> Arc<Self> {
        let vfs = Shared::of_test();
        Arc::new(Self {
            store: Arc::new(tidegate_store::memory::MemoryObjectStore::new()),
            memory: vfs.read_memory_of_test(),
            key: ObjectKey::new(key).unwrap(),
            etag: ETag::new(key),
            size: 1,
            reader: OnceLock::new(),
            vfs,
        })
    }
}
