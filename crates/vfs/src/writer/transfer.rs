//! The parts of one upload on their way to the store.

mod copies;
mod errors;
mod groups;
mod journalling;
mod landings;
mod publish;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture, Shared, select};
use futures::{FutureExt, StreamExt, stream};
use tidegate_store::{Body, Checksum, ObjectAttributes, ObjectKey, ObjectStore, PartNumber, Upload};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use self::copies::CopyFrom;
pub(crate) use self::errors::publish_error;
use self::errors::{interrupted, upload_error};
pub(crate) use self::groups::Group;
pub(crate) use self::journalling::Journalling;
use self::journalling::confirm_part;
use self::landings::{Flight, Landed, Landings, State};
use super::destination::Destination;
use super::kept::Keep;
use super::lanes::Lanes;
use super::memory::Memory;
use crate::aborting::abort;
use crate::assembly::SealedPart;
use crate::copying::Copier;
use crate::error::FsError;
use crate::hidden::Hidden;
use crate::journal::Keeper;
use crate::metrics::Metrics;
use crate::shares::Grant;

/// How many parts the store copies at once for one file.
const COPIES_AT_ONCE: usize = 8;

/// Where an upload goes, and what must hold when it is published.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) copier: Copier,
    /// The file's name when it was opened.
    pub(crate) key: ObjectKey,
    pub(crate) destination: Arc<Destination>,
    pub(crate) hidden: Hidden,
    pub(crate) metrics: Metrics,
}

/// Sends parts, several at once, and publishes or aborts the whole. Dropped before either, it
/// aborts in the background.
pub(crate) struct Transfer {
    target: Arc<Target>,
    landings: Arc<Landings>,
    tasks: JoinSet<()>,
    begun: Option<Begun>,
    /// Those that are not copied to the upload yet, and a few that are.
    groups: Vec<Arc<Group>>,
    /// `None` for what is not to be resumed.
    journalling: Option<Journalling>,
}

type SharedUpload = Shared<BoxFuture<'static, Result<Running, FsError>>>;

/// A multipart upload that the store has, and its entry in the journal, if it has one.
#[derive(Clone, Debug)]
struct Running {
    upload: Upload,
    keeper: Option<Arc<Keeper>>,
}

/// A multipart upload that may exist in the store.
struct Begun {
    upload: SharedUpload,
    /// What it will be published with.
    attributes: ObjectAttributes,
}

impl Transfer {
    /// At most `lanes` parts at once, and fewer where more don't help.
    pub(crate) fn new(target: Target, lanes: usize) -> Self {
        let state = State { in_flight: 0, lanes: Lanes::new(lanes), landed: Vec::new(), failed: None };
        let landings = Landings { opened: Instant::now(), state: Mutex::new(state), changed: watch::channel(()).0 };
        Self {
            target: Arc::new(target),
            landings: Arc::new(landings),
            tasks: JoinSet::new(),
            begun: None,
            groups: Vec::new(),
            journalling: None,
        }
    }

    /// Gives it an entry in the journal as soon as there is a part.
    pub(super) fn keep_journal(&mut self, journalling: Journalling) {
        self.journalling = Some(journalling);
    }

    /// Fails with the first error of any part, again and again.
    pub(crate) fn check(&self) -> Result<(), FsError> {
        self.landings.state().failed.clone().map_or(Ok(()), Err)
    }

    /// How many parts are on their way.
    pub(crate) fn in_flight(&self) -> usize {
        self.landings.state().in_flight
    }

    /// Whether another part may be sent now.
    pub(super) fn has_lane(&self) -> bool {
        let state = self.landings.state();
        state.in_flight < state.lanes.allowed()
    }

    /// Notes that the client has to wait for a lane.
    pub(super) fn waits_for_a_lane(&self) {
        self.landings.state().lanes.waited();
    }

