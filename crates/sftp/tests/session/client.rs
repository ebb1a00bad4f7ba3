//! A client that speaks packet by packet, with the codec of crate russh-sftp, so that a test
//! decides what is sent before which answer is read.

use std::sync::Arc;

use bytes::Bytes;
use prometheus::Registry;
use russh_sftp::protocol::{self as oracle, FileAttributes, OpenFlags, Packet, StatusCode};
use tidegate_sftp::{Config, Metrics, SessionContext, SessionReport, Shutdown, Tenants, ThrottledSessions, serve};
use tidegate_store::memory::MemoryObjectStores;
use tidegate_store::{
    Account, Mappings, ObjectStores, Permission, PermissionRules, Status, Tenant, TenantLimits, User,
};
use tidegate_vfs::Vfs;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What `put` of most clients asks for.
pub const NEW: OpenFlags = OpenFlags::WRITE.union(OpenFlags::CREATE).union(OpenFlags::TRUNCATE);

/// A node's file system over memory, and sessions on it.
pub struct Node {
    pub vfs: Vfs,
    pub config: Config,
    pub shutdown: Shutdown,
    pub metrics: Metrics,
    pub tenants: Tenants,
    pub throttled: ThrottledSessions,
    registry: Registry,
}

impl Node {
    pub fn new() -> Self {
        Self::over(Arc::new(MemoryObjectStores::new()))
    }

    pub fn over(stores: Arc<dyn ObjectStores>) -> Self {
        Self::with(stores, tidegate_vfs::Config::default())
    }

    pub fn with(stores: Arc<dyn ObjectStores>, config: tidegate_vfs::Config) -> Self {
        let registry = Registry::new();
        let vfs_metrics = tidegate_vfs::Metrics::register(&registry).unwrap();
        Self {
            vfs: Vfs::new(stores, config, vfs_metrics),
            config: Config::default(),
            shutdown: Shutdown::default(),
            metrics: Metrics::register(&registry).unwrap(),
            tenants: Tenants::default(),
            throttled: ThrottledSessions::default(),
            registry,
        }
    }

    /// Begins a session of the tenant `demo`, which has no limits; nothing is sent yet.
    pub async fn connect(&self) -> Client {
        self.connect_to("demo", TenantLimits::default()).await
    }

    async fn connect_to(&self, tenant: &str, limits: TenantLimits) -> Client {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let context = self.context(tenant, limits).await;
        let gone = context.gone.clone();
        Client { stream: ours, session: tokio::spawn(serve(theirs, context)), gone, next: 0 }
    }

    /// What a session, or a command, of a tenant with these limits works with.
    pub async fn context(&self, tenant: &str, limits: TenantLimits) -> SessionContext {
        let account = account(tenant, limits);
        SessionContext {
            tenant: self.tenants.enter(&account.tenant.name, &account.tenant.limits),
            throttled: self.throttled.clone(),
            mount: self.vfs.mount(&account).await.unwrap(),
            config: self.config.clone(),
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
            gone: CancellationToken::new(),
        }
    }

    /// Begins a session of the tenant `demo`, which has no limits, and says INIT.
    pub async fn session(&self) -> Client {
        self.session_of("demo", TenantLimits::default()).await
    }

    /// Begins a session of a tenant with these limits and says INIT.
    pub async fn session_of(&self, tenant: &str, limits: TenantLimits) -> Client {
        let mut client = self.connect_to(tenant, limits).await;
        client.send(oracle::Init::default()).await;
        assert!(matches!(client.receive().await, Packet::Version(version) if version.version == 3));
        client
    }
}

impl Node {
    /// The value of a counter or gauge, by its name and the value of its one label.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let labelled =
            |metric: &&prometheus::proto::Metric| metric.get_label().iter().any(|pair| pair.value() == label);
        family
            .get_metric()
            .iter()
            .find(labelled)
            .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
            .unwrap()
    }
}

/// One session as its client sees it.
pub struct Client {
    pub stream: DuplexStream,
    pub session: JoinHandle<SessionReport>,
    /// What tells the session that the connection is no more.
    pub gone: CancellationToken,
    next: u32,
}

