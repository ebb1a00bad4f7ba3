//! The port to an object store.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::account::Tenant;
use crate::checksum::{Checksum, KeptChecksums};
use crate::error::StoreResult;
use crate::object::{
    Body, ByteRange, Condition, CopySource, ETag, GetObject, ListPage, ListRequest, ObjectAttributes, ObjectKey,
    ObjectMeta, Receipt, Tags,
};

/// The number of a part in a multipart upload: 1 to 10,000.
/// Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartNumber(u16);

impl PartNumber {
    /// The first part.
    pub const FIRST: Self = Self(1);
    /// The last part that S3 accepts.
    pub const LAST: Self = Self(10_000);

    /// Takes a number that S3 accepts.
    pub fn new(number: u16) -> Option<Self> {
        (Self::FIRST.0..=Self::LAST.0).contains(&number).then_some(Self(number))
    }

    /// The number, 1 to 10,000.
    pub fn number(self) -> u16 {
        self.0
    }
}

/// S3's limits, in bytes. Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits".
pub mod limits {
    /// The least size of every part but the last: 5 MiB.
    pub const PART_MIN: u64 = 5 << 20;
    /// The greatest size of a part, of a single PUT and of a single CopyObject: 5 GiB.
    pub const PART_MAX: u64 = 5 << 30;
    /// The greatest size of an object that tools written before 2026 expect: 5 TiB.
    pub const OBJECT_MAX: u64 = 5 << 40;
    /// The greatest number of parts.
    pub const PARTS_MAX: u16 = 10_000;
    /// The greatest page of a listing.
    pub const LIST_MAX: u16 = 1_000;
}

/// A multipart upload that was begun and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// The key that completion will publish.
    pub key: ObjectKey,
    /// The store's name for it.
    pub id: String,
}

/// A part that the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// Its place.
    pub number: PartNumber,
    /// The store's tag for its bytes; completion names it.
    pub etag: ETag,
    /// Length in bytes.
    pub size: u64,
    /// The checksum of the part: as it was sent, or as the store tells it of a part that it copied or lists.
    /// Not known where the store does not tell.
    pub checksum: Option<Checksum>,
}

/// One page of an upload's parts, ordered by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartsPage {
    /// The parts.
    pub parts: Vec<StoredPart>,
    /// Asks for the page behind this one; `None` on the last.
    pub next: Option<PartNumber>,
}

/// One page of the uploads that are neither completed nor aborted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadsPage {
    /// The uploads, ordered by key.
    pub uploads: Vec<Upload>,
    /// Asks for the page behind this one; `None` on the last.
    pub next: Option<Upload>,
}

/// One bucket of an object store with S3's semantics: strongly consistent, whole-object writes,
/// conditional writes with exactly one winner.
///
/// Every implementation passes [`crate::conformance::object_store`]. Implementations retry passing
/// faults themselves, in one place, before they answer with a transient kind; callers never retry
/// single requests. Dropping a future cancels the request; a write may still have taken effect.
#[async_trait]
pub trait ObjectStore: fmt::Debug + Send + Sync {
    /// The store's own clock, which its `LastModified` follows, as far as its answers have told it:
    /// `None` before the first. Never ahead of the store's clock by more than its servers differ and
    /// the resolution of what they tell (1 s); behind it by as long as an answer takes.
    fn now(&self) -> Option<SystemTime>;

    /// Size, tag and attributes of an object.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    async fn head(&self, key: &ObjectKey) -> StoreResult<ObjectMeta>;

