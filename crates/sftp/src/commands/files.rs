//! The files of a command: opened, metered and logged as those of an SFTP session.

use std::time::Instant;

use bytes::Bytes;
use prometheus::IntGauge;
use tidegate_vfs::{
    Admission, Directory, FsError, FsErrorKind, OpenFile, OpenOptions, Reader, SetAttributes, VirtualPath, Writer,
};
use tokio::time::sleep_until;

use crate::codec::OpenFlags;
use crate::session::SessionContext;
use crate::session::audit;
use crate::session::throttle::Throttle;
use crate::tenants::HandlePermit;

/// How much is read and handed on at once, in bytes.
const CHUNK: u32 = 128 << 10;

/// One user's files, as a command may use them.
pub(crate) struct Files {
    pub(crate) context: SessionContext,
    throttle: Throttle,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// A place among the tenant's handles; given back on drop.
#[derive(Debug)]
struct Place {
    _permit: HandlePermit,
    gauge: IntGauge,
}

/// A file being read, from its front to its end.
pub(crate) struct Download {
    path: VirtualPath,
    reader: Reader,
    offset: u64,
    opened: Instant,
    is_closed: bool,
    _place: Place,
}

/// A file being written. Dropped before [`Files::publish`], it leaves nothing behind.
pub(crate) struct Upload {
    path: VirtualPath,
    writer: Option<Writer>,
    offset: u64,
    opened: Instant,
    _place: Place,
}

/// A directory being listed.
pub(crate) struct Listing {
    directory: Directory,
    _place: Place,
}

impl Files {
    pub(crate) fn new(context: SessionContext) -> Self {
        let throttle = Throttle::new(&context);
        Self { context, throttle, bytes_in: 0, bytes_out: 0 }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// As `Mount::open`; `Unavailable` if the tenant has all the handles it may have, or the node
    /// drains.
    pub(crate) async fn open(&self, path: &VirtualPath) -> Result<Download, FsError> {
        let place = self.place()?;
        let options = OpenOptions { read: true, ..OpenOptions::default() };
        let OpenFile::Read(reader) = self.context.mount.open(path, options).await? else {
            return Err(FsError::new(FsErrorKind::Unsupported, "the file can't be read"));
        };
        audit::opened(path, OpenFlags(OpenFlags::READ));
        let path = path.clone();
        Ok(Download { path, reader, offset: 0, opened: Instant::now(), is_closed: false, _place: place })
    }

    /// The next bytes of a file, once there is bandwidth for them; none at its end.
    ///
    /// # Errors
    /// As `Reader::read`.
    pub(crate) async fn read(&mut self, file: &mut Download) -> Result<Vec<Bytes>, FsError> {
        let rest = file.reader.attributes().size.saturating_sub(file.offset);
        self.pass_out(rest.min(u64::from(CHUNK))).await;
        let data = file.reader.read(file.offset, CHUNK).await?;
        let len = data.len() as u64;
        file.offset += len;
        self.bytes_out += len;
        self.context.metrics.bytes_out.inc_by(len);
        Ok(data.into_chunks())
    }

    /// Opens a file to be made or replaced; `attributes.size` is what will come.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub(crate) async fn create(&self, path: &VirtualPath, attributes: SetAttributes) -> Result<Upload, FsError> {
        let place = self.place()?;
        let options = OpenOptions { write: true, create: true, truncate: true, attributes, ..OpenOptions::default() };
        let OpenFile::Write(writer) = self.context.mount.open(path, options).await? else {
            return Err(FsError::new(FsErrorKind::Unsupported, "the file can't be written"));
        };
        audit::opened(path, OpenFlags(OpenFlags::WRITE | OpenFlags::CREAT | OpenFlags::TRUNC));
        let (path, writer) = (path.clone(), Some(writer));
        Ok(Upload { path, writer, offset: 0, opened: Instant::now(), _place: place })
    }

    /// Takes the next bytes of a file once there is bandwidth and memory for them.
    ///
    /// # Errors
    /// As `Writer::write`.
    pub(crate) async fn write(&mut self, file: &mut Upload, data: Bytes) -> Result<(), FsError> {
        self.pass_in(data.len()).await;
        let Some(writer) = &mut file.writer else { return Ok(()) };
        let len = data.len() as u64;
        while let Admission::Wait(wait) = writer.admit(file.offset, data.len() as u32)? {
            self.context.metrics.write_stalls.inc();
            wait.await;
        }
        writer.write(file.offset, data)?;
        file.offset += len;
        self.bytes_in += len;
        self.context.metrics.bytes_in.inc_by(len);
        Ok(())
    }

    /// Publishes a file, whole and durable.
    ///
    /// # Errors
    /// As `Writer::finish`.
    pub(crate) async fn publish(&self, mut file: Upload) -> Result<(), FsError> {
        let Some(writer) = file.writer.take() else { return Ok(()) };
        writer.finish().await?;
        audit::closed(&file.path, file.offset, 0, file.opened.elapsed());
        Ok(())
    }

    /// Opens a directory.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub(crate) async fn list(&self, path: &VirtualPath) -> Result<Listing, FsError> {
        let place = self.place()?;
        Ok(Listing { directory: self.context.mount.open_published_directory(path).await?, _place: place })
    }

    /// Waits for the bandwidth of so many bytes from the client.
    pub(crate) async fn pass_in(&mut self, bytes: usize) {
        while let Err(at) = self.throttle.pass_write(bytes, &self.context) {
            self.throttle.count(true);
            sleep_until(at).await;
        }
        self.throttle.count(false);
    }

    async fn pass_out(&mut self, bytes: u64) {
        while !self.throttle.pass_read(bytes, &self.context) {
            let Some(at) = self.throttle.reads_resume() else { break };
            self.throttle.count(true);
            sleep_until(at).await;
        }
        self.throttle.count(false);
    }

    fn place(&self) -> Result<Place, FsError> {
        let refused = |message| Err(FsError::new(FsErrorKind::Unavailable, message));
        if self.context.shutdown.drain.is_cancelled() {
            return refused("this node is going down; connect again to go on");
        }
        let Some(permit) = self.context.tenant.open_handle() else {
            self.context.metrics.handle_refused("tenant");
            return refused("too many files are open in all sessions of this account; close some first");
        };
        let gauge = self.context.metrics.handles.clone();
        gauge.inc();
        Ok(Place { _permit: permit, gauge })
    }
}

impl Download {
    pub(crate) fn size(&self) -> u64 {
        self.reader.attributes().size
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(crate) fn attributes(&self) -> tidegate_vfs::FileAttributes {
        self.reader.attributes()
    }

    /// The client has all that it wants.
    pub(crate) fn close(mut self) {
        self.is_closed = true;
        audit::closed(&self.path, 0, self.offset, self.opened.elapsed());
    }
}

impl Listing {
    /// The next entries; `None` at the end.
    ///
    /// # Errors
    /// As `Directory::next_page`.
    pub(crate) async fn next_page(&mut self) -> Result<Option<Vec<tidegate_vfs::DirectoryEntry>>, FsError> {
        self.directory.next_page().await
    }
}

impl Upload {
    /// Gives the file up: nothing is published, and what was sent is removed.
    pub(crate) async fn abandon(mut self) {
        if let Some(writer) = self.writer.take() {
            audit::cut(&self.path, self.offset, 0, self.opened.elapsed());
            writer.abandon().await;
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if !self.is_closed {
            audit::cut(&self.path, 0, self.offset, self.opened.elapsed());
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.writer.is_some() {
            audit::cut(&self.path, self.offset, 0, self.opened.elapsed());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
