//! Nodes on one bucket, one of which may die.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use futures::FutureExt;
use prometheus::Registry;
use tidegate_store::faulty::{FaultPlan, FaultyObjectStore, Rates};
use tidegate_store::memory::MemoryObjectStore;
use tidegate_store::{ObjectStore, Permission};
use tidegate_vfs::{Config, FileKind, FsError, Metrics, Mount, OpenOptions, SetAttributes, Vfs};
use tokio::sync::Notify;

use crate::harness::{
    PART, WRITE, account, config, create, mode, open_reader, open_writer, path, read_all, size, write, write_all,
};
use crate::operation::{Access, Answer, Content, Operation};
use crate::reference::{Entry, File, Tree};

/// A plan that has each call wait for the [`Brake`].
pub(crate) const EVERY_CALL: Rates =
    Rates { after: 0.0, before: 0.0, broken_body: 0.0, delay: 1.0, delay_max: Duration::from_millis(1) };

/// What a node remembers of directories and attributes: longer than any of it.
const FORGET: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    store: MemoryObjectStore,
    /// The same as the nodes see it.
    calls: FaultyObjectStore,
    mounts: Mutex<Vec<Mount>>,
    last: Mutex<usize>,
    brake: Arc<Brake>,
}

pub(crate) enum Ending {
    Answered(Answer),
    Died,
}

/// Lets so many calls of the store through, and none behind them.
#[derive(Default)]
struct Brake {
    left: AtomicU64,
    is_on: Notify,
}

impl Cluster {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        let store = MemoryObjectStore::new().with_part_min(PART as u64);
        let brake = Arc::new(Brake { left: AtomicU64::new(u64::MAX), is_on: Notify::new() });
        let stops = Arc::clone(&brake);
        let calls = FaultyObjectStore::new(Arc::new(store.clone()), plan).with_sleep(Arc::new(move |_| {
            let brake = Arc::clone(&stops);
            async move { brake.pass().await }.boxed()
        }));
        let cluster = Self { store, calls, mounts: Mutex::default(), last: Mutex::new(0), brake };
        for _ in 0..2 {
            let mount = cluster.start_node();
            cluster.mounts.lock().unwrap().push(mount);
        }
        cluster
    }

    fn start_node(&self) -> Mount {
        // Groups of two parts, so that all that is made of them happens to small files.
        let config = Config { part_group: ByteSize::b(2 * PART as u64), ..config() };
        let vfs = Vfs::new(Arc::new(self.calls.clone()), config, Metrics::register(&Registry::new()).unwrap());
        vfs.mount(&account(&Permission::ALL)).now_or_never().unwrap().unwrap()
    }

    async fn mount(&self, node: usize) -> Mount {
        // What another node did a moment ago may go unseen for a stated time.
        if std::mem::replace(&mut *self.last.lock().unwrap(), node) != node {
            tokio::time::advance(FORGET).await;
        }
        self.mounts.lock().unwrap()[node].clone()
    }

    pub(crate) async fn apply(&self, node: usize, operation: &Operation) -> Answer {
        let mount = self.mount(node).await;
        apply(&mount, operation).await
    }

    /// The same, but the node dies before its call of the store behind so many; another takes its place.
    pub(crate) async fn apply_and_die(&self, node: usize, operation: &Operation, calls: u16) -> Ending {
        let mount = self.mount(node).await;
        let is_to_die = calls != u16::MAX;
        self.brake.left.store(if is_to_die { u64::from(calls) } else { u64::MAX }, Ordering::SeqCst);
        let ending = tokio::select! {
            biased;
            answer = apply(&mount, operation) => Ending::Answered(answer),
            () = self.brake.is_on.notified() => Ending::Died,
        };
        self.brake.left.store(u64::MAX, Ordering::SeqCst);
        if matches!(ending, Ending::Died) {
            let mount = self.start_node();
            self.mounts.lock().unwrap()[node] = mount;
            tokio::time::advance(FORGET).await;
        }
        ending
    }

    /// Asks for an operation again that was cut short, until it is done.
    pub(crate) async fn finish(&self, node: usize, operation: &Operation, done: &Tree, context: &dyn Fn() -> String) {
        for _ in 0..100 {
            if self.tree().await == *done {
                // Only its answer was lost.
                return;
            }
            match self.apply(node, operation).await {
                Answer::Done => break,
                answer => assert!(answer.is_fault(), "{answer:?}, asked again; {}", context()),
            }
        }
        assert_eq!(self.tree().await, *done, "asked again; {}", context());
    }

    /// All there is, as a node sees it that has just been started and whose store never fails.
    pub(crate) async fn tree(&self) -> Tree {
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let store = FaultyObjectStore::new(Arc::new(self.store.clone()), FaultPlan::none());
        let vfs = Vfs::new(Arc::new(store), config(), metrics);
        let mount = vfs.mount(&account(&Permission::ALL)).await.unwrap();
        let mut tree = Tree::default();
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            let shown = if directory.is_empty() { "/" } else { &directory };
            for entry in crate::harness::list(&mount, shown).await.unwrap() {
                let name = format!("{directory}/{}", entry.name);
                assert_eq!(mount.lstat(&path(&name)).await.unwrap(), entry.attributes, "LSTAT and READDIR of {name}");
                let found = match entry.attributes.kind {
                    FileKind::Directory => {
                        directories.push(name.clone());
                        Entry::Directory
                    }
                    FileKind::Symlink => Entry::Link(mount.read_link(&path(&name)).await.unwrap().to_string()),
                    _ => {
                        let content = read(&mount, &name).await.unwrap();
                        assert_eq!(content.len() as u64, entry.attributes.size, "{name}");
                        Entry::File(File { content, mode: entry.attributes.mode & 0o7777 })
                    }
                };
                assert!(tree.0.insert(name.clone(), found).is_none(), "{name} is listed twice");
            }
        }
        tree
    }

    /// How many multipart uploads the store still has.
    pub(crate) async fn uploads(&self) -> usize {
        self.store.list_uploads("", None).await.unwrap().uploads.len()
    }
}

