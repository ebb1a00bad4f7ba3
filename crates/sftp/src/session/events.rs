//! What the futures of a session end in, and what follows from it.

use std::sync::Arc;
use std::time::Instant;

use tidegate_vfs::{Directory, DirectoryEntry, FileAttributes, FsError, OpenFile, Published, ReadData, VirtualPath};

use super::audit;
use super::handles::{DirectoryHandle, OpenHandle, ReadHandle, WriteHandle};
use super::order::Ticket;
use super::reads::ReadQueue;
use super::run::Session;
use crate::codec::{HandleId, NameEntry, OpenFlags, StatusCode};
use crate::longname::longname;
use crate::status;
use crate::tenants::HandlePermit;

/// Something that took time is done.
pub(super) enum Event {
    /// The next page of a directory.
    Page { handle: HandleId, directory: Directory, result: Result<Option<Vec<DirectoryEntry>>, FsError> },
    /// A request on a path, or the CLOSE of an upload.
    Path(PathEvent),
    /// A READ.
    Read { handle: HandleId, slot: u64, result: Result<ReadData, FsError> },
}

/// A request on a path is done.
pub(super) struct PathEvent {
    pub(super) ticket: Ticket,
    pub(super) origin: Origin,
    pub(super) outcome: Result<Outcome, FsError>,
}

/// The request that an event or an answer belongs to.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) id: u32,
    pub(super) operation: &'static str,
    pub(super) path: VirtualPath,
    pub(super) arrived: Instant,
}

/// What a request on a path came to.
pub(super) enum Outcome {
    Attributes(FileAttributes),
    /// AWS Transfer's word for the change, and the second path of a rename.
    Changed(&'static str, Option<VirtualPath>),
    /// Bytes taken and given, and when the file was opened.
    Closed(Published, u64, u64, Instant),
    /// Bytes of a file are another's. Whether there were fewer than asked for.
    Copied(bool),
    Directory(Directory, HandlePermit),
    /// The body of an EXTENDED_REPLY.
    Extended(Vec<u8>),
    /// With the path that it was found at.
    File(Box<OpenFile>, VirtualPath, OpenFlags, HandlePermit),
    /// A path, or what a symbolic link says.
    Name(Arc<str>),
    /// Attributes of an open file.
    Set,
}

impl Session {
    /// Acts on an event.
    pub(super) fn complete(&mut self, event: Event) {
        match event {
            Event::Page { handle, directory, result } => {
                self.take_page(handle, directory, result);
                self.make_ready(handle);
            }
            Event::Path(event) => self.complete_path(event),
            Event::Read { handle, slot, result } => {
                if let Some(open) = self.handles.any(handle).and_then(OpenHandle::readable) {
                    open.reads.finish(slot, result);
                    self.make_ready(handle);
                }
            }
        }
    }

    fn complete_path(&mut self, event: PathEvent) {
        let PathEvent { ticket, origin, outcome } = event;
        for next in self.order.finish(ticket) {
            self.pending.push(next);
        }
        if matches!(origin.operation, "open" | "opendir") {
            self.opening -= 1;
            self.opening_directories -= usize::from(origin.operation == "opendir");
        }
        // A look that was sent behind an OPEN without waiting for it, as sshfs does, asked the store
        // about a file that is only now being written.
        if matches!(origin.operation, "stat" | "lstat")
            && let Some(open) = self.handles.writer_at(&origin.path, origin.operation == "stat")
        {
            let attributes = open.writer.attributes();
            return self.succeed(&origin, Outcome::Attributes(attributes));
        }
        match outcome {
            Ok(outcome) => self.succeed(&origin, outcome),
            Err(error) => self.fail(&origin, &error),
        }
    }

