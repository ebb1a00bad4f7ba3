//! What the extensions of [`Extension`] do.

use bytes::Bytes;
use tidegate_vfs::{FsError, FsErrorKind, VirtualPath};

use super::events::Outcome;
use super::handles::OpenHandle;
use super::order::Footprint;
use super::requests::Call;
use super::run::Session;
use crate::codec::{Extension, FileSystem, StatusCode, names_by_id};
use crate::longname::name_of_id;

impl Session {
    /// Acts on an extension.
    pub(super) fn extension(&mut self, call: Call, extension: Extension) {
        match extension {
            Extension::CheckFile(check) => self.check_file(call, check),
            Extension::CopyData(copy) => self.copy_data(call, copy),
            Extension::ExpandPath { path } => self.expand_path(&call, &path),
            Extension::FstatVfs { handle } => {
                let Some(path) = self.handles.usable(handle).map(|open| open.path().clone()) else {
                    return self.no_such_handle(&call);
                };
                self.file_system(&call, path, false);
            }
            Extension::Fsync { handle } => match self.handles.usable(handle) {
                Some(OpenHandle::Write(open)) => {
                    let (path, sync) = (open.path.clone(), open.writer.sync());
                    self.set_open(&call, path, sync);
                }
                // Nothing was written through it.
                Some(OpenHandle::Read(open)) => {
                    let path = open.path.clone();
                    self.answer_unit(&call, path, Ok(()));
                }
                Some(OpenHandle::Directory(_)) | None => self.no_such_handle(&call),
            },
            Extension::HomeDirectory { user } => {
                let is_own = user.is_empty() || user == self.context.mount.user();
                let home = self.context.mount.home().clone();
                self.answer_path(&call, if is_own { Ok(home) } else { Err(no_such_user()) });
            }
            Extension::StatVfs { path } => {
                if let Some(path) = self.path(&call, &path) {
                    self.file_system(&call, path, true);
                }
            }
            Extension::UsersGroupsById { uids, gids } => self.names_by_id(&call, &uids, &gids),
        }
    }

    /// `~` and what is below it, `~user` of the user itself, and everything that REALPATH takes.
    fn expand_path(&mut self, call: &Call, path: &Bytes) {
        let mount = &self.context.mount;
        let expanded = match path.strip_prefix(b"~") {
            None => VirtualPath::resolve(mount.home(), path),
            Some(rest) => {
                let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                let (user, below) = rest.split_at(end);
                if user.is_empty() || user == mount.user().as_bytes() {
                    VirtualPath::resolve(mount.home(), below.strip_prefix(b"/").unwrap_or(below))
                } else {
                    Err(no_such_user())
                }
            }
        };
        self.answer_path(call, expanded);
    }

    /// Tells how much room there is where a path lies; nothing on a path that is not there.
    fn file_system(&mut self, call: &Call, path: VirtualPath, is_to_exist: bool) {
        let mount = self.context.mount.clone();
        let is_to_exist = is_to_exist && self.handles.writer_at(&path, true).is_none();
        self.submit(call, Footprint::look(&path), path.clone(), async move {
            if is_to_exist {
                mount.stat(&path).await?;
            }
            Ok(Outcome::Extended(FileSystem::of_usage(&mount.usage().await).encode()))
        });
    }

    fn names_by_id(&mut self, call: &Call, uids: &[u8], gids: &[u8]) {
        let user = self.context.mount.user();
        let own = Bytes::copy_from_slice(user.as_bytes());
        match names_by_id(uids, gids, |id| name_of_id(id, user).map(|_| own.clone())) {
            Some(body) => {
                self.replies.extended(call.id, &body);
                self.context.metrics.answered(call.operation, StatusCode::Ok.as_str(), call.arrived.elapsed());
            }
            None => {
                let message = "Too many users and groups in one request, or half of one; ask for fewer";
                self.answer_status(call.id, call.operation, call.arrived, StatusCode::BadMessage, message);
            }
        }
    }

    fn answer_path(&mut self, call: &Call, path: Result<VirtualPath, FsError>) {
        match path {
            Ok(path) => {
                self.replies.path(call.id, path.as_str());
                self.context.metrics.answered(call.operation, StatusCode::Ok.as_str(), call.arrived.elapsed());
            }
            Err(error) => {
                let origin = call.origin(self.context.mount.home().clone());
                self.fail(&origin, &error);
            }
        }
    }
}

fn no_such_user() -> FsError {
    FsError::new(FsErrorKind::NotFound, "no such user; only your own home directory can be asked for")
}
