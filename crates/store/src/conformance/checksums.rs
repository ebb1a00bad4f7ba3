//! The checksum of the whole object, as the store tells it.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use bytes::Bytes;

use super::deviation::Deviation;
use super::outcome::{done, refused};
use super::suite::{Suite, pattern};
use crate::checksum::{Checksum, md5};
use crate::error::{StoreErrorKind, StoreResult};
use crate::object::{ByteRange, Condition, CopySource, ETag};

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

    // What it need not keep is right where it tells it: of one piece, of parts, and of copies of both.
    for (key, bytes) in [(&key, pattern(6, 100_001)), (&in_parts, content)] {
        let copied = suite.key("checksums/copied");
        let source = CopySource { key: key.clone(), if_match: None };
        done("copy", suite.store.copy(&source, &copied, None, &Condition::Always).await);
        for key in [key, &copied] {
            let kept = done("kept_checksums", suite.store.kept_checksums(key, None).await);
            let is_right = |told: Option<&[u8]>, expected: &[u8]| told.is_none_or(|told| told == expected);
            assert!(is_right(kept.md5.as_ref().map(|sum| &sum[..]), &md5([&*bytes])), "{key}: another MD5");
            let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &bytes);
            assert!(is_right(kept.sha1.as_ref().map(|sum| &sum[..]), sha1.as_ref()), "{key}: another SHA-1");
            let sha256 = digest(&SHA256, &bytes);
            assert!(is_right(kept.sha256.as_ref().map(|sum| &sum[..]), sha256.as_ref()), "{key}: another SHA-256");
        }
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
