//! Files opened ahead of a client that opens one after the other in the order of its listing, as
//! `sftp get -r` does: without this, each OPEN would cost it a round trip to the store.
//!
//! A session remembers the names of the directories it lists, a bounded number of them for a short
//! time. When an OPEN follows another in their order, the next small files are opened the same way
//! as for a client, with one request each, and kept for the OPEN of exactly that path. How many they
//! are follows the client's speed; what goes unused stops it ([`Pace`]). Nothing here is ever waited
//! for by anyone else: memory, and the node's leave, are taken only where they lie free.
//!
//! What was fetched is used within [`Config::prefetch_life`](crate::Config::prefetch_life) of its
//! request, and dropped at once when its object changes through this node ([`Watched`]).

mod listing;
mod pace;
mod page;
mod slot;
mod watched;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use tidegate_store::{ListRequest, ObjectStore, limits};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::listing::{Listing, Place};
use self::pace::Pace;
use self::page::{Entry, Page};
use self::slot::Ahead;
pub(crate) use self::slot::Register;
pub(crate) use self::watched::Watched;
use crate::attributes::{FileAttributes, FileKind};
use crate::directory::DirectoryEntry;
use crate::directory::names::{Named, Names};
use crate::key::KeySpace;
use crate::path::VirtualPath;
use crate::reader::{Reader, TenantMemory};
use crate::vfs::Shared;

/// Directories whose files one session remembers, and what their names may take in all.
const DIRECTORIES_MAX: usize = 16;
const NAMES_MAX: usize = 2 * page::PAGE_MAX;

/// How long a directory is remembered that is neither listed nor opened files in.
const LISTING_LIFE: Duration = Duration::from_secs(60);

/// The files that one session has open ahead.
pub(crate) struct Prefetch {
    /// `None` where it is switched off.
    session: Option<Arc<Session>>,
}

/// What it takes to open a session's files, apart from the session.
pub(crate) struct Opener {
    pub(crate) vfs: Arc<Shared>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) memory: TenantMemory,
    pub(crate) bucket: String,
    pub(crate) keys: KeySpace,
}

struct Session {
    opener: Arc<Opener>,
    state: Mutex<State>,
    /// Wakes the reaper before its time.
    sooner: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// The one used last at the end.
    listings: Vec<Listing>,
    ahead: Vec<Ahead>,
    /// The reaper, and pages that are asked for: end with the session.
    tasks: JoinSet<()>,
    /// When the reaper wakes; `None` if it does not run.
    wakes: Option<Instant>,
}

impl Prefetch {
    /// For the session of a user who may list and read.
    pub(crate) fn new(opener: Opener) -> Self {
        let config = &opener.vfs.config;
        let is_on = config.prefetch_files > 0 && config.read_ahead_max.as_u64() > 0;
        let pace = Pace::new(config.prefetch_files, config.prefetch_life);
        let state = State { pace, listings: Vec::new(), ahead: Vec::new(), tasks: JoinSet::new(), wakes: None };
        let session =
            || Session { opener: Arc::new(opener), state: Mutex::new(state), sooner: Arc::new(Notify::new()) };
        Self { session: is_on.then(|| Arc::new(session())) }
    }

    /// For a session whose files are not opened ahead.
    pub(crate) fn off() -> Self {
        Self { session: None }
    }

    /// Takes in the first page of a listing; `more` if there are others.
    pub(crate) fn learn<'a>(
        &self,
        directory: &VirtualPath,
        entries: impl Iterator<Item = &'a DirectoryEntry>,
        more: bool,
    ) {
        let Some(session) = &self.session else { return };
        let entries = entries.map(|entry| match entry.attributes.kind {
            FileKind::Directory => Entry::Directory(&entry.name),
            FileKind::File => Entry::File(&entry.name, entry.attributes.size),
            FileKind::Symlink => Entry::Other(&entry.name),
        });
        session.learn(directory, Page::pack(entries, more));
    }

    /// Notes that a listing goes on: its first page is still of use.
    pub(crate) fn touch(&self, directory: &VirtualPath) {
        let Some(session) = &self.session else { return };
        if let Some(listing) = session.state().listings.iter_mut().find(|listing| listing.directory == *directory) {
            listing.used = Instant::now();
        }
    }

    /// OPEN of a file for reading: the file, if it was opened ahead. Opens further ones.
    pub(crate) async fn open(&self, path: &VirtualPath) -> Option<Reader> {
        let session = self.session.as_ref()?;
        let reader = session.open(path)?.take().await;
        if reader.is_none() {
            session.state().pace.failed();
        }
        reader
    }

    /// STAT: the file's attributes, if it was opened ahead.
    pub(crate) async fn attributes(&self, path: &VirtualPath) -> Option<FileAttributes> {
        let session = self.session.as_ref()?;
        let attributes = {
            let state = session.state();
            let now = Instant::now();
            state.ahead.iter().find(|ahead| ahead.path == *path && now < ahead.deadline)?.attributes()
        };
        attributes.await
    }
}

