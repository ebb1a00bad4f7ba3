//! Copies from one open file to another.

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::{Writer, not_open_for};
use crate::edit::View;
use crate::error::{FsError, FsErrorKind};
use crate::open_files::Begun;

/// A copy that was begun.
pub struct Copy {
    /// How many bytes it has: fewer than were asked for where the source ends.
    pub len: u64,
    /// Resolves once they are the target's, as bytes are that were written.
    pub done: BoxFuture<'static, Result<(), FsError>>,
}

impl Writer {
    /// The file as it is now.
    ///
    /// # Errors
    /// As [`Writer::read`].
    pub fn view(&self) -> Result<Begun<View>, FsError> {
        self.may_read()?;
        self.file.view()
    }

    /// Whether both are handles of one file.
    pub fn is_of_the_file_of(&self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&self.file, &other.file)
    }

    /// Copies up to `len` bytes (`None` for all) of another file, as `view` shows it, from `offset` to `at`. It
    /// takes its place among reads and writes with this call, unless that says `Later`. With APPEND the bytes go
    /// to the end of the file.
    ///
    /// The store makes the copy when the file is published, if it has the bytes and this file was not sent in
    /// part already; `Conflict` then says that it does not have them any more. Otherwise they pass through the
    /// node at once.
    ///
    /// # Errors
    /// `PermissionDenied` if it was opened for reading; the latched failure; `TooLarge`; `NoSpace` over the
    /// quota; `Unsupported` for what is in the store already, holes beyond the limit, and a file that is changed
    /// in place where the other one was not stored yet. Any error latches.
    pub fn copy(&mut self, view: View, offset: u64, len: Option<u64>, at: u64) -> Result<Begun<Copy>, FsError> {
        if !self.access.write {
            return Err(not_open_for("writing"));
        }
        self.has_changed = true;
        let (start, at) = (offset.min(view.size()), self.position(at));
        let end = len.map_or(view.size(), |len| offset.saturating_add(len).min(view.size())).max(start);
        let len = end - start;
        if len == 0 {
            return Ok(Begun::Now(Copy { len, done: ready(Ok(())).boxed() }));
        }
        let copied = self.file.copy(view, start..end, at).inspect_err(|error| self.file.fail(error))?;
        Ok(match copied {
            Begun::Later(wait) => Begun::Later(wait),
            Begun::Now(done) => Begun::Now(Copy { len, done }),
        })
    }

    /// Ends the file, as a failed [`Writer::write`] does: all that follows fails with this.
    pub fn fail(&self, error: &FsError) {
        self.file.fail(error);
    }

    /// Fails if the handle is not for reading.
    pub(super) fn may_read(&self) -> Result<(), FsError> {
        if self.access.read {
            return Ok(());
        }
        Err(if self.access.may_read {
            not_open_for("reading")
        } else {
            FsError::new(FsErrorKind::PermissionDenied, "this user may write files and not read them")
        })
    }
}

impl std::fmt::Debug for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copy").field("len", &self.len).finish_non_exhaustive()
    }
}