impl Brake {
    async fn pass(&self) {
        let passed = self.left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            u64::MAX => Some(left),
            left => left.checked_sub(1),
        });
        if passed.is_err() {
            self.is_on.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

async fn apply(mount: &Mount, operation: &Operation) -> Answer {
    match outcome(mount, operation).await {
        Ok(answer) => answer,
        Err(error) => Answer::Failed(error.kind()),
    }
}

async fn outcome(mount: &Mount, operation: &Operation) -> Result<Answer, FsError> {
    let done = match operation {
        Operation::Change { path, access, at, content } => return change(mount, path, *access, *at, *content).await,
        Operation::Link { target, path: name } => mount.make_link(target.as_bytes(), &path(name)).await,
        Operation::List(name) => {
            let mut directory = mount.open_directory(&path(name)).await?;
            let mut names = Vec::new();
            while let Some(page) = directory.next_page().await? {
                names.extend(page.into_iter().map(|entry| (entry.name, entry.attributes.kind == FileKind::Directory)));
            }
            names.sort();
            return Ok(Answer::Names(names));
        }
        Operation::MakeDirectory(name) => mount.make_directory(&path(name), SetAttributes::default()).await,
        Operation::Put { path, content, exclusive } => {
            let options = OpenOptions { exclusive: *exclusive, ..create() };
            let mut writer = open_writer(mount, path, options).await?;
            write_all(&mut writer, &Bytes::from(content.bytes()), 50_000).await?;
            writer.finish().await.map(|_| ())
        }
        Operation::Read(name) => return Ok(Answer::Content(read(mount, name).await?)),
        Operation::Remove(name) => mount.remove(&path(name)).await,
        Operation::RemoveDirectory(name) => mount.remove_directory(&path(name)).await,
        Operation::Rename { from, to, replace } => {
            mount.rename(&path(from), &path(to), Operation::replace(*replace)).await
        }
        Operation::Resize(name, len) => mount.set_attributes(&path(name), size(*len as u64)).await,
        Operation::SetMode(name, bits) => mount.set_attributes(&path(name), mode(*bits)).await,
        Operation::Stat(name) => {
            let attributes = mount.stat(&path(name)).await?;
            let is_directory = attributes.kind == FileKind::Directory;
            let file = (!is_directory).then_some((attributes.size, attributes.mode & 0o7777));
            return Ok(Answer::Status(is_directory, file));
        }
    };
    done.map(|()| Answer::Done)
}

/// Writes in two pieces, the second one first where the offset says where each goes.
async fn change(mount: &Mount, path: &str, access: Access, at: usize, content: Content) -> Result<Answer, FsError> {
    let (append, read) = (access == Access::Append, access == Access::ReadWrite);
    let mut writer = open_writer(mount, path, OpenOptions { append, create: append, read, ..WRITE }).await?;
    let bytes = Bytes::from(content.bytes());
    let half = bytes.len() / 2;
    let pieces = [(at, bytes.slice(..half)), (at + half, bytes.slice(half..))];
    let order = if append { [0, 1] } else { [1, 0] };
    for n in order {
        let (at, piece) = pieces[n].clone();
        write(&mut writer, at, piece).await?;
    }
    let seen = if read { writer.read(at as u64, bytes.len() as u32).await?.chunks().concat() } else { Vec::new() };
    writer.finish().await?;
    Ok(if read { Answer::Content(seen) } else { Answer::Done })
}

async fn read(mount: &Mount, name: &str) -> Result<Vec<u8>, FsError> {
    let reader = open_reader(mount, name).await?;
    Ok(read_all(&reader, 32 << 10).await?.to_vec())
}
