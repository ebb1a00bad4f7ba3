//! What an upload keeps on scratch of the parts that it has sent: all of them where its client may read, so
//! that what it wrote can be read and changed again; otherwise the first one, because formats like ZIP, WAV
//! and MP4 have their header written last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use tidegate_store::Body;

use crate::edit::{Scratch, ScratchFile};
use crate::error::{FsError, FsErrorKind};

/// How much of the first part may be written again, in how many pieces. They stay in memory until CLOSE.
const PATCHES_MAX: usize = 256;
const PATCHED_MAX: u64 = 256 << 10;

/// Parts on scratch.
#[derive(Debug)]
pub(super) struct Kept {
    scratch: Arc<ScratchFile>,
    keeps_all: bool,
    /// Offset in the file and length of each part that is kept.
    spans: Vec<(u64, u64)>,
    bytes: u64,
    is_broken: Arc<AtomicBool>,
    /// What was written to the first part after it had been sent.
    patches: Vec<(u64, Bytes)>,
    patched: u64,
}

/// A scratch file, and the offsets and lengths of what it has of a file.
pub(crate) type OnScratch = (Arc<ScratchFile>, Vec<(u64, u64)>);

/// A part on its way to scratch.
#[derive(Debug)]
pub(super) struct Keep {
    scratch: Arc<ScratchFile>,
    offset: u64,
    is_broken: Arc<AtomicBool>,
}

impl Keep {
    /// Lays the part down in the background; resolves once that is done.
    pub(super) fn begin(self, body: &Body) -> impl Future<Output = ()> + Send + use<> {
        let Self { scratch, mut offset, is_broken } = self;
        let writes: Vec<(u64, Bytes)> = body
            .chunks()
            .iter()
            .map(|chunk| {
                offset += chunk.len() as u64;
                (offset - chunk.len() as u64, chunk.clone())
            })
            .collect();
        let storing = tokio::task::spawn_blocking(move || scratch.store(None, &writes));
        async move {
            // The upload itself goes on: it is not told before someone asks for what was kept.
            if !matches!(storing.await, Ok(Ok(()))) {
                is_broken.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Kept {
    pub(super) fn new(scratch: &Scratch, keeps_all: bool) -> Self {
        Self {
            scratch: Arc::new(scratch.file()),
            keeps_all,
            spans: Vec::new(),
            bytes: 0,
            is_broken: Arc::default(),
            patches: Vec::new(),
            patched: 0,
        }
    }

    /// Whether all parts that were sent are here.
    pub(super) fn keeps_all(&self) -> bool {
        self.keeps_all
    }

    /// Keeps all parts from now on, of which none was sent.
    pub(super) fn keep_all(&mut self) {
        self.keeps_all = true;
    }

    /// Where a part goes that is being sent, unless it is not to be kept.
    ///
    /// # Errors
    /// `NoSpace` if the node's scratch space does not take it.
    pub(super) fn keep(&mut self, offset: u64, len: u64) -> Result<Option<Keep>, FsError> {
        if !self.keeps_all && offset > 0 {
            return Ok(None);
        }
        self.scratch.charge(self.bytes + len)?;
        self.bytes += len;
        self.spans.push((offset, len));
        Ok(Some(Keep { scratch: Arc::clone(&self.scratch), offset, is_broken: Arc::clone(&self.is_broken) }))
    }

    /// Whether a range that was sent can be written again.
    pub(super) fn takes(&self, offset: u64, len: u64) -> bool {
        let in_first =
            self.spans.first().is_some_and(|(start, size)| *start == 0 && offset.saturating_add(len) <= *size);
        !self.keeps_all && in_first && self.patches.len() < PATCHES_MAX && self.patched + len <= PATCHED_MAX
    }

    /// Writes to the first part again.
    pub(super) fn patch(&mut self, offset: u64, data: Bytes) {
        self.patched += data.len() as u64;
        self.patches.push((offset, data));
    }

    /// The length of the first part, if it has to be sent again.
    pub(super) fn changed_first(&self) -> Option<u64> {
        self.spans.first().filter(|_| !self.patches.is_empty()).map(|(_, len)| *len)
    }

    /// The first part as it was written again.
    pub(super) fn load_first(&mut self) -> impl Future<Output = Result<Body, FsError>> + Send + use<> {
        let (scratch, patches) = (Arc::clone(&self.scratch), std::mem::take(&mut self.patches));
        let len = self.spans.first().map_or(0, |(_, len)| *len);
        let checked = self.check();
        async move {
            checked?;
            let loading = tokio::task::spawn_blocking(move || scratch.load(0, len as usize));
            let mut bytes = BytesMut::from(loading.await.unwrap_or_else(|_| Err(lost()))?);
            for (offset, patch) in patches {
                let place = bytes.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..patch.len()));
                place.ok_or_else(lost)?.copy_from_slice(&patch);
            }
            Ok(bytes.freeze().into())
        }
    }

    /// The scratch file and the spans that it has, once no part is on its way any more.
    ///
    /// # Errors
    /// `Unavailable` if the scratch space has failed.
    pub(super) fn take(&mut self) -> Result<OnScratch, FsError> {
        self.check()?;
        Ok((Arc::clone(&self.scratch), std::mem::take(&mut self.spans)))
    }

    fn check(&self) -> Result<(), FsError> {
        if self.is_broken.load(Ordering::Relaxed) { Err(lost()) } else { Ok(()) }
    }
}

fn lost() -> FsError {
    FsError::new(
        FsErrorKind::Unavailable,
        "the server's scratch space has failed and what was written can't be changed any more; upload the file again",
    )
}
