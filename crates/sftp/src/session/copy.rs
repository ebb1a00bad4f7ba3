//! `copy-data`: a range of one open file becomes one of another, inside the store where that is possible.
//!
//! Source: draft-ietf-secsh-filexfer-extensions-00, section 7; where it leaves a choice, as OpenSSH's server.

use futures::FutureExt;
use tidegate_vfs::{Begun, Copy, FsError, FsErrorKind};

use super::events::{Origin, Outcome};
use super::handles::OpenHandle;
use super::order::Footprint;
use super::requests::Call;
use super::run::{Session, Shortage, Stalled};
use crate::codec::{CopyData, Extension, Request, StatusCode};

/// How many files a copy remembers to be made of, so that none of them is changed by the same session while
/// the copy is published.
const SOURCES_MAX: usize = 64;

impl Session {
    pub(super) fn copy_data(&mut self, call: Call, copy: CopyData) {
        let mount = self.context.mount.clone();
        if copy.from == copy.to
            && let Some(path) = self.handles.usable(copy.to).map(|open| open.path().clone())
        {
            return self.fail(&call.origin(path), &onto_itself());
        }
        let [Some(from), Some(OpenHandle::Write(to))] = self.handles.usable_two(copy.from, copy.to) else {
            return self.no_such_handle(&call);
        };
        let source = from.path().clone();
        let begun = match from {
            OpenHandle::Directory(_) => return self.no_such_handle(&call),
            _ if source == to.path => Err(onto_itself()),
            OpenHandle::Write(from) if from.writer.is_of_the_file_of(&to.writer) => Err(onto_itself()),
            OpenHandle::Write(from) => from.writer.view(),
            OpenHandle::Read(from) => Ok(Begun::Now(mount.view(&from.reader))),
        };
        let wanted = (copy.len > 0).then_some(copy.len);
        let begun = begun.and_then(|begun| match begun {
            Begun::Later(wait) => Ok(Begun::Later(wait)),
            Begun::Now(view) => to.writer.copy(view, copy.offset, wanted, copy.at),
        });
        let path = to.path.clone();
        match begun {
            Ok(Begun::Now(Copy { len, mut done })) => {
                if !to.copied_from.contains(&source) && to.copied_from.len() < SOURCES_MAX {
                    to.copied_from.push(source);
                }
                let is_short = wanted.is_some_and(|wanted| len < wanted);
                match (&mut done).now_or_never() {
                    Some(Ok(())) => self.copied(&call.origin(path), is_short),
                    Some(Err(error)) => self.fail(&call.origin(path), &error),
                    None => self.submit(&call, Footprint::change(&path), path, async move {
                        done.await.map(|()| Outcome::Copied(is_short))
                    }),
                }
            }
            Ok(Begun::Later(wait)) => {
                let request = Request::Extension { id: call.id, extension: Extension::CopyData(copy) };
                self.stalled = Some(Stalled { request, arrived: call.arrived, cause: Shortage::Memory, wait });
            }
            Err(error) => {
                // A copy that is missing would leave a hole: CLOSE must not publish the rest.
                to.writer.fail(&error);
                self.fail(&call.origin(path), &error);
            }
        }
    }

    /// Answers for a copy. Of one that ends early, all that there is was copied, as OpenSSH does it.
    pub(super) fn copied(&mut self, origin: &Origin, is_short: bool) {
        let (code, message) =
            if is_short { (StatusCode::Eof, "The file to copy from ends before") } else { (StatusCode::Ok, "Success") };
        self.answer_status(origin.id, origin.operation, origin.arrived, code, message);
    }
}

fn onto_itself() -> FsError {
    FsError::new(FsErrorKind::AlreadyExists, "a file can't be copied onto itself")
}
