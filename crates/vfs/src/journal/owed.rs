//! Entries that are to go from the journal, and could not while it did not answer.
//!
//! OPEN with TRUNC, REMOVE and CLOSE do not wait for the journal. Were what they wanted dropped forgotten when it
//! does not answer, an old upload would be shown once it does, and a client that is cut at the same path would go on
//! behind bytes of another file. So a node keeps what it owes, tries again until the journal takes it, and treats
//! such an entry as if it were gone already. Other nodes see it until then or, if the node dies first, until it
//! expires.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture, Shared, join_all};
use tidegate_store::{Generation, JournalEntry, ObjectKey, StoreResult, TenantName};

use super::Uploads;
use crate::attributes::{unix_now, unix_seconds};
use crate::metrics::Metrics;

/// How much a node owes at most: with keys of 100 bytes, 4 MiB. An outage of the journal adds one for each file that
/// is opened with TRUNC or removed meanwhile. A tenant has no more of it than is left for all others: alone half, of
/// two a third each.
const DEBTS_MAX: usize = 16_384;

/// How many are tried at once.
const AT_ONCE: usize = 16;

/// How long it is from one round to the next: at first, and where the journal goes on not answering.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Resolves once an upload that was there before is dropped, or with what could not be.
pub(crate) type Earlier = Shared<BoxFuture<'static, Option<Obsolete>>>;

/// Drops what was there before, in a task of its own.
pub(crate) fn earlier(dropping: impl Future<Output = Option<Obsolete>> + Send + 'static) -> Earlier {
    tokio::spawn(dropping).map(|left| left.ok().flatten()).boxed().shared()
}

/// Waits for an upload that was there before, if there is one, and tells what of it could not be dropped.
pub(crate) async fn left(earlier: Option<Earlier>) -> Option<Obsolete> {
    OptionFuture::from(earlier).await.flatten()
}

/// Which entries of a file are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obsolete {
    /// Whatever was begun before this second, by the store's clock. Of what was begun in it, nobody can tell whether
    /// that was before or after.
    Before(u64),
    /// This one.
    Seen(Generation),
}

impl Obsolete {
    pub(super) fn covers(self, entry: &JournalEntry) -> bool {
        match self {
            Self::Before(second) => entry.record.begun < second,
            Self::Seen(generation) => entry.generation == generation,
        }
    }
}

/// A file, and the generation of the entry if it was seen.
type Name = (TenantName, ObjectKey, Option<Generation>);

/// What a node owes to the journal.
#[derive(Debug)]
pub(crate) struct Owed {
    state: Mutex<State>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    debts: HashMap<Name, Debt>,
    /// How many of them each tenant has that has any.
    counts: HashMap<TenantName, usize>,
    /// Whether a task tries.
    is_paying: bool,
}

#[derive(Clone, Debug)]
struct Debt {
    uploads: Arc<Uploads>,
    obsolete: Obsolete,
    /// When its entry has expired in any case: seconds since the Unix epoch.
    until: u64,
    tries: u32,
}

