//! The checksum of the whole object, as the store tells it.

use bytes::Bytes;

use super::deviation::Deviation;
use super::outcome::{done, refused};
use super::suite::{Suite, pattern};
use crate::checksum::Checksum;
use crate::error::{StoreErrorKind, StoreResult};
use crate::object::{ByteRange, Condition, ETag};

pub(super) async fn check(suite: &Suite<'_>) {
    let key = suite.key("checksums/piece");
    let bytes = pattern(6, 100_001);
    let whole = Checksum::of(&bytes);
    let etag = suite.put(&key, bytes).await;
    let piece = told(whole, suite.store.checksum(&key, Some(&etag)).await);
    let (object, _) = suite.get(&key).await;
    let with_the_bytes = told(whole, Ok(object.meta.checksum));

    let in_parts = suite.key("checksums/parts");
    let content = Bytes::from_static(b"in one part");
    let (upload, part) = suite.small_upload(&in_parts, content.clone()).await;
    let sum = Checksum::of(&content);
    let completed = suite.store.complete_upload(&upload, &[part], Some(sum), &Condition::Always).await;
    done("complete_upload with the checksum of the whole", completed);
    let parts = told(sum, suite.store.checksum(&in_parts, None).await);

    suite.rule(
        "the checksum of a whole object is told, whether it came in one piece or in parts",
        Deviation::ChecksumNotKept,
        piece.and(with_the_bytes).and(parts),
    );
    for range in [(0, 1), (0, 100_000), (1, 200_000), (0, 100_001), (0, 200_000), (70_000, 100)] {
        let (object, _) = suite.get_range(&key, Some(ByteRange::new(range.0, range.1))).await;
        let told = object.meta.checksum;
        assert!(told.is_none_or(|told| told == whole), "{told:?} with {range:?} is not that of the whole object");
    }

    let other = ETag::new("\"00000000000000000000000000000000\"");
    let result = suite.store.checksum(&key, Some(&other)).await;
    refused("the checksum of another version", StoreErrorKind::PreconditionFailed, result);
    let missing = suite.key("checksums/missing");
    refused("the checksum of a missing object", StoreErrorKind::NotFound, suite.store.checksum(&missing, None).await);
}

fn told(expected: Checksum, result: StoreResult<Option<Checksum>>) -> Result<(), String> {
    match result {
        Ok(Some(found)) if found == expected => Ok(()),
        Ok(found) => Err(format!("expected {expected:?}, got {found:?}")),
        Err(error) => Err(error.report()),
    }
}