    fn succeed(&mut self, origin: &Origin, outcome: Outcome) {
        match outcome {
            Outcome::Attributes(attributes) => self.replies.attributes(origin.id, &attributes),
            Outcome::Changed(activity, target) => {
                audit::changed(activity, &origin.path, target.as_ref(), origin.arrived.elapsed());
                if let Some(target) = &target {
                    self.handles.renamed(&origin.path, target);
                }
                self.replies.status(origin.id, StatusCode::Ok, "Success");
            }
            Outcome::Name(name) => self.replies.path(origin.id, &name),
            Outcome::Closed(published, bytes, read, opened) => {
                audit::closed(&origin.path, bytes, read, opened.elapsed());
                tracing::debug!(path = %origin.path, size = published.size, "published");
                self.replies.status(origin.id, StatusCode::Ok, "Success");
            }
            Outcome::Copied(is_short) => return self.copied(origin, is_short),
            Outcome::Set => self.replies.status(origin.id, StatusCode::Ok, "Success"),
            Outcome::Extended(body) => self.replies.extended(origin.id, &body),
            Outcome::Directory(directory, permit) => {
                let handle = self.handles.insert(OpenHandle::Directory(Box::new(DirectoryHandle {
                    path: origin.path.clone(),
                    directory: Some(directory),
                    entries: std::collections::VecDeque::new(),
                    failed: None,
                    waiting: std::collections::VecDeque::new(),
                    ended: false,
                    closing: None,
                    _permit: permit,
                })));
                self.replies.handle(origin.id, handle);
            }
            Outcome::File(file, real, flags, permit) => {
                audit::opened(&origin.path, flags);
                let path = origin.path.clone();
                let real = Some(real).filter(|real| *real != path);
                let opened = Instant::now();
                let handle = self.handles.insert(match *file {
                    OpenFile::Read(reader) => OpenHandle::Read(Box::new(ReadHandle {
                        path,
                        reader,
                        reads: ReadQueue::default(),
                        closing: None,
                        bytes: 0,
                        opened,
                        _permit: permit,
                    })),
                    OpenFile::Write(writer) => {
                        let append = flags.has(OpenFlags::APPEND);
                        OpenHandle::Write(Box::new(WriteHandle {
                            path,
                            real,
                            writer,
                            append,
                            copied_from: Vec::new(),
                            reads: ReadQueue::default(),
                            closing: None,
                            bytes: 0,
                            bytes_read: 0,
                            opened,
                            _permit: permit,
                        }))
                    }
                });
                self.replies.handle(origin.id, handle);
            }
        }
        self.context.metrics.answered(origin.operation, StatusCode::Ok.as_str(), origin.arrived.elapsed());
    }

    /// Answers a request that the file system refused.
    pub(super) fn fail(&mut self, origin: &Origin, error: &FsError) {
        audit::failed(origin.operation, &origin.path, error);
        let code = status::code(error.kind());
        self.answer_status(origin.id, origin.operation, origin.arrived, code, &error.to_string());
    }

    /// Answers with a STATUS, and counts the answer.
    pub(super) fn answer_status(
        &mut self,
        id: u32,
        operation: &'static str,
        arrived: Instant,
        code: StatusCode,
        message: &str,
    ) {
        self.replies.status(id, code, message);
        self.context.metrics.answered(operation, code.as_str(), arrived.elapsed());
    }

    /// Puts what a directory gave behind what it gave before.
    pub(super) fn take_page(
        &mut self,
        handle: HandleId,
        directory: Directory,
        result: Result<Option<Vec<DirectoryEntry>>, FsError>,
    ) {
        let Some(OpenHandle::Directory(open)) = self.handles.any(handle) else { return };
        open.directory = Some(directory);
        match result {
            Ok(Some(entries)) => {
                let (now, user) = (unix_now(), self.context.mount.user());
                open.entries.extend(entries.into_iter().map(|entry| NameEntry {
                    longname: longname(&entry.name, &entry.attributes, user, now),
                    name: entry.name,
                    attributes: entry.attributes,
                }));
            }
            Ok(None) => open.ended = true,
            Err(error) => open.failed = Some(error),
        }
    }
}

fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