    /// The checksums that the store keeps for the whole object. Apart from [`ObjectStore::head`]
    /// because S3 asks for more for them: the right to decrypt the object, and a call of KMS where a
    /// key of it is in use. Source: Amazon S3 API Reference, HeadObject, `x-amz-checksum-mode`.
    ///
    /// # Errors
    /// `NotFound`; `PreconditionFailed` if `if_match` names another version.
    async fn kept_checksums(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<KeptChecksums>;

    /// The CRC-64/NVME of [`ObjectStore::kept_checksums`].
    ///
    /// # Errors
    /// As there.
    async fn checksum(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<Option<Checksum>> {
        Ok(self.kept_checksums(key, if_match).await?.crc64nvme)
    }

    /// The tags of an object.
    ///
    /// # Errors
    /// `NotFound`; `AccessDenied`, also where it has none; `Unsupported` if the store has no tags.
    async fn tags(&self, key: &ObjectKey) -> StoreResult<Tags>;

    /// Streams an object, or the part of `range` that lies inside it.
    ///
    /// # Errors
    /// `NotFound`; `PreconditionFailed` if `if_match` names another version;
    /// `RangeNotSatisfiable` if the range begins at or past the end (an empty object has no
    /// satisfiable range). The stream itself may fail with a transient kind: ask again from where
    /// it stopped. It never mixes versions, whatever happens to the object meanwhile.
    async fn get(&self, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> StoreResult<GetObject>;

    /// One page of keys, in the order of their UTF-8 bytes.
    ///
    /// # Errors
    /// `InvalidRequest` for a continuation that the store did not hand out.
    async fn list(&self, request: &ListRequest) -> StoreResult<ListPage>;

    /// Stores a whole object in one request, at most [`limits::PART_MAX`] bytes. `checksum` is
    /// that of the body as its producer saw it.
    ///
    /// # Errors
    /// `PreconditionFailed` if `condition` does not hold; `Corrupt` if the bytes that arrived do
    /// not match `checksum`.
    async fn put(
        &self,
        key: &ObjectKey,
        body: Body,
        checksum: Checksum,
        attributes: &ObjectAttributes,
        condition: &Condition,
    ) -> StoreResult<Receipt>;

    /// Begins a multipart upload. The attributes can't be changed later: completion publishes
    /// them as they are given here.
    ///
    /// # Errors
    /// Any that talking to the store may give.
    async fn begin_upload(&self, key: &ObjectKey, attributes: &ObjectAttributes) -> StoreResult<Upload>;

    /// Stores one part; a part of the same number is replaced.
    ///
    /// # Errors
    /// `NotFound` if the upload is gone; `Corrupt` as for [`ObjectStore::put`].
    async fn put_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        body: Body,
        checksum: Checksum,
    ) -> StoreResult<StoredPart>;

    /// Makes a part from a range of an object in the same bucket, inside the store
    /// (UploadPartCopy), at most [`limits::PART_MAX`] bytes.
    ///
    /// # Errors
    /// `NotFound` if the upload or the source is gone; `PreconditionFailed` if the source is
    /// another version; `InvalidRequest` if the range leaves the source.
    async fn copy_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        source: &CopySource,
        range: ByteRange,
    ) -> StoreResult<StoredPart>;

    /// Publishes the upload as one object made of `parts`, in order and numbered from 1 without
    /// gaps: S3 asks for that where parts carry checksums (API Reference, `CompletedPart`,
    /// `PartNumber`). Parts of the upload that are not named are dropped. `checksum` is that of
    /// the whole object where the caller knows it.
    ///
    /// # Errors
    /// `NotFound` if the upload is gone; `PreconditionFailed` if `condition` does not hold (the
    /// upload stays, to be aborted); `InvalidRequest` if a part is missing or too small;
    /// `Corrupt` if the whole does not match `checksum`.
    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Receipt>;

    /// Drops an upload and its parts. Succeeds if the upload is gone already.
    ///
    /// # Errors
    /// Any that talking to the store may give.
    async fn abort_upload(&self, upload: &Upload) -> StoreResult<()>;

    /// One page of the parts that the store holds for an upload, behind `after`.
    ///
    /// # Errors
    /// `NotFound` if the upload is gone.
    async fn list_parts(&self, upload: &Upload, after: Option<PartNumber>) -> StoreResult<PartsPage>;

    /// One page of the running uploads under a prefix of keys, behind `after`.
    ///
    /// # Errors
    /// Any that talking to the store may give.
    async fn list_uploads(&self, prefix: &str, after: Option<&Upload>) -> StoreResult<UploadsPage>;

    /// Copies an object of at most [`limits::PART_MAX`] bytes inside the store (CopyObject), with
    /// new attributes, or those of the source where `attributes` is `None`, but for its storage class,
    /// which is `STANDARD` then, and its website redirect, which S3 does not copy. Its tags are the source's
    /// in any case. Source and target may be the same key if attributes are given.
    ///
    /// # Errors
    /// `NotFound` if the source is gone; `AccessDenied` if it has tags that may not be read or given to
    /// another; `PreconditionFailed` if the source is another version or `condition` on the target does
    /// not hold; `Unsupported` if the store can't check `condition` on a copy.
    async fn copy(
        &self,
        source: &CopySource,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt>;

    /// Removes an object. Succeeds if there is none, as S3 does.
    ///
    /// # Errors
    /// Any that talking to the store may give.
    async fn delete(&self, key: &ObjectKey) -> StoreResult<()>;

    /// Removes an object if it still is this version (`If-Match`). Succeeds if there is none.
    ///
    /// # Errors
    /// `PreconditionFailed` if it is another version: that one stays.
    async fn delete_version(&self, key: &ObjectKey, etag: &ETag) -> StoreResult<()>;
}

/// Opens the object store that holds a tenant's files, with credentials that reach no other
/// tenant where the provider can do that.
#[async_trait]
pub trait ObjectStores: fmt::Debug + Send + Sync {
    /// The store of this tenant's bucket. Cheap: called once per session.
    ///
    /// # Errors
    /// `AccessDenied` or a transient kind if credentials can't be had.
    async fn open(&self, tenant: &Tenant) -> StoreResult<Arc<dyn ObjectStore>>;
}
