//! What a session has open.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use futures::future::BoxFuture;
use prometheus::IntGauge;
use tidegate_vfs::{Directory, FsError, ReadData, Reader, VirtualPath, Writer};

use super::reads::ReadQueue;
use crate::codec::{HandleId, NameEntry};
use crate::tenants::HandlePermit;

/// What a READDIR that waits counts against the limit on queued requests, in bytes.
pub(super) const READDIR_BYTES: usize = 32;

/// A CLOSE that waits for the requests before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    pub(super) id: u32,
    pub(super) arrived: Instant,
}

/// A file open for reading.
#[derive(Debug)]
pub(super) struct ReadHandle {
    pub(super) path: VirtualPath,
    pub(super) reader: Reader,
    pub(super) reads: ReadQueue,
    pub(super) closing: Option<Closing>,
    pub(super) bytes: u64,
    pub(super) opened: Instant,
    pub(super) _permit: HandlePermit,
}

/// A file open for writing.
#[derive(Debug)]
pub(super) struct WriteHandle {
    pub(super) path: VirtualPath,
    /// Where links that it was opened through led, as long as that is known.
    pub(super) real: Option<VirtualPath>,
    pub(super) writer: Writer,
    /// Every WRITE goes to the end, whatever its offset says.
    pub(super) append: bool,
    /// The files that the store is to copy from when this one is published, or some of them.
    pub(super) copied_from: Vec<VirtualPath>,
    pub(super) reads: ReadQueue,
    pub(super) closing: Option<Closing>,
    /// Bytes taken, and bytes given.
    pub(super) bytes: u64,
    pub(super) bytes_read: u64,
    pub(super) opened: Instant,
    pub(super) _permit: HandlePermit,
}

/// A directory that is listed.
#[derive(Debug)]
pub(super) struct DirectoryHandle {
    pub(super) path: VirtualPath,
    /// `None` while a page is fetched.
    pub(super) directory: Option<Directory>,
    /// Fetched and not sent yet: less than two pages.
    pub(super) entries: VecDeque<NameEntry>,
    /// How the listing failed behind these.
    pub(super) failed: Option<FsError>,
    /// READDIRs to answer: id and arrival.
    pub(super) waiting: VecDeque<(u32, Instant)>,
    pub(super) ended: bool,
    pub(super) closing: Option<Closing>,
    pub(super) _permit: HandlePermit,
}

/// Anything open.
#[derive(Debug)]
pub(super) enum OpenHandle {
    Directory(Box<DirectoryHandle>),
    Read(Box<ReadHandle>),
    Write(Box<WriteHandle>),
}

/// What READs of a handle work on, whether it is open for reading alone or not.
pub(super) struct Readable<'a> {
    pub(super) reads: &'a mut ReadQueue,
    pub(super) bytes: &'a mut u64,
    pub(super) path: &'a VirtualPath,
    pub(super) closing: Option<Closing>,
    file: File<'a>,
}

enum File<'a> {
    Reader(&'a Reader),
    Writer(&'a Writer),
}

impl Readable<'_> {
    /// The size of the file, in bytes.
    pub(super) fn size(&self) -> u64 {
        match self.file {
            File::Reader(reader) => reader.attributes().size,
            File::Writer(writer) => writer.attributes().size,
        }
    }

    /// Begins a READ.
    pub(super) fn read(&self, offset: u64, len: u32) -> BoxFuture<'static, Result<ReadData, FsError>> {
        match self.file {
            File::Reader(reader) => reader.read(offset, len),
            File::Writer(writer) => writer.read(offset, len),
        }
    }
}

impl WriteHandle {
    fn is_at(&self, path: &VirtualPath) -> bool {
        self.real.as_ref().unwrap_or(&self.path) == path
    }

    fn renamed(&mut self, from: &VirtualPath, to: &VirtualPath) {
        let moved = |path: &VirtualPath| if from.contains(path) { path.moved(from, to).ok() } else { None };
        let (path, real) = (moved(&self.path), self.real.as_ref().and_then(moved));
        match (path, real) {
            (path, Some(real)) => {
                self.real = Some(real);
                self.path = path.unwrap_or_else(|| self.path.clone());
            }
            // The link, or the file by way of a link to a directory.
            (Some(path), None) => (self.path, self.real) = (path, None),
            (None, None) => {}
        }
    }
}