impl Client {
    pub fn id(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    pub async fn send(&mut self, packet: impl Into<Packet>) {
        self.stream.write_all(&Bytes::try_from(packet.into()).unwrap()).await.unwrap();
    }

    pub async fn receive(&mut self) -> Packet {
        let len = self.stream.read_u32().await.expect("an answer");
        let mut body = vec![0; len as usize];
        self.stream.read_exact(&mut body).await.unwrap();
        Packet::try_from(&mut Bytes::from(body)).unwrap()
    }

    pub async fn status(&mut self) -> (u32, StatusCode) {
        match self.receive().await {
            Packet::Status(status) => (status.id, status.status_code),
            other => panic!("no STATUS but {other:?}"),
        }
    }

    pub async fn ok(&mut self) -> u32 {
        let (id, code) = self.status().await;
        assert_eq!(code, StatusCode::Ok);
        id
    }

    pub async fn handle(&mut self) -> String {
        match self.receive().await {
            Packet::Handle(handle) => handle.handle,
            other => panic!("no HANDLE but {other:?}"),
        }
    }

    pub async fn open(&mut self, path: &str, flags: OpenFlags) -> String {
        self.send_open(path, flags).await;
        self.handle().await
    }

    pub async fn send_open(&mut self, path: &str, flags: OpenFlags) -> u32 {
        let id = self.id();
        let attrs = FileAttributes::empty();
        self.send(oracle::Open { id, filename: path.to_owned(), pflags: flags, attrs }).await;
        id
    }

    pub async fn send_write(&mut self, handle: &str, offset: u64, data: &[u8]) -> u32 {
        let id = self.id();
        self.send(oracle::Write { id, handle: handle.to_owned(), offset, data: data.to_vec() }).await;
        id
    }

    pub async fn send_read(&mut self, handle: &str, offset: u64, len: u32) -> u32 {
        let id = self.id();
        self.send(oracle::Read { id, handle: handle.to_owned(), offset, len }).await;
        id
    }

    pub async fn send_close(&mut self, handle: &str) -> u32 {
        let id = self.id();
        self.send(oracle::Close { id, handle: handle.to_owned() }).await;
        id
    }

    pub async fn send_stat(&mut self, path: &str) -> u32 {
        let id = self.id();
        self.send(oracle::Stat { id, path: path.to_owned() }).await;
        id
    }

    pub async fn put(&mut self, path: &str, data: &[u8]) {
        let handle = self.open(path, NEW).await;
        for (n, chunk) in data.chunks(32_768).enumerate() {
            self.send_write(&handle, n as u64 * 32_768, chunk).await;
            self.ok().await;
        }
        self.send_close(&handle).await;
        self.ok().await;
    }

    pub async fn size_of(&mut self, path: &str) -> Result<u64, StatusCode> {
        self.send_stat(path).await;
        match self.receive().await {
            Packet::Attrs(attrs) => Ok(attrs.attrs.size.unwrap()),
            Packet::Status(status) => Err(status.status_code),
            other => panic!("neither ATTRS nor STATUS but {other:?}"),
        }
    }

    /// Closes this side and waits for the session's end.
    pub async fn end(mut self) -> SessionReport {
        self.stream.shutdown().await.unwrap();
        self.session.await.unwrap()
    }
}

fn account(tenant: &str, limits: TenantLimits) -> Account {
    let tenant = Tenant {
        name: tenant.parse().unwrap(),
        status: Status::Active,
        bucket: "files".to_owned(),
        prefix: format!("{tenant}/").parse().unwrap(),
        limits,
        created: 0,
    };
    let user = User {
        name: "alice".parse().unwrap(),
        tenant: tenant.name.clone(),
        status: Status::Active,
        home: "/".to_owned(),
        permissions: Permission::ALL.into_iter().collect(),
        rules: PermissionRules::default(),
        mappings: Mappings::default(),
        max_sessions: None,
        lists_uploads: false,
        keys: Vec::new(),
        created: 0,
    };
    Account { user, tenant }
}