    /// Resolves once a part lands or fails behind this call.
    pub(crate) fn landing(&self) -> BoxFuture<'static, ()> {
        let mut changed = self.landings.changed.subscribe();
        async move {
            // An error means that the upload is gone: nothing to wait for.
            let _ = changed.changed().await;
        }
        .boxed()
    }

    /// Whether a multipart upload was begun.
    pub(super) fn is_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Sends a part, which the client has filled in `gathered`, and keeps it on scratch if asked to; `grant`
    /// goes back to `memory` when it has landed. The first part begins the multipart upload, with `attributes`.
    /// Where a group is given, it is a part of that.
    pub(super) fn launch(
        &mut self,
        (group, number): (Option<&Arc<Group>>, PartNumber),
        part: SealedPart,
        (grant, gathered): (Option<Grant>, Duration),
        memory: &Arc<Memory>,
        keep: Option<Keep>,
        attributes: &ObjectAttributes,
    ) {
        let memory = grant.map(|grant| (grant, Arc::clone(memory)));
        let SealedPart { body, checksum, .. } = part;
        self.work(group, body.len(), (memory, gathered), attributes, move |target, upload| async move {
            let keeping = keep.map(|keep| keep.begin(&body));
            let landed = send(&target, upload, number, body, checksum).await.map(|landed| vec![landed]);
            if let Some(keeping) = keeping {
                keeping.await;
            }
            landed
        });
    }

    /// The same for a part of `len` bytes that are still to be read.
    pub(crate) fn launch_read(
        &mut self,
        (group, number): (Option<&Arc<Group>>, PartNumber),
        len: u64,
        bytes: impl Future<Output = Result<Body, FsError>> + Send + 'static,
        memory: (Grant, Arc<Memory>),
        attributes: &ObjectAttributes,
    ) {
        self.work(group, len, (Some(memory), Duration::ZERO), attributes, move |target, upload| async move {
            let body = bytes.await?;
            send(&target, upload, number, body, None).await.map(|landed| vec![landed])
        });
    }

    /// Has the store make parts of ranges of a version, a few at once. They count as one on its way.
    pub(crate) fn launch_copies(
        &mut self,
        group: Option<&Arc<Group>>,
        from: CopyFrom,
        parts: Vec<(PartNumber, Range<u64>)>,
        attributes: &ObjectAttributes,
    ) {
        self.work(group, 0, (None, Duration::ZERO), attributes, move |target, upload| async move {
            target.copy_parts(&upload.await?.upload, from, parts).await
        });
    }

    /// Waits until no part is on its way.
    ///
    /// # Errors
    /// The first of any part.
    pub(crate) async fn all_landed(&self) -> Result<(), FsError> {
        loop {
            let landing = self.landing();
            self.check()?;
            if self.in_flight() == 0 {
                return Ok(());
            }
            landing.await;
        }
    }

    /// Memory for a part, waited for if need be: for a part that lands, or in turn.
    ///
    /// # Errors
    /// The first of any part; `Unavailable` if memory could not be had in time.
    pub(crate) async fn draw(&self, memory: &Arc<Memory>, bytes: u64) -> Result<Grant, FsError> {
        loop {
            let landing = self.landing();
            self.check()?;
            memory.check()?;
            if let Some(grant) = memory.draw(bytes.max(1)) {
                return Ok(grant);
            }
            if self.in_flight() > 0 {
                select(landing, memory.extra(bytes)).await;
            } else {
                memory.need(bytes).await;
            }
        }
    }

    /// Waits until another part may be sent.
    ///
    /// # Errors
    /// The first of any part.
    pub(crate) async fn lane(&self) -> Result<(), FsError> {
        loop {
            let landing = self.landing();
            self.check()?;
            if self.has_lane() {
                return Ok(());
            }
            self.waits_for_a_lane();
            landing.await;
        }
    }

    fn work<F, W>(
        &mut self,
        group: Option<&Arc<Group>>,
        bytes: u64,
        (memory, gathered): (Option<(Grant, Arc<Memory>)>, Duration),
        attributes: &ObjectAttributes,
        work: W,
    ) where
        W: FnOnce(Arc<Target>, SharedUpload) -> F,
        F: Future<Output = Result<Vec<Landed>, FsError>> + Send + 'static,
    {
        let upload = match group {
            Some(group) => group.upload.clone(),
            None => self.begin(attributes),
        };
        let (work, group) = (work(Arc::clone(&self.target), upload), group.cloned());
        while self.tasks.try_join_next().is_some() {}
        let flight = Flight::new(&self.landings, memory, bytes, gathered, &self.target.metrics);
        self.tasks.spawn(async move {
            let landed = work.await;
            flight.land(match group {
                Some(group) => landed.map(|landed| {
                    group.landed().extend(landed);
                    Vec::new()
                }),
                None => landed,
            });
        });
    }

    /// The multipart upload, which is begun if it was not.
    fn begin(&mut self, attributes: &ObjectAttributes) -> SharedUpload {
        let begin = || begin(&self.target, attributes, self.journalling.clone());
        self.begun.get_or_insert_with(begin).upload.clone()
    }

    /// Gives the upload up: nothing is published, and the store drops its parts.
    pub(crate) async fn abort(mut self) {
        // In a task of its own: whoever stops waiting for it must not stop it half-way.
        if let Some(abort) = self.take_abort() {
            let _ = tokio::spawn(abort).await;
        }
    }

    fn take_abort(&mut self) -> Option<BoxFuture<'static, ()>> {
        let announced = self.take_announced();
        let (begun, mut groups) = (self.begun.take(), std::mem::take(&mut self.groups));
        groups.retain(|group| !group.is_gone());
        if begun.is_none() && groups.is_empty() {
            return announced;
        }
        let target = Arc::clone(&self.target);
        let mut tasks = std::mem::take(&mut self.tasks);
        let aborting = async move {
            // A part that arrives behind the abort would stay: first stop sending.
            tasks.shutdown().await;
            stream::iter(&groups).for_each_concurrent(COPIES_AT_ONCE, |group| group.give_up(&target)).await;
            let Some(begun) = begun else { return OptionFuture::from(announced).await.unwrap_or_default() };
            match begun.upload.await {
                // Unless another session has it by now.
                Ok(Running { keeper: Some(keeper), .. }) => {
                    keeper.give_up().await;
                }
                Ok(Running { upload, keeper: None }) => {
                    abort(&target.key, &target.metrics, target.store.abort_upload(&upload)).await;
                }
                // It was never begun, as far as anyone knows.
                Err(_) => OptionFuture::from(announced).await.unwrap_or_default(),
            }
        };
        Some(aborting.boxed())
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("target", &self.target)
            .field("landings", &self.landings)
            .finish_non_exhaustive()
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(abort) = self.take_abort()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(abort);
        }
    }
}