impl Session {
    fn learn(self: &Arc<Self>, directory: &VirtualPath, packed: Option<(Page, Option<String>)>) {
        let mut state = self.state();
        state.listings.retain(|listing| listing.directory != *directory);
        if let Some((page, behind)) = packed.filter(|(page, behind)| page.len() > 1 || behind.is_some()) {
            state.listings.push(Listing::new(directory.clone(), page, behind, Instant::now()));
            state.evict();
            self.reap_in_time(&mut state);
        }
    }

    fn open(self: &Arc<Self>, path: &VirtualPath) -> Option<Ahead> {
        let (directory, name) = (path.parent()?, path.name()?);
        let now = Instant::now();
        let mut state = self.state();
        state.expire(now);
        let found = state.ahead.iter().position(|ahead| ahead.path == *path);
        let ahead = found.map(|index| state.ahead.swap_remove(index)).filter(|ahead| !ahead.is_closed());
        let mut listing = state.take_listing(&directory, now);
        let is_trusted = state.pace.depth() > 0;
        if let Some(ahead) = &ahead {
            listing.open_expected(name, now);
            state.pace.used(ahead.idle());
        }
        let is_in_order = ahead.is_some() || listing.open(name, is_trusted, now) == Place::Next;
        if is_in_order && ahead.is_none() {
            state.pace.followed();
        }
        if is_in_order {
            self.go_ahead(&mut state, &mut listing);
        }
        self.ask(&mut state, &mut listing, is_in_order);
        if !listing.is_done() {
            state.listings.push(listing);
            state.evict();
        }
        self.reap_in_time(&mut state);
        ahead
    }

    /// Opens the files behind the newest OPEN, as far as pace and leave allow.
    fn go_ahead(&self, state: &mut State, listing: &mut Listing) {
        let life = self.opener.vfs.config.prefetch_life;
        for (name, size) in listing.due(state.pace.depth()) {
            let Ok(path) = VirtualPath::resolve(&listing.directory, name.as_bytes()) else { continue };
            if state.ahead.iter().any(|ahead| ahead.path == path) {
                continue;
            }
            if state.ahead.len() >= self.opener.vfs.config.prefetch_files || !state.pace.spend() {
                break;
            }
            let Some(ahead) = self.opener.begin(path, size, life) else {
                state.pace.refund();
                break;
            };
            state.ahead.push(ahead);
            listing.reach(name);
        }
    }

    /// Asks for the page behind what is known, before the client comes there.
    fn ask(self: &Arc<Self>, state: &mut State, listing: &mut Listing, is_in_order: bool) {
        while state.tasks.try_join_next().is_some() {}
        let near = 2 * self.opener.vfs.config.prefetch_files;
        let Some(wanted) = listing.want(near, is_in_order) else { return };
        let permit = self.opener.vfs.prefetches.permit();
        if permit.is_none() || (wanted.on_trust && !state.pace.spend()) {
            return listing.give_up();
        }
        let (opener, directory) = (Arc::clone(&self.opener), listing.directory.clone());
        let session = Arc::downgrade(self);
        state.tasks.spawn(async move {
            let page = opener.page(&directory, &wanted.behind).await;
            drop(permit);
            if let Some(session) = session.upgrade() {
                session.arrive(&directory, &wanted.behind, page);
            }
        });
    }

    fn arrive(self: &Arc<Self>, directory: &VirtualPath, behind: &str, page: Option<(Page, Option<String>)>) {
        let mut state = self.state();
        let Some(index) = state.listings.iter().position(|listing| listing.directory == *directory) else { return };
        let mut listing = state.listings.remove(index);
        listing.arrive(behind, page);
        self.go_ahead(&mut state, &mut listing);
        if !listing.is_done() {
            state.listings.push(listing);
            state.evict();
        }
        self.reap_in_time(&mut state);
    }

