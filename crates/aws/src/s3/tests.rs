//! What goes over the wire, and what becomes of what comes back.

use base64::Engine as _;
use futures::TryStreamExt;
use tidegate_store::{
    Body, Checksum, Condition, ETag, ListRequest, ObjectAttributes, ObjectKey, PartNumber, Receipt, StoreErrorKind,
    StoreResult, StoredPart, Upload,
};

use super::mark::MARK;
use crate::config::Checksums;
use crate::wire::{Answer, Sent, Service, answer, s3_error};

const MARK_HEADER: &str = "x-amz-meta-tidegate-write";
const DATE: &str = "Sun, 22 Nov 2026 11:00:00 GMT";

fn key() -> ObjectKey {
    ObjectKey::new("dir/file").unwrap()
}

async fn put(service: &Service, condition: &Condition) -> StoreResult<Receipt> {
    let bucket = service.connect(|_| {}).await.bucket("files");
    let body: Body = ["some ", "bytes"].into_iter().map(bytes::Bytes::from).collect();
    let checksum = body.checksum();
    bucket.put(&key(), body, checksum, &ObjectAttributes::default(), condition).await
}

fn done(_: usize, _: &[Sent]) -> Answer {
    answer(200, &[("etag", "\"new\"")], "")
}

#[tokio::test]
async fn the_bytes_go_out_with_our_checksum_and_nothing_computed_by_the_sdk() {
    let service = Service::new(done);
    assert_eq!(put(&service, &Condition::Always).await.unwrap().etag, ETag::new("\"new\""));
    let sent = &service.sent()[0];
    assert_eq!((sent.method.as_str(), sent.body.as_slice()), ("PUT", &b"some bytes"[..]));
    // CRC-64/NVME, base64 of the big-endian value.
    let checksum = Checksum::of(b"some bytes");
    let decoded = super::BASE64.decode(sent.header("x-amz-checksum-crc64nvme").unwrap()).unwrap();
    assert_eq!(decoded, checksum.to_be_bytes());
    assert_eq!(sent.header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
    assert_eq!(sent.header("content-length"), Some("10"));
    for absent in
        ["x-amz-sdk-checksum-algorithm", "x-amz-checksum-crc32", "x-amz-trailer", "content-encoding", MARK_HEADER]
    {
        assert_eq!(sent.header(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn checksums_can_be_left_out_for_stores_that_refuse_them() {
    let service = Service::new(done);
    let bucket = service.connect(|config| config.checksums = Checksums::Off).await.bucket("files");
    let body = Body::from(&b"x"[..]);
    let checksum = body.checksum();
    bucket.put(&key(), body, checksum, &ObjectAttributes::default(), &Condition::Always).await.unwrap();
    assert_eq!(service.sent()[0].header("x-amz-checksum-crc64nvme"), None);
    assert_eq!(service.sent()[0].header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
}

#[tokio::test]
async fn a_checksum_of_another_number_of_bytes_is_refused_before_anything_is_sent() {
    let service = Service::new(done);
    let bucket = service.connect(|_| {}).await.bucket("files");
    let sent = bucket
        .put(&key(), Body::from(&b"xy"[..]), Checksum::of(b"x"), &ObjectAttributes::default(), &Condition::Always)
        .await;
    assert_eq!(sent.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert!(service.sent().is_empty());
}

#[tokio::test]
async fn passing_faults_are_retried_with_the_whole_body_and_a_limit() {
    let service = Service::new(|n, sent| match n {
        0 => None,
        1 => s3_error(503, "SlowDown"),
        _ => done(n, sent),
    });
    put(&service, &Condition::Always).await.unwrap();
    let bodies: Vec<_> = service.sent().into_iter().map(|sent| sent.body).collect();
    assert_eq!(bodies, [b"some bytes"; 3]);

    let down = Service::new(|_, _| s3_error(503, "SlowDown"));
    assert_eq!(put(&down, &Condition::Always).await.unwrap_err().kind(), StoreErrorKind::Throttled);
    assert_eq!(down.sent().len(), 3);
    let cut = Service::new(|_, _| None);
    assert_eq!(put(&cut, &Condition::Always).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(cut.sent().len(), 3);
}

#[tokio::test]
async fn a_condition_that_does_not_hold_is_believed_at_once() {
    let service = Service::new(|_, _| s3_error(412, "PreconditionFailed"));
    let error = put(&service, &Condition::IfAbsent).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::PreconditionFailed);
    let sent = service.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].header("if-none-match"), Some("*"));
}

/// The answer to the first PUT is lost, the second meets `second`, and the object is `found`.
async fn lost_answer(second: fn() -> Answer, found: fn(&str) -> Answer) -> StoreResult<Receipt> {
    let service = Service::new(move |n, sent| match n {
        0 => None,
        1 => second(),
        _ => {
            assert_eq!(sent[n].method, "HEAD");
            found(sent[0].header(MARK_HEADER).unwrap())
        }
    });
    put(&service, &Condition::IfAbsent).await
}

fn object_with_mark(mark: &str) -> Answer {
    answer(200, &[("etag", "\"ours\""), ("content-length", "10"), ("last-modified", DATE), (MARK_HEADER, mark)], "")
}

#[tokio::test]
async fn a_conditional_put_whose_answer_was_lost_knows_its_own_object() {
    let refused = || s3_error(412, "PreconditionFailed");
    let conflict = || s3_error(409, "ConditionalRequestConflict");
    for second in [refused, conflict] {
        assert_eq!(lost_answer(second, object_with_mark).await.unwrap().etag, ETag::new("\"ours\""));
    }
    let kind = async |second, found| lost_answer(second, found).await.unwrap_err().kind();
    assert_eq!(kind(refused, |_| object_with_mark("another")).await, StoreErrorKind::PreconditionFailed);
    assert_eq!(kind(refused, |_| s3_error(404, "")).await, StoreErrorKind::PreconditionFailed);
    // The first attempt may still be under way.
    assert_eq!(kind(conflict, |_| s3_error(404, "")).await, StoreErrorKind::Unavailable);
    assert_eq!(kind(refused, |_| None).await, StoreErrorKind::Unavailable);
}

async fn complete(service: &Service, condition: &Condition) -> StoreResult<Receipt> {
    let bucket = service.connect(|_| {}).await.bucket("files");
    let upload = Upload { key: key(), id: "u1".to_owned() };
    let part = StoredPart {
        number: PartNumber::FIRST,
        etag: ETag::new("\"part\""),
        size: 10,
        checksum: Some(Checksum::of(b"some bytes")),
    };
    bucket.complete_upload(&upload, &[part], Some(Checksum::of(b"some bytes")), condition).await
}

fn completed() -> Answer {
    answer(200, &[], "<CompleteMultipartUploadResult><ETag>&quot;whole-1&quot;</ETag></CompleteMultipartUploadResult>")
}

#[tokio::test]
async fn an_error_in_the_body_of_a_success_is_an_error() {
    let passing = Service::new(|n, _| if n == 0 { s3_error(200, "InternalError") } else { completed() });
    assert_eq!(complete(&passing, &Condition::Always).await.unwrap().etag, ETag::new("\"whole-1\""));
    assert_eq!(passing.sent().len(), 2);
    let sent = &passing.sent()[0];
    assert_eq!(sent.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    assert_eq!(sent.header("x-amz-mp-object-size"), Some("10"));
    assert!(sent.header("x-amz-checksum-crc64nvme").is_some());

    let lasting = Service::new(|_, _| s3_error(200, "InvalidPart"));
    let error = complete(&lasting, &Condition::Always).await.unwrap_err();
    assert_eq!((error.kind(), lasting.sent().len()), (StoreErrorKind::InvalidRequest, 1));
}

/// The answer to the first completion is lost, the second meets `second`; then the parts of the
/// upload are listed, and the object looked at.
async fn lost_completion(
    second: fn() -> Answer,
    parts: fn() -> Answer,
    object: fn() -> Answer,
) -> StoreResult<Receipt> {
    let service = Service::new(move |n, sent| match (n, sent[n].method.as_str()) {
        (0, _) => None,
        (1, _) => second(),
        (_, "GET") => parts(),
        _ => object(),
    });
    complete(&service, &Condition::IfAbsent).await
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_looked_at() {
    let gone = || s3_error(404, "NoSuchUpload");
    let refused = || s3_error(412, "PreconditionFailed");
    let kept = || answer(200, &[], "<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>");
    let ours: fn() -> Answer =
        || answer(200, &[("etag", "\"whole-1\""), ("content-length", "10"), ("last-modified", DATE)], "");
    for second in [gone, refused] {
        assert_eq!(lost_completion(second, gone, ours).await.unwrap().etag, ETag::new("\"whole-1\""));
    }
    let kind = async |second, parts, object| lost_completion(second, parts, object).await.unwrap_err().kind();
    // The upload is still there, so the object is another's.
    assert_eq!(kind(refused, kept, ours).await, StoreErrorKind::PreconditionFailed);
    // It is gone, but the object is not what it makes.
    let other: fn() -> Answer = || answer(200, &[("etag", "\"whole-1\""), ("content-length", "11")], "");
    assert_eq!(kind(refused, gone, other).await, StoreErrorKind::PreconditionFailed);
    let other: fn() -> Answer = || answer(200, &[("etag", "\"single\""), ("content-length", "10")], "");
    assert_eq!(kind(gone, gone, other).await, StoreErrorKind::NotFound);
    let other: fn() -> Answer = || {
        let checksum = ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=");
        answer(200, &[("etag", "\"whole-1\""), ("content-length", "10"), checksum], "")
    };
    assert_eq!(kind(gone, gone, other).await, StoreErrorKind::NotFound);
    assert_eq!(kind(gone, || None, ours).await, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_body_that_ends_early_is_a_passing_fault() {
    let service = Service::new(|_, _| {
        answer(200, &[("etag", "\"e\""), ("content-length", "10"), ("last-modified", DATE)], "short")
    });
    let bucket = service.connect(|_| {}).await.bucket("files");
    let object = bucket.get(&key(), None, None).await.unwrap();
    let read: StoreResult<Vec<_>> = object.body.try_collect().await;
    assert_eq!(read.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

/// GET of bytes 0 to 4 of an object of this size whose checksum in the answer is that of other bytes.
async fn ranged_answer(size: u64, header: &'static str) -> (Option<Checksum>, StoreResult<Vec<bytes::Bytes>>, Sent) {
    let service = Service::new(move |_, _| {
        let range = format!("bytes 0-4/{size}");
        let headers = [
            ("etag", "\"e\""),
            ("content-length", "5"),
            ("last-modified", DATE),
            ("content-range", range.as_str()),
            (header, "AAAAAAAAAAE="),
        ];
        answer(206, &headers, "bytes")
    });
    let bucket = service.connect(|_| {}).await.bucket("files");
    let object = bucket.get(&key(), Some(tidegate_store::ByteRange::new(0, 9)), None).await.unwrap();
    let read = object.body.try_collect().await;
    (object.meta.checksum, read, service.sent().remove(0))
}

#[tokio::test]
async fn checksums_of_answers_are_asked_for_and_left_to_the_reader() {
    let (told, read, sent) = ranged_answer(5, "x-amz-checksum-crc64nvme").await;
    assert_eq!(sent.header("x-amz-checksum-mode"), Some("ENABLED"));
    assert_eq!(told, Some(Checksum::new(1, 5)), "the range is the whole");
    assert_eq!(read.unwrap().concat(), b"bytes", "the SDK does not compare");
    let (told, read, _) = ranged_answer(50, "x-amz-checksum-crc64nvme").await;
    assert_eq!(
        (told, read.unwrap().concat()),
        (None, b"bytes".to_vec()),
        "what is told with a part is not the whole's"
    );
    let (told, read, _) = ranged_answer(5, "x-amz-checksum-crc32").await;
    assert_eq!((told, read.unwrap().concat()), (None, b"bytes".to_vec()), "a composite in disguise refuses nothing");
}

#[tokio::test]
async fn a_store_that_ignores_ranges_is_named() {
    let service = Service::new(|_, _| {
        answer(200, &[("etag", "\"e\""), ("content-length", "5"), ("last-modified", DATE)], "whole")
    });
    let bucket = service.connect(|_| {}).await.bucket("files");
    let error = bucket.get(&key(), Some(tidegate_store::ByteRange::new(1, 2)), None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unsupported);
}

#[tokio::test]
async fn names_in_listings_are_decoded_where_the_store_encoded_them() {
    let page = |encoding: &str| {
        let object = "<LastModified>2026-11-22T11:00:00.000Z</LastModified><ETag>e</ETag><Size>1</Size>";
        format!(
            "<ListBucketResult>{encoding}<IsTruncated>false</IsTruncated><Contents><Key>a+b%0A</Key>{object}\
             </Contents><CommonPrefixes><Prefix>c%01/</Prefix></CommonPrefixes></ListBucketResult>"
        )
    };
    for (encoding, key, prefix) in [("<EncodingType>url</EncodingType>", "a b\n", "c\u{1}/"), ("", "a+b%0A", "c%01/")] {
        let body = page(encoding);
        let service = Service::new(move |_, _| answer(200, &[], &body));
        let bucket = service.connect(|_| {}).await.bucket("files");
        let request =
            ListRequest { prefix: String::new(), delimited: true, limit: 7, continuation: None, start_after: None };
        let page = bucket.list(&request).await.unwrap();
        assert_eq!(page.objects[0].key.as_str(), key);
        assert_eq!(page.objects[0].etag, ETag::new("\"e\""), "quoted as everywhere");
        assert_eq!(page.common_prefixes, [prefix]);
        assert!(service.sent()[0].uri.contains("encoding-type=url"), "{}", service.sent()[0].uri);
    }
}

#[test]
fn the_mark_has_the_header_that_the_tests_look_for() {
    assert_eq!(format!("x-amz-meta-{MARK}"), MARK_HEADER);
}

#[tokio::test]
async fn the_store_s_clock_is_that_of_its_answers_the_errors_included() {
    let service = Service::new(|nth, _| match nth {
        0 => answer(404, &[("date", "Sun, 22 Nov 2026 11:00:00 GMT")], ""),
        _ => answer(200, &[("etag", "\"new\""), ("date", "Sun, 22 Nov 2026 10:00:00 GMT")], ""),
    });
    let bucket = service.connect(|_| {}).await.bucket("files");
    assert_eq!(bucket.now(), None, "nothing told yet");
    let is_about = |text: &str| {
        let date = aws_sdk_s3::primitives::DateTime::from_str(text, aws_sdk_s3::primitives::DateTimeFormat::HttpDate);
        let date = std::time::SystemTime::try_from(date.unwrap()).unwrap();
        bucket.now().is_some_and(|now| now >= date && now < date + std::time::Duration::from_secs(1_800))
    };
    bucket.head(&key()).await.unwrap_err();
    assert!(is_about("Sun, 22 Nov 2026 11:00:00 GMT"));
    bucket.delete(&key()).await.unwrap();
    assert!(is_about("Sun, 22 Nov 2026 10:00:00 GMT"), "the newest answer counts");
}
