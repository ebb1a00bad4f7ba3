//! What each request sets in motion.

use std::future::Future;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_vfs::{FsError, FsErrorKind, Replace, VirtualPath};

use super::events::{Event, Origin, Outcome, PathEvent};
use super::handles::{OpenHandle, READDIR_BYTES};
use super::order::{Footprint, Ticket};
use super::run::Session;
use super::{ProtocolError, SessionEnd};
use crate::codec::{Request, StatusCode};
use crate::tenants::HandlePermit;

/// What is announced, as pairs of name and version.
const EXTENSIONS: &[(&str, &str)] = &[
    ("posix-rename@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("check-file", ""),
    ("copy-data", "1"),
    ("expand-path@openssh.com", "1"),
    ("fstatvfs@openssh.com", "2"),
    ("fsync@openssh.com", "1"),
    ("home-directory", "1"),
    ("statvfs@openssh.com", "2"),
    ("users-groups-by-id@openssh.com", "1"),
];

/// The extension that makes hard links: clients try it though it is not announced.
const HARD_LINK: &[u8] = b"hardlink@openssh.com";

impl Session {
    /// Acts on a request.
    pub(super) fn apply(&mut self, request: Request, arrived: Instant) -> Result<(), SessionEnd> {
        if matches!(request, Request::Init { .. }) == self.initialised {
            return Err(ProtocolError::Init.into());
        }
        let operation = request.kind().0;
        let mount = self.context.mount.clone();
        match request {
            Request::Init { version } => {
                self.initialised = true;
                tracing::debug!(version, "the client's version");
                self.replies.version(EXTENSIONS);
            }
            Request::Open { id, path, flags, attributes } => {
                self.open(Call { id, operation, arrived }, &path, flags, attributes);
            }
            Request::Close { id, handle } => self.close(Call { id, operation, arrived }, handle),
            Request::Read { id, handle, offset, len } => {
                self.read(Call { id, operation, arrived }, handle, offset, len);
            }
            Request::Write { .. } => self.take_write(request, arrived),
            Request::Stat { id, path } => self.look(Call { id, operation, arrived }, &path, true),
            Request::Lstat { id, path } => self.look(Call { id, operation, arrived }, &path, false),
            Request::Fstat { id, handle } => self.fstat(Call { id, operation, arrived }, handle),
            Request::Setstat { id, path, attributes } => {
                self.setstat(&Call { id, operation, arrived }, &path, attributes, true);
            }
            Request::Fsetstat { id, handle, attributes } => {
                self.fsetstat(&Call { id, operation, arrived }, handle, attributes);
            }
            Request::Opendir { id, path } => {
                let call = Call { id, operation, arrived };
                let Some(path) = self.path(&call, &path) else { return Ok(()) };
                let Some(permit) = self.may_open(&call) else { return Ok(()) };
                self.opening += 1;
                self.opening_directories += 1;
                self.submit(&call, Footprint::list(&path), path.clone(), async move {
                    mount.open_directory(&path).await.map(|directory| Outcome::Directory(directory, permit))
                });
            }
            Request::Readdir { id, handle } => match self.handles.usable(handle) {
                Some(OpenHandle::Directory(open)) => {
                    open.waiting.push_back((id, arrived));
                    self.queued_bytes += READDIR_BYTES;
                    self.make_ready(handle);
                }
                _ => self.no_such_handle(&Call { id, operation, arrived }),
            },
            Request::Remove { id, path } => {
                let call = Call { id, operation, arrived };
                let Some(path) = self.path(&call, &path) else { return Ok(()) };
                self.submit(&call, Footprint::change(&path), path.clone(), async move {
                    mount.remove(&path).await.map(|()| Outcome::Changed("DELETE", None))
                });
            }
            Request::Mkdir { id, path, attributes } => {
                let call = Call { id, operation, arrived };
                let Some(path) = self.path(&call, &path) else { return Ok(()) };
                self.submit(&call, Footprint::change_tree(&path), path.clone(), async move {
                    mount.make_directory(&path, attributes).await.map(|()| Outcome::Changed("MKDIR", None))
                });
            }
            Request::Rmdir { id, path } => {
                let call = Call { id, operation, arrived };
                let Some(path) = self.path(&call, &path) else { return Ok(()) };
                self.submit(&call, Footprint::change_tree(&path), path.clone(), async move {
                    mount.remove_directory(&path).await.map(|()| Outcome::Changed("RMDIR", None))
                });
            }
            Request::Realpath { id, path } => {
                let call = Call { id, operation, arrived };
                let Some(path) = self.path(&call, &path) else { return Ok(()) };
                if mount.is_real_path(&path) {
                    self.replies.path(id, path.as_str());
                    self.context.metrics.answered(operation, StatusCode::Ok.as_str(), arrived.elapsed());
                } else {
                    self.submit(&call, Footprint::look(&path), path.clone(), async move {
                        mount.real_path(&path).await.map(|real| Outcome::Name(real.as_str().into()))
                    });
                }
            }
            Request::Rename { id, from, to } => {
                self.rename(&Call { id, operation, arrived }, &from, &to, Replace::Never);
            }
            Request::PosixRename { id, from, to } => {
                self.rename(&Call { id, operation, arrived }, &from, &to, Replace::Existing);
            }
            Request::Limits { id } => {
                let max = self.context.config.max_open_handles;
                let max = self.context.tenant.max_open_handles().map_or(max, |tenants| tenants.min(max));
                self.replies.limits(id, u64::from(max));
                self.context.metrics.answered(operation, StatusCode::Ok.as_str(), arrived.elapsed());
            }
            Request::Readlink { id, path } => {
                let call = Call { id, operation, arrived };
                let Some(path) = self.path(&call, &path) else { return Ok(()) };
                self.submit(&call, Footprint::look(&path), path.clone(), async move {
                    mount.read_link(&path).await.map(Outcome::Name)
                });
            }
            Request::Symlink { id, target, link } => self.symlink(Call { id, operation, arrived }, target, &link),
            Request::Lsetstat { id, path, attributes } => {
                self.setstat(&Call { id, operation, arrived }, &path, attributes, false);
            }
            Request::Extended { id, name } if name == HARD_LINK => {
                let message = "There are no hard links here: a file has one name; copy it, or make a symbolic link";
                self.unsupported(id, operation, arrived, message);
            }
            Request::Extension { id, extension } => self.extension(Call { id, operation, arrived }, extension),
            Request::Extended { id, name } => {
                tracing::debug!(extension = %name.escape_ascii(), "not supported");
                self.unsupported(id, operation, arrived, "This extension is not supported");
            }
            Request::Unknown { id, packet_type } => {
                tracing::debug!(packet_type, "a packet of an unknown type");
                self.unsupported(id, operation, arrived, "SFTP version 3 has no such request");
            }
        }
        Ok(())
    }

    fn symlink(&mut self, call: Call, target: Bytes, link: &Bytes) {
        let Some(path) = self.path(&call, link) else { return };
        if self.handles.writer_at(&path, true).is_some() {
            let taken = FsError::new(FsErrorKind::AlreadyExists, "a file of that name is being uploaded");
            return self.fail(&call.origin(path), &taken);
        }
        let mount = self.context.mount.clone();
        self.submit(&call, Footprint::change(&path), path.clone(), async move {
            mount.make_link(&target, &path).await.map(|()| Outcome::Changed("SYMLINK", None))
        });
    }

    fn rename(&mut self, call: &Call, from: &Bytes, to: &Bytes, replace: Replace) {
        let Some(from) = self.path(call, from) else { return };
        let Some(to) = self.path(call, to) else { return };
        let mount = self.context.mount.clone();
        self.submit(call, Footprint::rename(&from, &to), from.clone(), async move {
            mount.rename(&from, &to, replace).await.map(|()| Outcome::Changed("RENAME", Some(to)))
        });
    }

    /// Starts a request on a path as soon as none before it stands in its way.
    pub(super) fn submit<F>(&mut self, call: &Call, footprint: Footprint, path: VirtualPath, work: F)
    where
        F: Future<Output = Result<Outcome, FsError>> + Send + 'static,
    {
        let origin = call.origin(path);
        if let Some(start) = self.order.submit(footprint, |ticket| path_event(ticket, origin, work)) {
            self.pending.push(start);
        }
    }

    /// Resolves a client's path against the user's home, or answers why that can't be.
    pub(super) fn path(&mut self, call: &Call, path: &Bytes) -> Option<VirtualPath> {
        match VirtualPath::resolve(self.context.mount.home(), path) {
            Ok(path) => Some(path),
            Err(error) => {
                self.fail(&call.origin(self.context.mount.home().clone()), &error);
                None
            }
        }
    }

    /// A place for another handle; answers if there is none.
    pub(super) fn may_open(&mut self, call: &Call) -> Option<HandlePermit> {
        let config = &self.context.config;
        let directories = self.handles.directories() + self.opening_directories;
        let (limit, refusal) = if self.draining {
            (None, "This node is going down; connect again to go on")
        } else if call.operation == "opendir" && directories >= config.max_open_directories as usize {
            (Some("directories"), "Too many directories are open in this session; close some first")
        } else if self.handles.len() + self.opening >= config.max_open_handles as usize {
            (Some("session"), "Too many files are open in this session; close some first")
        } else if let Some(permit) = self.context.tenant.open_handle() {
            return Some(permit);
        } else {
            (Some("tenant"), "Too many files are open in all sessions of this account; close some first")
        };
        if let Some(limit) = limit {
            self.context.metrics.handle_refused(limit);
        }
        let origin = call.origin(self.context.mount.home().clone());
        self.fail(&origin, &FsError::new(FsErrorKind::Unavailable, refusal));
        None
    }

    pub(super) fn no_such_handle(&mut self, call: &Call) {
        let message = "This handle is not open for such a request";
        self.answer_status(call.id, call.operation, call.arrived, StatusCode::Failure, message);
    }

    pub(super) fn unsupported(&mut self, id: u32, operation: &'static str, arrived: Instant, message: &str) {
        self.answer_status(id, operation, arrived, StatusCode::OpUnsupported, message);
    }

    pub(super) fn answer_unit(&mut self, call: &Call, path: VirtualPath, result: Result<(), FsError>) {
        match result {
            Ok(()) => self.answer_status(call.id, call.operation, call.arrived, StatusCode::Ok, "Success"),
            Err(error) => self.fail(&call.origin(path), &error),
        }
    }
}

/// A request as far as its answer needs it.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) id: u32,
    pub(super) operation: &'static str,
    pub(super) arrived: Instant,
}

impl Call {
    pub(super) fn origin(&self, path: VirtualPath) -> Origin {
        Origin { id: self.id, operation: self.operation, path, arrived: self.arrived }
    }
}

fn path_event<F>(ticket: Ticket, origin: Origin, work: F) -> BoxFuture<'static, Event>
where
    F: Future<Output = Result<Outcome, FsError>> + Send + 'static,
{
    work.map(move |outcome| Event::Path(PathEvent { ticket, origin, outcome })).boxed()
}