    /// Sees to it that the reaper runs and wakes in time.
    fn reap_in_time(self: &Arc<Self>, state: &mut State) {
        let Some(next) = state.next_deadline() else { return };
        match state.wakes.replace(next) {
            None => {
                state.tasks.spawn(reap(Arc::downgrade(self), Arc::clone(&self.sooner)));
            }
            Some(wakes) if wakes <= next => state.wakes = Some(wakes),
            Some(_) => self.sooner.notify_one(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what has had its time, also in a session that sends nothing any more. Ends when nothing is
/// kept.
async fn reap(session: Weak<Session>, sooner: Arc<Notify>) {
    loop {
        let next = {
            let Some(session) = session.upgrade() else { return };
            let mut state = session.state();
            state.expire(Instant::now());
            state.wakes = state.next_deadline();
            state.wakes
        };
        let Some(next) = next else { return };
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = sooner.notified() => {}
        }
    }
}

impl State {
    /// Takes the listing of a directory out; it is put back behind all others.
    fn take_listing(&mut self, directory: &VirtualPath, now: Instant) -> Listing {
        match self.listings.iter().position(|listing| listing.directory == *directory) {
            Some(index) => self.listings.remove(index),
            None => Listing::unknown(directory.clone(), now),
        }
    }

    /// Forgets the directories that were used longest ago, as far as the limits demand.
    fn evict(&mut self) {
        let mut bytes: usize = self.listings.iter().map(Listing::bytes).sum();
        while self.listings.len() > 1 && (self.listings.len() > DIRECTORIES_MAX || bytes > NAMES_MAX) {
            bytes -= self.listings.remove(0).bytes();
        }
    }

    fn expire(&mut self, now: Instant) {
        let before = self.ahead.len();
        self.ahead.retain(|ahead| now < ahead.deadline);
        if self.ahead.len() < before {
            self.pace.in_vain();
        }
        self.listings.retain(|listing| now < listing.used + LISTING_LIFE);
        if self.listings.is_empty() {
            self.listings = Vec::new();
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let files = self.ahead.iter().map(|ahead| ahead.deadline);
        files.chain(self.listings.iter().map(|listing| listing.used + LISTING_LIFE)).min()
    }
}

impl Opener {
    /// Begins to open a file of `size` bytes, as its listing says; `None` if that would be at the cost
    /// of others.
    fn begin(&self, path: VirtualPath, size: u64, life: Duration) -> Option<Ahead> {
        let key = self.keys.object(&path).ok()?;
        let leave = self.vfs.prefetches.permit()?;
        let share = self.memory.join();
        let permit = if size == 0 { None } else { Some(share.try_take_spare(size)?) };
        let opening = {
            let (vfs, store, key) = (self.vfs.clone(), self.store.clone(), key.clone());
            async move { Reader::open_ahead(&store, key, share, permit, &vfs.config, &vfs.metrics).await }
        };
        Some(Ahead::begin(&self.vfs.prefetches, leave, path, &self.bucket, &key, life, opening.boxed()))
    }

    /// The part of a directory's listing that begins behind an entry.
    async fn page(&self, directory: &VirtualPath, behind: &str) -> Option<(Page, Option<String>)> {
        let prefix = self.keys.below(directory).ok()?;
        let request = ListRequest {
            prefix: prefix.clone(),
            delimited: true,
            limit: limits::LIST_MAX,
            continuation: None,
            start_after: Some([&prefix, behind].concat()),
        };
        let page = self.store.list(&request).await.ok()?;
        let more = page.next.is_some();
        let is_top = self.keys.is_top(&prefix);
        let (named, _) = Names::new(prefix, is_top).of_page(page);
        let entries = named.iter().map(|named| match named {
            Named::Directory(name) => Entry::Directory(name),
            Named::File(name, object) => Entry::File(name, object.size),
            Named::Unfinished(name, _) => Entry::Other(name),
        });
        Page::pack(entries, more)
    }
}

impl fmt::Debug for Prefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefetch").field("is_on", &self.session.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_remembers_a_bounded_number_of_names_and_directories() {
        let pace = Pace::new(32, Duration::from_secs(1));
        let mut state = State { pace, listings: Vec::new(), ahead: Vec::new(), tasks: JoinSet::new(), wakes: None };
        let directory = |n: usize| VirtualPath::resolve(&VirtualPath::root(), n.to_string().as_bytes()).unwrap();
        let names: Vec<String> = (0..1_000).map(|n| format!("{n:0200}")).collect();
        for n in 0..100 {
            let files = if n % 2 == 0 { 1_000 } else { 2 };
            let (page, behind) = Page::pack(names.iter().take(files).map(|name| Entry::File(name, 1)), false).unwrap();
            state.listings.push(Listing::new(directory(n), page, behind, Instant::now()));
            state.evict();
            let bytes: usize = state.listings.iter().map(Listing::bytes).sum();
            assert!(bytes <= NAMES_MAX && state.listings.len() <= DIRECTORIES_MAX, "{bytes} bytes");
            assert_eq!(
                state.listings.last().map(|listing| &listing.directory),
                Some(&directory(n)),
                "the newest stays"
            );
        }
        for n in 100..200 {
            state.listings.push(Listing::unknown(directory(n), Instant::now()));
            state.evict();
        }
        assert_eq!(state.listings.len(), DIRECTORIES_MAX);
        state.expire(Instant::now() + LISTING_LIFE);
        assert_eq!((state.listings.capacity(), state.next_deadline()), (0, None));
    }
}
