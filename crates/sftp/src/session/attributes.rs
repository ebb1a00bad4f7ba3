//! What requests look at and set of a file's attributes.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_vfs::{FileAttributes, FsError, SetAttributes, VirtualPath};

use super::events::Outcome;
use super::handles::OpenHandle;
use super::order::Footprint;
use super::requests::Call;
use super::run::Session;
use crate::codec::{HandleId, StatusCode};

impl Session {
    pub(super) fn look(&mut self, call: Call, path: &Bytes, follow: bool) {
        let Some(path) = self.path(&call, path) else { return };
        // A file that this session is writing shows the bytes so far.
        if let Some(open) = self.handles.writer_at(&path, follow) {
            let attributes = open.writer.attributes();
            self.answer_attributes(&call, &attributes);
            return;
        }
        let mount = self.context.mount.clone();
        let real = if follow { self.handles.behind_link(&path) } else { None };
        self.submit(&call, Footprint::look(&path).also(real), path.clone(), async move {
            let attributes = if follow { mount.stat(&path).await } else { mount.lstat(&path).await };
            attributes.map(Outcome::Attributes)
        });
    }

    pub(super) fn fstat(&mut self, call: Call, handle: HandleId) {
        let attributes = match self.handles.usable(handle) {
            Some(OpenHandle::Read(open)) => open.reader.attributes(),
            Some(OpenHandle::Write(open)) => open.writer.attributes(),
            Some(OpenHandle::Directory(open)) => {
                let path = open.path.clone();
                let mount = self.context.mount.clone();
                return self.submit(&call, Footprint::look(&path), path.clone(), async move {
                    mount.stat(&path).await.map(Outcome::Attributes)
                });
            }
            None => return self.no_such_handle(&call),
        };
        self.answer_attributes(&call, &attributes);
    }

    pub(super) fn setstat(&mut self, call: &Call, path: &Bytes, attributes: SetAttributes, follow: bool) {
        let Some(path) = self.path(call, path) else { return };
        if let Some(open) = self.handles.writer_at(&path, follow) {
            let set = open.writer.set_attributes(attributes);
            self.set_open(call, path, set);
        } else {
            self.set_attributes(call, path, attributes, follow);
        }
    }

    pub(super) fn fsetstat(&mut self, call: &Call, handle: HandleId, attributes: SetAttributes) {
        match self.handles.usable(handle) {
            Some(OpenHandle::Write(open)) => {
                let set = open.writer.set_attributes(attributes);
                let path = open.path.clone();
                self.set_open(call, path, set);
            }
            Some(OpenHandle::Read(open)) => {
                let path = open.path.clone();
                self.set_attributes(call, path, attributes, true);
            }
            Some(OpenHandle::Directory(open)) => {
                let path = open.path.clone();
                self.set_attributes(call, path, attributes, true);
            }
            None => self.no_such_handle(call),
        }
    }

    /// Answers for what is done to an open file, which takes time where its bytes have to be moved.
    pub(super) fn set_open(
        &mut self,
        call: &Call,
        path: VirtualPath,
        mut set: BoxFuture<'static, Result<(), FsError>>,
    ) {
        match (&mut set).now_or_never() {
            Some(result) => self.answer_unit(call, path, result),
            None => {
                self.submit(call, Footprint::change(&path), path, async move { set.await.map(|()| Outcome::Set) });
            }
        }
    }

    fn set_attributes(&mut self, call: &Call, path: VirtualPath, attributes: SetAttributes, follow: bool) {
        let mount = self.context.mount.clone();
        let real = if follow { self.handles.behind_link(&path) } else { None };
        self.submit(call, Footprint::change(&path).also(real), path.clone(), async move {
            let set = if follow {
                mount.set_attributes(&path, attributes).await
            } else {
                mount.set_link_attributes(&path, attributes).await
            };
            set.map(|()| Outcome::Changed("SETSTAT", None))
        });
    }

    fn answer_attributes(&mut self, call: &Call, attributes: &FileAttributes) {
        self.replies.attributes(call.id, attributes);
        self.context.metrics.answered(call.operation, StatusCode::Ok.as_str(), call.arrived.elapsed());
    }
}
