//! One run of the object store's suite: its keys, and the calls that most checks make.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;

use super::deviation::Deviation;
use super::outcome::done;
use crate::checksum::Checksum;
use crate::error::StoreResult;
use crate::object::{
    Body, ByteRange, Condition, ETag, GetObject, ListRequest, ListedObject, ObjectAttributes, ObjectKey, Receipt,
};
use crate::object_store::{ObjectStore, PartNumber, StoredPart, Upload};

/// How many pages a walk takes at most before it is said to have no end.
const PAGES_MAX: usize = 500;

/// One run of the suite on one store.
pub(super) struct Suite<'a> {
    pub(super) store: Arc<dyn ObjectStore>,
    /// By which uploads are listed.
    lister: Arc<dyn ObjectStore>,
    prefix: &'a str,
    deviations: &'a [Deviation],
}

impl<'a> Suite<'a> {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        lister: Arc<dyn ObjectStore>,
        prefix: &'a str,
        deviations: &'a [Deviation],
    ) -> Self {
        Self { store, lister, prefix, deviations }
    }

    /// Checks a rule that emulators are known to break: where `deviation` is listed, it must be
    /// broken.
    #[track_caller]
    pub(super) fn rule(&self, rule: &str, deviation: Deviation, outcome: Result<(), String>) {
        match (self.deviates(deviation), outcome) {
            (false, Err(instead)) => panic!("{rule}: {instead}"),
            (true, Ok(())) => panic!("{rule}: holds, so take {deviation:?} off the list"),
            _ => {}
        }
    }

    pub(super) fn deviates(&self, deviation: Deviation) -> bool {
        self.deviations.contains(&deviation)
    }

    /// The run's prefix followed by `name`.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    #[track_caller]
    pub(super) fn key(&self, name: &str) -> ObjectKey {
        match ObjectKey::new(self.path(name)) {
            Some(key) => key,
            None => panic!("the suite made a key that is too long: {name:?}"),
        }
    }

    /// A PUT with the right checksum and no attributes.
    pub(super) async fn try_put(
        &self,
        key: &ObjectKey,
        bytes: impl Into<Bytes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        put(&*self.store, key, bytes.into(), condition).await
    }

    pub(super) async fn put(&self, key: &ObjectKey, bytes: impl Into<Bytes>) -> ETag {
        done("put", self.try_put(key, bytes, &Condition::Always).await).etag
    }

    pub(super) async fn get(&self, key: &ObjectKey) -> (GetObject, Vec<u8>) {
        self.get_range(key, None).await
    }

    pub(super) async fn get_range(&self, key: &ObjectKey, range: Option<ByteRange>) -> (GetObject, Vec<u8>) {
        let mut object = done("get", self.store.get(key, range, None).await);
        let body = std::mem::replace(&mut object.body, Box::pin(futures::stream::empty()));
        (object, done("the body of a get", drain(body).await))
    }

    #[track_caller]
    pub(super) fn assert_bytes(rule: &str, found: &[u8], expected: &[u8]) {
        assert!(
            found == expected,
            "{rule}: got {} bytes, expected {}; the first difference is at {:?}",
            found.len(),
            expected.len(),
            found.iter().zip(expected).position(|(left, right)| left != right)
        );
    }

    pub(super) async fn begin(&self, key: &ObjectKey) -> Upload {
        done("begin_upload", self.store.begin_upload(key, &ObjectAttributes::default()).await)
    }

    pub(super) async fn try_put_part(
        &self,
        upload: &Upload,
        number: u16,
        bytes: impl Into<Bytes>,
    ) -> StoreResult<StoredPart> {
        let body = Body::from(bytes.into());
        let checksum = body.checksum();
        self.store.put_part(upload, part_number(number), body, checksum).await
    }

    pub(super) async fn put_part(&self, upload: &Upload, number: u16, bytes: impl Into<Bytes>) -> StoredPart {
        done("put_part", self.try_put_part(upload, number, bytes).await)
    }

    /// An upload of one small part, ready to be completed.
    pub(super) async fn small_upload(&self, key: &ObjectKey, bytes: impl Into<Bytes>) -> (Upload, StoredPart) {
        let upload = self.begin(key).await;
        let part = self.put_part(&upload, 1, bytes).await;
        (upload, part)
    }

    /// Everything under `prefix`, in pages of `limit`, in the order of arrival; common prefixes
    /// as a second list.
    pub(super) async fn walk(&self, prefix: &str, delimited: bool, limit: u16) -> Vec<Page> {
        self.walk_behind(prefix, None, delimited, limit).await
    }

    /// The same behind a place in it.
    pub(super) async fn walk_behind(
        &self,
        prefix: &str,
        start_after: Option<String>,
        delimited: bool,
        limit: u16,
    ) -> Vec<Page> {
        let mut request = ListRequest { prefix: prefix.to_owned(), delimited, limit, continuation: None, start_after };
        let mut pages = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = done("list", self.store.list(&request).await);
            request.continuation = page.next;
            pages.push(Page { objects: page.objects, common_prefixes: page.common_prefixes });
            if request.continuation.is_none() {
                return pages;
            }
        }
        panic!("a listing of {prefix:?} with limit {limit} did not end within {PAGES_MAX} pages");
    }

    /// The page of a listing that holds this key alone.
    pub(super) fn page_of(&self, key: &ObjectKey) -> ListRequest {
        let prefix = key.as_str().to_owned();
        ListRequest { prefix, delimited: false, limit: 1_000, continuation: None, start_after: None }
    }

    /// Every key under `prefix`.
    pub(super) async fn keys(&self, prefix: &str) -> Vec<ObjectKey> {
        let pages = self.walk(prefix, false, 1_000).await;
        pages.into_iter().flat_map(|page| page.objects).map(|object| object.key).collect()
    }

    /// Every running upload whose key begins with `prefix`.
    pub(super) async fn uploads(&self, prefix: &str) -> Vec<Upload> {
        self.uploads_behind(prefix, None).await
    }

    pub(super) async fn uploads_behind(&self, prefix: &str, after: Option<&Upload>) -> Vec<Upload> {
        let mut uploads = Vec::new();
        let mut after = after.cloned();
        for _ in 0..PAGES_MAX {
            let page = done("list_uploads", self.lister.list_uploads(prefix, after.as_ref()).await);
            uploads.extend(page.uploads);
            after = page.next;
            if after.is_none() {
                return uploads;
            }
        }
        panic!("a listing of the uploads under {prefix:?} did not end within {PAGES_MAX} pages");
    }

    /// Every part of an upload behind a number.
    pub(super) async fn parts_behind(&self, upload: &Upload, after: Option<PartNumber>) -> Vec<StoredPart> {
        let mut parts = Vec::new();
        let mut after = after;
        for _ in 0..PAGES_MAX {
            let page = done("list_parts", self.store.list_parts(upload, after).await);
            parts.extend(page.parts);
            after = page.next;
            if after.is_none() {
                return parts;
            }
        }
        panic!("a listing of the parts of {upload:?} did not end within {PAGES_MAX} pages");
    }

    /// Removes all objects and uploads of the run.
    pub(super) async fn sweep(&self) {
        for key in self.keys(self.prefix).await {
            done("delete", self.store.delete(&key).await);
        }
        for upload in self.uploads(self.prefix).await {
            assert!(upload.key.as_str().starts_with(self.prefix), "list_uploads left its prefix: {}", upload.key);
            done("abort_upload", self.store.abort_upload(&upload).await);
        }
    }

    pub(super) async fn is_swept(&self) {
        assert_eq!(self.keys(self.prefix).await, [], "deleted objects are listed");
        assert_eq!(self.uploads(self.prefix).await, [], "aborted uploads are listed");
    }
}

