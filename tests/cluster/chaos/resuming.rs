//! A client that goes on with what was cut, where STAT says, and that asks for fsync now and then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use russh_sftp::client::RawSftpSession;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tidegate_tests::Login;

use super::client::{Client, Told};
use super::packets::{CHUNK, Failed, Packets};
use crate::history::Sight;

/// How long it goes on with one file before it leaves that where it is.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long what fsync has kept must be there: less than what is cut lives.
const KEPT_FOR: Duration = Duration::from_secs(15);

/// What such clients have come to.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    /// Uploads that went on at another byte than the first.
    pub(crate) uploads: AtomicU64,
    /// Bytes that were not sent again for it.
    pub(crate) bytes: AtomicU64,
    /// fsync that was acknowledged.
    pub(crate) syncs: AtomicU64,
}

/// It resumes where nobody else writes: no server can tell it whose an upload is that was cut.
pub(crate) struct Resuming {
    packets: Packets,
    random: SmallRng,
    resumed: Arc<Resumed>,
    /// Where it has uploaded before, or renamed that to. It could not tell one upload there from the next:
    /// TRUNC drops what was cut, and CLOSE what it was gone on with, only where the journal answers.
    used: BTreeSet<String>,
}

/// One upload, over any number of sessions.
struct Attempt<'a> {
    path: &'a str,
    content: &'a [u8],
    /// Whether what is shown can be an earlier upload.
    is_unsure: bool,
    resumed: &'a Resumed,
    /// Behind the last byte that may have arrived.
    reach: u64,
    /// How much was there at an fsync, and when that was acknowledged.
    kept: (u64, Instant),
    has_asked_to_close: bool,
    /// What was lost of that.
    lost: Option<String>,
}

/// What one session does before it ends by itself.
#[derive(Clone, Copy)]
struct Plan {
    /// Sends so many chunks and disappears.
    dies_behind: Option<usize>,
    /// Asks for fsync behind so many.
    syncs_behind: Option<usize>,
}

impl Resuming {
    pub(crate) fn new(login: &Login, seed: u64, life: usize, resumed: &Arc<Resumed>) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        let packets = Packets::new(login, life, 0);
        Self { packets, random, resumed: Arc::clone(resumed), used: BTreeSet::new() }
    }

    fn plan(&mut self, len: usize) -> Plan {
        let chunks = len.div_ceil(CHUNK);
        let mut one_of = |of_100| self.random.random_range(0..100) < of_100;
        let (dies, syncs) = (one_of(40), one_of(40));
        let mut behind = || self.random.random_range(1..=chunks);
        Plan { dies_behind: dies.then(&mut behind), syncs_behind: syncs.then(&mut behind) }
    }
}

impl Attempt<'_> {
    /// Begins or goes on, with a new session.
    async fn run(&mut self, sftp: &RawSftpSession, plan: Plan) -> Result<(), Failed> {
        let (handle, begin) = self.open(sftp).await?;
        let mut end = begin;
        for (chunk, sent) in self.content[begin as usize..].chunks(CHUNK).zip(1..) {
            let offset = end;
            end += chunk.len() as u64;
            self.reach = self.reach.max(end);
            sftp.write(&handle, offset, chunk.to_vec()).await?;
            if plan.syncs_behind == Some(sent) {
                sftp.fsync(&handle).await?;
                self.resumed.syncs.fetch_add(1, Ordering::Relaxed);
                self.kept = (end, Instant::now());
            }
            if plan.dies_behind == Some(sent) {
                return Err(Failed::Lost);
            }
        }
        self.has_asked_to_close = true;
        sftp.close(handle).await?;
        Ok(())
    }

    /// A handle, and where to go on.
    async fn open(&mut self, sftp: &RawSftpSession) -> Result<(String, u64), Failed> {
        if self.reach > 0 && !self.is_unsure && self.shows_something(sftp).await? {
            let flags = OpenFlags::CREATE | OpenFlags::WRITE;
            let asked = Instant::now();
            let handle = sftp.open(self.path, flags, FileAttributes::empty()).await?.handle;
            // Of the upload that the handle has taken over: between STAT and OPEN anything may happen.
            let size = sftp.fstat(&handle).await?.attrs.size.unwrap_or_default();
            self.check_kept(size, asked);
            if self.is_mine(size) {
                self.resumed.uploads.fetch_add(1, Ordering::Relaxed);
                self.resumed.bytes.fetch_add(size, Ordering::Relaxed);
                return Ok((handle, size));
            }
            sftp.close(handle).await?;
        }
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
        // From here on, what was kept may be dropped.
        self.kept.0 = 0;
        Ok((sftp.open(self.path, flags, FileAttributes::empty()).await?.handle, 0))
    }

    async fn shows_something(&self, sftp: &RawSftpSession) -> Result<bool, Failed> {
        // A node that can't ask the journal shows what is published, and refuses to go on.
        if self.kept.0 > 0 {
            return Ok(true);
        }
        match sftp.stat(self.path).await.map_err(Failed::from) {
            Ok(found) => Ok(found.attrs.size.is_some_and(|size| self.is_mine(size))),
            Err(Failed::Refused(StatusCode::NoSuchFile)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether there is a beginning of this upload.
    fn is_mine(&self, size: u64) -> bool {
        0 < size && size <= self.reach
    }

    /// One byte less than there is, is shown.
    fn check_kept(&mut self, size: u64, asked: Instant) {
        let (kept, at) = self.kept;
        if size + 1 < kept && asked.duration_since(at) < KEPT_FOR {
            self.lost = Some(format!("{kept} bytes were kept by fsync, and {size} are shown"));
        }
    }
}

impl Client for Resuming {
    fn publish(&mut self, path: &str, content: &[u8]) -> Told {
        self.packets.publish(path, content)
    }

    fn publish_alone(&mut self, path: &str, content: &[u8]) -> (Told, Option<String>) {
        let start = Instant::now();
        let resumed = Arc::clone(&self.resumed);
        let (resumed, kept) = (&*resumed, (0, start));
        let is_unsure = !self.used.insert(path.to_owned());
        let mut attempt =
            Attempt { path, content, is_unsure, resumed, reach: 0, kept, has_asked_to_close: false, lost: None };
        let told = loop {
            let plan = self.plan(content.len());
            match self.packets.with(async |sftp| attempt.run(sftp, plan).await) {
                Ok(()) => break Told::Done,
                Err(_) if attempt.has_asked_to_close => break Told::InDoubt,
                Err(_) if start.elapsed() > PATIENCE || attempt.lost.is_some() => break Told::Unclosed,
                // Without its session, the upload is cut.
                Err(_) => self.packets.disconnect(),
            }
        };
        self.packets.disconnect();
        (told, attempt.lost)
    }

    fn large_of_100(&self) -> u32 {
        40
    }

    fn fetch(&mut self, path: &str) -> Option<Sight> {
        self.packets.fetch(path)
    }

    fn remove(&mut self, path: &str) -> Told {
        self.packets.remove(path)
    }

    fn rename(&mut self, from: &str, to: &str) -> Option<Told> {
        if self.used.contains(from) {
            self.used.insert(to.to_owned());
        }
        self.packets.rename(from, to)
    }

    fn names(&mut self, directory: &str) -> Option<BTreeSet<String>> {
        self.packets.names(directory)
    }
}