/// Begins the multipart upload in a task of its own: were it cancelled half-way together with a
/// part, the upload's name would be lost and it could not be aborted.
fn begin(target: &Arc<Target>, attributes: &ObjectAttributes, journalling: Option<Journalling>) -> Begun {
    let (target, attributes) = (Arc::clone(target), attributes.clone());
    let task = tokio::spawn({
        let attributes = attributes.clone();
        async move {
            let (key, condition) = target.destination.now();
            let upload = target.store.begin_upload(&key, &attributes).await?;
            let keeper = match journalling {
                Some(journalling) => journalling.enter(&target, (key, condition), &upload, attributes).await?,
                None => None,
            };
            Ok(Running { upload, keeper })
        }
    });
    let upload = async move { task.await.unwrap_or_else(|_| Err(interrupted())) };
    Begun { upload: upload.boxed().shared(), attributes }
}

async fn send(
    target: &Target,
    upload: SharedUpload,
    number: PartNumber,
    body: Body,
    checksum: Option<Checksum>,
) -> Result<Landed, FsError> {
    let Running { upload, keeper } = upload.await?;
    let checksum = checksum.unwrap_or_else(|| body.checksum());
    if let Some(keeper) = &keeper {
        confirm_part(keeper, &upload, number).await?;
    }
    let stored = target.store.put_part(&upload, number, body, checksum).await.map_err(upload_error)?;
    if let Some(keeper) = &keeper {
        keeper.landed(&stored).await?;
    }
    Ok((stored, Some(checksum)))
}
