//! The journal of uploads: what any node has to know of an upload to go on with it.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::account::{TenantName, UserName};
use crate::error::StoreResult;
use crate::object::{Condition, ETag, ObjectAttributes, ObjectKey};
use crate::object_store::Upload;

/// Who has an upload at the moment. Whoever opens the file draws a new one, and what is written with the
/// old one is refused from then on. Generations are random and have no order, so that an entry made anew
/// never has one that was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(u64);

impl Generation {
    /// One that nobody has had.
    pub fn fresh() -> Self {
        Self(rand::random())
    }

    /// One that was read.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Whether somebody works on an upload, as far as the journal knows: a node that died could not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UploadState {
    /// It was cut, and nothing of it is on its way any more.
    Cut,
    /// A session has it open, or had when its node died.
    Running,
}

/// Bytes behind the parts, too few for a part of their own: an object beside the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// The object that holds them.
    pub key: ObjectKey,
    /// Where they begin in the file.
    pub offset: u64,
    /// Their number.
    pub len: u64,
}

/// The version of a file that an upload goes on behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseVersion {
    /// Its tag.
    pub etag: ETag,
    /// Its size in bytes.
    pub size: u64,
}

/// Parts with numbers at which an earlier owner may still have some on their way, or has left some behind:
/// of these only those count that the present owner wrote down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardedParts {
    /// The last part before them.
    pub after: u16,
    /// The last of them.
    pub until: u16,
    /// The present owner's: number and tag.
    pub parts: Vec<(u16, ETag)>,
}

/// A multipart upload in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multipart {
    /// Its key, which is not that of the file if that was renamed, and its id.
    pub upload: Upload,
    /// What it was begun with, and what completion publishes.
    pub attributes: ObjectAttributes,
    /// Numbers whose parts are not simply those that the store has.
    pub guarded: Option<GuardedParts>,
}

/// What is known of one upload. Which parts the store has, the store tells: [`crate::ObjectStore::list_parts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadRecord {
    /// Who began it.
    pub user: UserName,
    /// Whether somebody works on it.
    pub state: UploadState,
    /// When it was begun, by the store's clock if that was known: seconds since the Unix epoch.
    pub begun: u64,
    /// From when on it may be removed: seconds since the Unix epoch.
    pub expires: u64,
    /// The final size as its client told it; 0 if it did not.
    pub hint: u64,
    /// What the file is to have.
    pub attributes: ObjectAttributes,
    /// What must hold when it is published.
    pub condition: Condition,
    /// What it goes on behind.
    pub base: Option<BaseVersion>,
    /// The multipart upload; `None` while there is no part.
    pub multipart: Option<Multipart>,
    /// What lies behind the parts.
    pub tail: Option<Tail>,
    /// Its first part was written to after it had been sent, or its tail after that had been stored, and only the
    /// memory of its node has that: nobody else can go on with it.
    pub is_rewritten: bool,
}

/// One upload in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// The file's key.
    pub key: ObjectKey,
    /// Its present owner.
    pub generation: Generation,
    /// What is known of it.
    pub record: UploadRecord,
}

/// One page of a tenant's uploads, ordered by the bytes of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalPage {
    /// The uploads.
    pub entries: Vec<JournalEntry>,
    /// Asks for the page behind this one; `None` on the last.
    pub next: Option<ObjectKey>,
}

/// Where nodes write down what they are uploading, at most one entry for each file. Every implementation
/// passes [`crate::conformance::journal`].
///
/// All calls are strongly consistent. An implementation retries by itself, so a call may have taken effect
/// though it gave an error, and meets its own effect without harm.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync {
    /// The entry of a file.
    ///
    /// # Errors
    /// Any that talking to the service may give; `Corrupt` for an entry that is not understood.
    async fn read(&self, tenant: &TenantName, key: &ObjectKey) -> StoreResult<Option<JournalEntry>>;

    /// Puts an entry in the place of any that is there, and gives that.
    ///
    /// # Errors
    /// As [`Journal::read`], but for an old entry that is not understood: it counts as none.
    async fn replace(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<Option<JournalEntry>>;

    /// Makes an entry where there is none; `false` where there is one.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn create(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool>;

    /// Replaces an entry if its generation is `expected`, or that of `entry` already; `false` otherwise.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn update(&self, tenant: &TenantName, expected: Generation, entry: &JournalEntry) -> StoreResult<bool>;

    /// Gives an entry the generation `mine` if it has `expected`, or `mine` already, and changes nothing else of
    /// it. Gives it as it is then, with all that its owner wrote until that moment; `None` otherwise.
    ///
    /// # Errors
    /// As [`Journal::read`]. An entry that is not understood may have the new generation then.
    async fn take_over(
        &self,
        tenant: &TenantName,
        key: &ObjectKey,
        expected: Generation,
        mine: Generation,
    ) -> StoreResult<Option<JournalEntry>>;

    /// Removes an entry if it has this generation; `false` if it has another, or there is none: it may go on
    /// under another name.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn remove(&self, tenant: &TenantName, key: &ObjectKey, generation: Generation) -> StoreResult<bool>;

    /// Removes an entry as [`Journal::remove`] does, if it also expires when `entry` says: nobody has let it
    /// live on since that was read.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn remove_expired(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool>;

    /// Puts `to` in the place of `from`, which has another key, in one step: there is never a moment with both
    /// or neither. `false`, with nothing changed, if `from` has another generation or is gone, or what is at
    /// the key of `to` does not have the generation `over` (`None`: is there at all).
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn rename(
        &self,
        tenant: &TenantName,
        from: &JournalEntry,
        to: &JournalEntry,
        over: Option<Generation>,
    ) -> StoreResult<bool>;

    /// A page of a tenant's uploads whose keys begin with `prefix`, behind `after`.
    ///
    /// # Errors
    /// As [`Journal::read`], but for entries that are not understood: they are left out.
    async fn list(&self, tenant: &TenantName, prefix: &str, after: Option<&ObjectKey>) -> StoreResult<JournalPage>;

    /// Takes the right to remove what has expired, over the whole cluster, until the moment `until`;
    /// `false` while another has it. Both moments in seconds since the Unix epoch.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn claim_reaping(&self, now: u64, until: u64) -> StoreResult<bool>;
}

impl UploadRecord {
    /// Whether nothing is durable of the upload: it has neither parts nor a tail, nor anything that it goes on behind.
    pub fn holds_nothing(&self) -> bool {
        self.multipart.is_none() && self.tail.is_none() && self.base.is_none()
    }

    /// As text, for implementations.
    ///
    /// # Errors
    /// If it can't be written: never.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Reads what [`UploadRecord::to_json`] wrote.
    ///
    /// # Errors
    /// For anything else.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