impl Owed {
    pub(crate) fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), metrics })
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether an entry is to go.
    fn covers(&self, tenant: &TenantName, entry: &JournalEntry) -> bool {
        let state = self.lock();
        let covers = |generation| {
            let debt = state.debts.get(&(tenant.clone(), entry.key.clone(), generation));
            debt.is_some_and(|debt| debt.obsolete.covers(entry))
        };
        !state.debts.is_empty() && (covers(None) || covers(Some(entry.generation)))
    }

    /// The second before which all of a file's entries are to go.
    fn second(&self, tenant: &TenantName, key: &ObjectKey) -> Option<u64> {
        match self.lock().debts.get(&(tenant.clone(), key.clone(), None))?.obsolete {
            Obsolete::Before(second) => Some(second),
            Obsolete::Seen(_) => None,
        }
    }

    fn add(self: &Arc<Self>, uploads: &Arc<Uploads>, key: &ObjectKey, obsolete: Obsolete) {
        let generation = match obsolete {
            Obsolete::Before(_) => None,
            Obsolete::Seen(generation) => Some(generation),
        };
        let name = (uploads.tenant.clone(), key.clone(), generation);
        let mut state = self.lock();
        if !state.debts.contains_key(&name) && !state.take_room(&uploads.tenant) {
            drop(state);
            self.metrics.drops_given_up.inc();
            tracing::warn!(%key, "an upload may stay in the journal until it expires: too many are to go already");
            return;
        }
        let until = unix_now() + uploads.life.whole.as_secs();
        let new = || Debt { uploads: Arc::clone(uploads), obsolete, until, tries: 0 };
        let debt = state.debts.entry(name).or_insert_with(new);
        debt.until = until;
        if let (Obsolete::Before(old), Obsolete::Before(second)) = (debt.obsolete, obsolete) {
            debt.obsolete = Obsolete::Before(second.max(old));
        }
        self.count(&state);
        if !std::mem::replace(&mut state.is_paying, true) {
            tokio::spawn(Arc::clone(self).run());
        }
    }

    /// Tries until nothing is owed any more.
    async fn run(self: Arc<Self>) {
        let mut wait = RETRY_MIN;
        loop {
            // Nodes that the journal failed at one moment do not come back at one.
            tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
            wait = if self.pay().await { RETRY_MIN } else { RETRY_MAX.min(2 * wait) };
            let mut state = self.lock();
            if state.debts.is_empty() {
                state.is_paying = false;
                return;
            }
        }
    }

    /// Resolves once nothing is owed any more.
    pub(crate) async fn settle(&self) {
        while !self.lock().debts.is_empty() {
            if !self.pay().await {
                tokio::time::sleep(RETRY_MIN).await;
            }
        }
    }

    /// Tries each once, but for those behind one that fails: those first that were tried least. Tells whether none did.
    async fn pay(&self) -> bool {
        let mut due: Vec<_> = self.lock().debts.iter().map(|(name, debt)| (name.clone(), debt.clone())).collect();
        due.sort_by_key(|(_, debt)| debt.tries);
        for some in due.chunks(AT_ONCE) {
            let paid = join_all(some.iter().map(|((_, key, _), debt)| debt.pay(key))).await;
            let mut state = self.lock();
            for ((name, tried), paid) in some.iter().zip(&paid) {
                // Meanwhile it may have become more.
                let Some(debt) = state.debts.get_mut(name).filter(|debt| debt.obsolete == tried.obsolete) else {
                    continue;
                };
                if matches!(paid, Ok(true)) {
                    state.debts.remove(name);
                    state.give_room_back(&name.0);
                } else {
                    debt.tries += 1;
                }
            }
            self.count(&state);
            if let Some(error) = paid.iter().find_map(|paid| paid.as_ref().err()) {
                tracing::debug!(owed = state.debts.len(), error = %error.report(), "uploads that are to go stay in the journal");
                return false;
            }
        }
        true
    }

    fn count(&self, state: &State) {
        self.metrics.drops_owed.set(i64::try_from(state.debts.len()).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts another one of a tenant, if there is room for it.
    fn take_room(&mut self, tenant: &TenantName) -> bool {
        let own = self.counts.get(tenant).copied().unwrap_or(0);
        let has_room = own < DEBTS_MAX.saturating_sub(self.debts.len());
        if has_room {
            self.counts.insert(tenant.clone(), own + 1);
        }
        has_room
    }

    fn give_room_back(&mut self, tenant: &TenantName) {
        if let Some(own) = self.counts.get_mut(tenant) {
            *own -= 1;
            if *own == 0 {
                self.counts.remove(tenant);
            }
        }
    }
}

impl Debt {
    /// Whether nothing is left of it.
    async fn pay(&self, key: &ObjectKey) -> StoreResult<bool> {
        if self.until <= unix_now() {
            return Ok(true);
        }
        match self.uploads.read_any(key).await?.filter(|entry| self.obsolete.covers(entry)) {
            // Somebody may have taken it over at the same moment: the next round tells.
            Some(entry) => self.uploads.try_drop(&entry).await,
            None => Ok(true),
        }
    }
}

impl Uploads {
    /// Whether an entry is to go as soon as the journal takes that.
    pub(super) fn is_owed(&self, entry: &JournalEntry) -> bool {
        self.owed.covers(&self.tenant, entry)
    }

    /// `begun`, or the second that is to count in its place so that what is at this name from now on does not go with
    /// what was there before: servers of the store tell the time, and a RENAME comes long after the begin.
    pub(super) fn counts_from(&self, key: &ObjectKey, begun: u64) -> u64 {
        begun.max(self.owed.second(&self.tenant, key).unwrap_or(0))
    }

    /// By the store's clock, in seconds since the Unix epoch.
    pub(super) fn now(&self) -> u64 {
        unix_seconds(self.store.now().unwrap_or_else(SystemTime::now))
    }

    /// Has an entry removed as soon as the journal answers.
    pub(super) fn owe(self: &Arc<Self>, key: &ObjectKey, obsolete: Obsolete) {
        self.owed.add(self, key, obsolete);
    }

    /// The same for whatever is there by now, where the journal did not tell what that is.
    pub(crate) fn owe_unseen(self: &Arc<Self>, key: &ObjectKey) {
        self.owe(key, Obsolete::Before(self.now()));
    }

    /// Drops the upload of a file in the background, if there is one.
    pub(crate) fn drop_earlier(self: &Arc<Self>, key: &ObjectKey) -> Option<Earlier> {
        self.journal.as_ref()?;
        let (uploads, key, unseen) = (Arc::clone(self), key.clone(), Obsolete::Before(self.now()));
        Some(earlier(async move {
            match uploads.read_any(&key).await {
                Ok(Some(entry)) => uploads.drop_or_tell(&entry).await,
                Ok(None) => None,
                Err(error) => {
                    tracing::warn!(error = %error.report(), "the journal of uploads can't be read");
                    uploads.owe(&key, unseen);
                    Some(unseen)
                }
            }
        }))
    }

    /// Drops an upload, and tells what that left.
    pub(super) async fn drop_or_tell(self: &Arc<Self>, entry: &JournalEntry) -> Option<Obsolete> {
        (!self.drop_entry(entry).await).then_some(Obsolete::Seen(entry.generation))
    }

    /// Drops an upload unless it has another owner by now. Tells whether it did; where the journal does not answer,
    /// it is tried again in the background.
    pub(crate) async fn drop_entry(self: &Arc<Self>, entry: &JournalEntry) -> bool {
        self.try_drop(entry).await.unwrap_or_else(|error| {
            tracing::warn!(key = %entry.key, error = %error.report(), "an upload stays in the journal for now");
            self.lose(entry.generation);
            self.owe(&entry.key, Obsolete::Seen(entry.generation));
            false
        })
    }

    /// The same, once.
    pub(super) async fn try_drop(&self, entry: &JournalEntry) -> StoreResult<bool> {
        let Some(journal) = &self.journal else { return Ok(false) };
        let is_dropped = journal.remove(&self.tenant, &entry.key, entry.generation).await?;
        if is_dropped {
            self.lose(entry.generation);
            self.metrics.interrupted_dropped.inc();
            self.clear(&entry.record).await;
        }
        Ok(is_dropped)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tidegate_store::memory::{MemoryJournal, MemoryObjectStore};

    use super::*;
    use crate::hidden::Hidden;
    use crate::journal::Life;

    fn owed() -> Arc<Owed> {
        Owed::new(Metrics::register(&Registry::new()).unwrap())
    }

    fn uploads(tenant: &str, owed: &Arc<Owed>) -> Arc<Uploads> {
        let of = (tenant.parse().unwrap(), "user".parse().unwrap());
        let life = Life { idle: Duration::from_secs(60), whole: Duration::from_secs(600) };
        let (journal, store) = (Arc::new(MemoryJournal::new()), Arc::new(MemoryObjectStore::new()));
        let hidden = Hidden::beside(&"".parse().unwrap());
        Uploads::new(Some(journal), store, of, hidden, life, (Arc::clone(owed), Arc::default()))
    }

    fn key(number: usize) -> ObjectKey {
        ObjectKey::new(number.to_string()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_node_owes_has_a_limit_and_what_is_beyond_it_is_counted() {
        let owed = owed();
        let counts = || (owed.metrics.drops_owed.get(), owed.metrics.drops_given_up.get() as i64);
        let (most, each) = (DEBTS_MAX as i64, DEBTS_MAX / 64);
        let tenants: Vec<_> = (0..64).map(|n| uploads(&format!("tenant{n}"), &owed)).collect();
        for number in 0..each {
            tenants.iter().for_each(|uploads| uploads.owe_unseen(&key(number)));
        }
        let (before, given_up) = counts();
        assert_eq!(before + given_up, most);
        assert!(before < most && before > most - 2 * each as i64, "{before} of {most}");
        tenants[0].owe_unseen(&key(0));
        assert_eq!(counts(), (before, given_up), "one that is there already takes no room");
        tenants[0].owe_unseen(&key(each));
        assert_eq!(counts(), (before, given_up + 1));
        owed.settle().await;
        assert_eq!(counts(), (0, given_up + 1));
        assert!(owed.lock().counts.is_empty());
        tenants[0].owe_unseen(&key(each));
        assert_eq!(counts(), (1, given_up + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_owes_all_it_can_leaves_room_for_others() {
        let owed = owed();
        let fill = |tenant| {
            let (uploads, before) = (uploads(tenant, &owed), owed.metrics.drops_owed.get());
            (0..DEBTS_MAX + 1).for_each(|number| uploads.owe_unseen(&key(number)));
            owed.metrics.drops_owed.get() - before
        };
        let taken = ["one", "two", "three"].map(fill);
        assert_eq!(taken, [DEBTS_MAX / 2, DEBTS_MAX / 4, DEBTS_MAX / 8].map(|count| count as i64));
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_have_expired_is_owed_no_longer() {
        let uploads = uploads("tenant", &owed());
        uploads.owe_unseen(&key(0));
        uploads.owed.lock().debts.values_mut().for_each(|debt| debt.until = unix_now());
        uploads.owed.settle().await;
        assert_eq!((uploads.metrics.drops_owed.get(), uploads.metrics.drops_given_up.get()), (0, 0));
    }
}
