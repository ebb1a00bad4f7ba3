//! Whether an object's tag is its MD5.
//!
//! S3's is for what came, or was copied, in one request, unless a key of KMS or of the client's encrypts
//! it. Source: Amazon S3 API Reference, Object, `ETag`. In directory buckets, and on some other stores, tags
//! look the same and are something else, and no answer says so. So a bucket is believed from the moment
//! that it gave an object of ours the MD5 of what this node had sent, and never once it did not.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_s3::types::ServerSideEncryption;
use tidegate_store::{Body, ETag, md5};

/// The bodies that are compared, by their length in bytes: an MD5 of so few takes a fraction of a
/// millisecond, and the tag of nothing might be one that a store keeps for that.
const COMPARED: RangeInclusive<u64> = 1..=64 << 10;

/// How many buckets are remembered at most; of further ones nothing is believed.
const BUCKETS_MAX: usize = 10_000;

/// What is known of the tags of buckets. Clones know the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Md5Tags(Arc<Mutex<HashMap<Arc<str>, bool>>>);

impl Md5Tags {
    /// What a PUT of `body` can teach about the bucket: to be compared with the tag that it gets.
    pub(super) fn lesson(&self, bucket: &Arc<str>, body: &Body) -> Option<Body> {
        let known = self.known();
        let is_open = !known.contains_key(bucket) && known.len() < BUCKETS_MAX;
        (is_open && COMPARED.contains(&body.len())).then(|| body.clone())
    }

    /// Learns from the tag that a plain PUT got.
    pub(super) fn learn(&self, bucket: &Arc<str>, lesson: &Body, etag: &ETag) {
        let is_md5 = parse(etag) == Some(md5(lesson.chunks().iter().map(|chunk| &**chunk)));
        let mut known = self.known();
        if known.len() < BUCKETS_MAX || known.contains_key(bucket) {
            known.entry(Arc::clone(bucket)).and_modify(|so_far| *so_far &= is_md5).or_insert(is_md5);
        }
    }

    /// The MD5 of a plain object with this tag, where the bucket is known to tell it.
    pub(super) fn md5(&self, bucket: &str, etag: &ETag) -> Option<[u8; 16]> {
        let is_believed = self.known().get(bucket) == Some(&true);
        parse(etag).filter(|_| is_believed)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether no key of KMS and none of the client's encrypts an object, by what its answer says. S3 names
/// its own keys (`AES256`) or, for what is older than them, nothing.
pub(super) fn is_plain(
    encryption: Option<&ServerSideEncryption>,
    kms_key: Option<&str>,
    client_algorithm: Option<&str>,
) -> bool {
    matches!(encryption, None | Some(ServerSideEncryption::Aes256)) && kms_key.is_none() && client_algorithm.is_none()
}

/// A tag of 32 hexadecimal digits; one of an object that came in parts has a `-` behind them.
fn parse(etag: &ETag) -> Option<[u8; 16]> {
    let digits = etag.as_str().strip_prefix('"')?.strip_suffix('"')?;
    let is_hex = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(digits, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tags_of_thirty_two_digits_are_taken_for_an_md5() {
        let of_abc = "900150983cd24fb0d6963f7d28e17f72";
        let parsed = |tag: &str| parse(&ETag::new(tag));
        assert_eq!(parsed(&format!("\"{of_abc}\"")), Some(md5([&b"a"[..], b"bc"])));
        for other in [
            of_abc.to_owned(),
            format!("W/\"{of_abc}\""),
            format!("\"{of_abc}-1\""),
            format!("\"+{}\"", &of_abc[1..]),
            format!("\"{}\"", &of_abc[1..]),
            "\"\"".to_owned(),
        ] {
            assert_eq!(parsed(&other), None, "{other}");
        }
    }

    #[test]
    fn buckets_are_remembered_within_a_limit() {
        let (tags, body) = (Md5Tags::default(), Body::from(&b"abc"[..]));
        let etag = ETag::new("\"900150983cd24fb0d6963f7d28e17f72\"");
        for n in 0..=BUCKETS_MAX {
            let bucket = Arc::from(format!("bucket{n}"));
            assert_eq!(tags.lesson(&bucket, &body).is_some(), n < BUCKETS_MAX);
            tags.learn(&bucket, &body, &etag);
            assert_eq!(tags.md5(&bucket, &etag).is_some(), n < BUCKETS_MAX);
        }
        assert_eq!(tags.known().len(), BUCKETS_MAX);
    }
}