/// A page of a listing.
pub(super) struct Page {
    pub(super) objects: Vec<ListedObject>,
    pub(super) common_prefixes: Vec<String>,
}

pub(super) async fn put(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    bytes: Bytes,
    condition: &Condition,
) -> StoreResult<Receipt> {
    let body = Body::from(bytes);
    let checksum = body.checksum();
    store.put(key, body, checksum, &ObjectAttributes::default(), condition).await
}

pub(super) async fn drain(body: crate::object::ByteStream) -> StoreResult<Vec<u8>> {
    body.try_fold(Vec::new(), |mut bytes, chunk| async move {
        bytes.extend_from_slice(&chunk);
        Ok(bytes)
    })
    .await
}

#[track_caller]
pub(super) fn part_number(number: u16) -> PartNumber {
    match PartNumber::new(number) {
        Some(number) => number,
        None => panic!("the suite made a part number that is out of range: {number}"),
    }
}

/// Bytes that differ from place to place and from seed to seed.
pub(super) fn pattern(seed: u8, len: usize) -> Bytes {
    let mut state = u32::from(seed).wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        // xorshift32, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut bytes = Vec::with_capacity(len + 3);
    while bytes.len() < len {
        bytes.extend_from_slice(&next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// A checksum of as many bytes as `bytes` has, but of others.
pub(super) fn wrong_checksum(bytes: &[u8]) -> Checksum {
    Checksum::of(&bytes.iter().map(|byte| !byte).collect::<Vec<_>>())
}