impl OpenHandle {
    /// What READs work on.
    pub(super) fn readable(&mut self) -> Option<Readable<'_>> {
        match self {
            Self::Directory(_) => None,
            Self::Read(handle) => {
                let ReadHandle { path, reader, reads, closing, bytes, .. } = handle.as_mut();
                Some(Readable { reads, bytes, path, closing: *closing, file: File::Reader(reader) })
            }
            Self::Write(handle) => {
                let WriteHandle { path, writer, reads, closing, bytes_read, .. } = handle.as_mut();
                Some(Readable { reads, bytes: bytes_read, path, closing: *closing, file: File::Writer(writer) })
            }
        }
    }

    /// The path that it was opened with, or has been renamed to.
    pub(super) fn path(&self) -> &VirtualPath {
        match self {
            Self::Directory(handle) => &handle.path,
            Self::Read(handle) => &handle.path,
            Self::Write(handle) => &handle.path,
        }
    }

    /// Whether a CLOSE was received: nothing behind it may use the handle.
    fn is_closing(&self) -> bool {
        match self {
            Self::Directory(handle) => handle.closing.is_some(),
            Self::Read(handle) => handle.closing.is_some(),
            Self::Write(handle) => handle.closing.is_some(),
        }
    }
}

/// The handles of a session.
#[derive(Debug)]
pub(super) struct Handles {
    open: HashMap<HandleId, OpenHandle>,
    last: u32,
    writers: usize,
    directories: usize,
    gauge: IntGauge,
}

impl Handles {
    pub(super) fn new(gauge: IntGauge) -> Self {
        Self { open: HashMap::new(), last: HandleId::NONE.0, writers: 0, directories: 0, gauge }
    }

    /// Opens; the number names nothing else that is open.
    pub(super) fn insert(&mut self, handle: OpenHandle) -> HandleId {
        // A session that opened four billion files begins anew; what is open keeps its number.
        self.last = self.last.checked_add(1).unwrap_or(1);
        while self.open.contains_key(&HandleId(self.last)) {
            self.last = self.last.checked_add(1).unwrap_or(1);
        }
        let id = HandleId(self.last);
        self.writers += usize::from(matches!(handle, OpenHandle::Write(_)));
        self.directories += usize::from(matches!(handle, OpenHandle::Directory(_)));
        self.open.insert(id, handle);
        self.gauge.inc();
        id
    }

    /// What a request may use: nothing whose CLOSE was received.
    pub(super) fn usable(&mut self, id: HandleId) -> Option<&mut OpenHandle> {
        self.open.get_mut(&id).filter(|handle| !handle.is_closing())
    }

    /// Two different ones that a request may use.
    pub(super) fn usable_two(&mut self, one: HandleId, two: HandleId) -> [Option<&mut OpenHandle>; 2] {
        if one == two {
            return [None, None];
        }
        self.open.get_disjoint_mut([&one, &two]).map(|handle| handle.filter(|handle| !handle.is_closing()))
    }

    /// What is still being worked on, closing or not.
    pub(super) fn any(&mut self, id: HandleId) -> Option<&mut OpenHandle> {
        self.open.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: HandleId) -> Option<OpenHandle> {
        let handle = self.open.remove(&id)?;
        self.writers -= usize::from(matches!(handle, OpenHandle::Write(_)));
        self.directories -= usize::from(matches!(handle, OpenHandle::Directory(_)));
        self.gauge.dec();
        Some(handle)
    }

    /// The file at this path that is being written in this session; where links are followed (`follow`), also one
    /// that was opened through a link of this name.
    pub(super) fn writer_at(&mut self, path: &VirtualPath, follow: bool) -> Option<&mut WriteHandle> {
        if self.writers == 0 {
            return None;
        }
        self.open.values_mut().find_map(|handle| match handle {
            OpenHandle::Write(handle) if handle.is_at(path) || (follow && handle.path == *path) => {
                Some(handle.as_mut())
            }
            _ => None,
        })
    }

    /// Where a link leads that a file is open through for writing.
    pub(super) fn behind_link(&self, path: &VirtualPath) -> Option<VirtualPath> {
        if self.writers == 0 {
            return None;
        }
        self.open.values().find_map(|handle| match handle {
            OpenHandle::Write(handle) if handle.path == *path => handle.real.clone(),
            _ => None,
        })
    }

    /// Files whose CLOSE was received and waits for the READs before it.
    pub(super) fn closing_writers(&self) -> Vec<HandleId> {
        let closing =
            self.open.iter().filter(|(_, handle)| matches!(handle, OpenHandle::Write(_)) && handle.is_closing());
        closing.map(|(id, _)| *id).collect()
    }

    /// Files that are being written follow the rename of their path, or of a directory above.
    pub(super) fn renamed(&mut self, from: &VirtualPath, to: &VirtualPath) {
        if self.writers == 0 || from == to {
            return;
        }
        for handle in self.open.values_mut() {
            if let OpenHandle::Write(handle) = handle {
                handle.renamed(from, to);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn directories(&self) -> usize {
        self.directories
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn has_writers(&self) -> bool {
        self.writers > 0
    }

    /// Takes all handles out, at the session's end.
    pub(super) fn drain(&mut self) -> Vec<OpenHandle> {
        self.gauge.sub(i64::try_from(self.open.len()).unwrap_or(i64::MAX));
        (self.writers, self.directories) = (0, 0);
        self.open.drain().map(|(_, handle)| handle).collect()
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.drain();
    }
}
