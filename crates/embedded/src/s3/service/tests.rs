//! What the protocol's clients see and the ports do not show.

use bytes::Bytes;
use futures::StreamExt as _;
use hyper::{HeaderMap, Method, Uri};
use s3s::{Body, S3ErrorCode};
use tempfile::TempDir;

use super::*;
use crate::data_folder::DataFolder;

const BUCKET: &str = "bucket";

struct Bench {
    service: Service,
    folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (lock, _in_use) = DataFolder::open(folder.path()).unwrap();
        let (store, _) = Store::open(folder.path(), lock).unwrap();
        let service = Service::new(store);
        let input = CreateBucketInput { bucket: BUCKET.to_owned(), ..CreateBucketInput::default() };
        service.create_bucket(request(input, &[])).await.unwrap();
        Self { service, folder }
    }

    async fn put(
        &self,
        key: &str,
        bytes: &'static [u8],
        headers: &[(&'static str, &str)],
    ) -> S3Result<PutObjectOutput> {
        let input = PutObjectInput {
            bucket: BUCKET.to_owned(),
            key: key.to_owned(),
            body: Some(StreamingBlob::from(Body::from(Bytes::from_static(bytes)))),
            ..PutObjectInput::default()
        };
        self.service.put_object(request(input, headers)).await.map(|answer| answer.output)
    }

    async fn head(&self, key: &str) -> S3Result<HeadObjectOutput> {
        let input = HeadObjectInput {
            bucket: BUCKET.to_owned(),
            key: key.to_owned(),
            checksum_mode: Some(ChecksumMode::from_static(ChecksumMode::ENABLED)),
            ..HeadObjectInput::default()
        };
        self.service.head_object(request(input, &[])).await.map(|answer| answer.output)
    }

    async fn get(&self, input: GetObjectInput) -> S3Result<(GetObjectOutput, Vec<u8>)> {
        let input = GetObjectInput { bucket: BUCKET.to_owned(), ..input };
        let mut output = self.service.get_object(request(input, &[])).await?.output;
        let mut bytes = Vec::new();
        let mut body = output.body.take().unwrap();
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        Ok((output, bytes))
    }

    fn bodies(&self) -> usize {
        let shards = std::fs::read_dir(self.folder.path().join("bodies")).unwrap();
        shards.map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
    }
}

fn request<T>(input: T, headers: &[(&'static str, &str)]) -> S3Request<T> {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    S3Request {
        input,
        method: Method::GET,
        uri: Uri::from_static("/"),
        headers,
        extensions: Default::default(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

#[track_caller]
fn refused<T>(code: S3ErrorCode, result: S3Result<T>) {
    assert_eq!(result.err().map(|error| error.code().clone()), Some(code));
}

/// The check values of the algorithms for "123456789": reveng catalogue, RFC 1321, FIPS 180.
const CHECKS: [(&str, &str); 5] = [
    ("x-amz-checksum-crc32", "y/Q5Jg=="),
    ("x-amz-checksum-crc32c", "4waSgw=="),
    ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
    ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
    ("x-amz-checksum-sha256", "FeKw09s9P3oJIi2SpZ0J5J8j2wG6oYJ2I9nKxMHzf9I="),
];

#[tokio::test]
async fn a_checksum_is_verified_kept_and_shown() {
    let bench = Bench::new().await;
    for (header, value) in &CHECKS[..3] {
        let output = bench.put("key", b"123456789", &[(header, value)]).await.unwrap();
        let shown = |sum: [Option<String>; 3]| sum.into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(shown([output.checksum_crc32, output.checksum_crc32c, output.checksum_crc64nvme]), [*value]);
        let head = bench.head("key").await.unwrap();
        assert_eq!(shown([head.checksum_crc32, head.checksum_crc32c, head.checksum_crc64nvme]), [*value]);
        assert_eq!(head.checksum_type.unwrap().as_str(), ChecksumType::FULL_OBJECT);
    }
    for (header, value) in CHECKS {
        refused(S3ErrorCode::BadDigest, bench.put("key", b"123456780", &[(header, value)]).await);
    }
    assert_eq!(bench.bodies(), 1, "refused bodies leave nothing");
}

#[tokio::test]
async fn sha_checksums_are_verified() {
    let bench = Bench::new().await;
    let sha1 = "98O8HYCOBHMq32eZZczDTKeuNEE=";
    let output = bench.put("key", b"123456789", &[("x-amz-checksum-sha1", sha1)]).await.unwrap();
    assert_eq!(output.checksum_sha1.as_deref(), Some(sha1));
    let sha256 = "FeKw09s9P3oJIi2SpZ0J5J8j2wG6oYJ2I9nKxMHzf9I=";
    refused(S3ErrorCode::BadDigest, bench.put("key", b"1234567890", &[("x-amz-checksum-sha256", sha256)]).await);
}

#[tokio::test]
async fn content_md5_is_verified_and_becomes_the_tag() {
    let bench = Bench::new().await;
    let output = bench.put("key", b"123456789", &[("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==")]).await.unwrap();
    assert_eq!(output.e_tag.unwrap().value(), "25f9e794323b453885f5181f1b624d0b");
    refused(S3ErrorCode::BadDigest, bench.put("key", b"other", &[("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==")]).await);
    refused(S3ErrorCode::InvalidDigest, bench.put("key", b"other", &[("content-md5", "no base64")]).await);
}

#[tokio::test]
async fn a_tag_that_is_no_md5_does_not_look_like_one() {
    let bench = Bench::new().await;
    let tag = bench.put("key", b"bytes", &[]).await.unwrap().e_tag.unwrap();
    assert!(tag.value().ends_with("-1") && tag.value().len() > 32, "{tag:?}");
    assert_eq!(bench.put("other", b"bytes", &[]).await.unwrap().e_tag.unwrap(), tag, "equal bytes have equal tags");
    assert_ne!(bench.put("other", b"bytes ", &[]).await.unwrap().e_tag.unwrap(), tag);
}

#[tokio::test]
async fn a_trailer_that_was_announced_must_come() {
    let bench = Bench::new().await;
    let result = bench.put("key", b"bytes", &[("x-amz-trailer", "x-amz-checksum-crc32c")]).await;
    refused(S3ErrorCode::InvalidRequest, result);
    refused(S3ErrorCode::NoSuchKey, bench.head("key").await);
}

#[tokio::test]
async fn two_checksums_are_one_too_many() {
    let bench = Bench::new().await;
    refused(S3ErrorCode::InvalidRequest, bench.put("key", b"123456789", &CHECKS[..2]).await);
}

#[tokio::test]
async fn a_body_that_breaks_off_publishes_and_leaves_nothing() {
    let bench = Bench::new().await;
    let chunks =
        (0..40).map(|_| Ok(Bytes::from(vec![1; 100_000]))).chain([Err(std::io::ErrorKind::ConnectionReset.into())]);
    let input = PutObjectInput {
        bucket: BUCKET.to_owned(),
        key: "key".to_owned(),
        body: Some(StreamingBlob::wrap::<_, std::io::Error>(futures::stream::iter(chunks))),
        ..PutObjectInput::default()
    };
    refused(S3ErrorCode::IncompleteBody, bench.service.put_object(request(input, &[])).await);
    refused(S3ErrorCode::NoSuchKey, bench.head("key").await);
    assert_eq!(bench.bodies(), 0);
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_refused() {
    let bench = Bench::new().await;
    for announced in [4, 6] {
        let input = PutObjectInput {
            bucket: BUCKET.to_owned(),
            key: "key".to_owned(),
            body: Some(StreamingBlob::from(Body::from(Bytes::from_static(b"bytes")))),
            content_length: Some(announced),
            ..PutObjectInput::default()
        };
        refused(S3ErrorCode::IncompleteBody, bench.service.put_object(request(input, &[])).await);
    }
    assert_eq!(bench.bodies(), 0);
}

#[tokio::test]
async fn conditions_of_reads_follow_rfc_9110() {
    let bench = Bench::new().await;
    let tag = bench.put("key", b"bytes", &[]).await.unwrap().e_tag.unwrap();
    let modified = bench.head("key").await.unwrap().last_modified.unwrap();
    let key = || GetObjectInput { key: "key".to_owned(), ..GetObjectInput::default() };
    let same = || Some(ETagCondition::ETag(tag.clone()));
    let other = || Some(ETagCondition::ETag(ETag::Strong("other".to_owned())));
    let early = || Some(Timestamp::default());
    bench.get(GetObjectInput { if_match: same(), if_unmodified_since: early(), ..key() }).await.unwrap();
    bench
        .get(GetObjectInput { if_none_match: other(), if_modified_since: Some(modified.clone()), ..key() })
        .await
        .unwrap();
    refused(S3ErrorCode::PreconditionFailed, bench.get(GetObjectInput { if_match: other(), ..key() }).await);
    refused(S3ErrorCode::PreconditionFailed, bench.get(GetObjectInput { if_unmodified_since: early(), ..key() }).await);
    refused(S3ErrorCode::NotModified, bench.get(GetObjectInput { if_none_match: same(), ..key() }).await);
    let input = GetObjectInput { if_modified_since: Some(modified), ..key() };
    refused(S3ErrorCode::NotModified, bench.get(input).await);
}

#[tokio::test]
async fn ranges_are_cut_at_the_end_and_refused_behind_it() {
    let bench = Bench::new().await;
    bench.put("key", b"0123456789", &[]).await.unwrap();
    bench.put("empty", b"", &[]).await.unwrap();
    let get = |key: &str, range: &str| {
        let range = Some(Range::parse(range).unwrap());
        bench.get(GetObjectInput { key: key.to_owned(), range, ..GetObjectInput::default() })
    };
    for (range, content_range, bytes) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=8-", "bytes 8-9/10", "89"),
        ("bytes=8-100", "bytes 8-9/10", "89"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=-100", "bytes 0-9/10", "0123456789"),
    ] {
        let (output, found) = get("key", range).await.unwrap();
        assert_eq!((output.content_range.as_deref(), found.as_slice()), (Some(content_range), bytes.as_bytes()));
        assert_eq!(output.content_length, Some(bytes.len() as i64));
    }
    for (key, range) in [("key", "bytes=10-"), ("key", "bytes=-0"), ("empty", "bytes=0-"), ("empty", "bytes=-1")] {
        refused(S3ErrorCode::InvalidRange, get(key, range).await);
    }
}

#[tokio::test]
async fn metadata_above_its_limit_is_refused() {
    let bench = Bench::new().await;
    let put = |len: usize| {
        let metadata = Metadata::from([("k".repeat(48), "v".repeat(len - 48))]);
        let (bucket, key) = (BUCKET.to_owned(), "key".to_owned());
        bench.service.put_object(request(
            PutObjectInput { bucket, key, metadata: Some(metadata), ..PutObjectInput::default() },
            &[],
        ))
    };
    put(2048).await.unwrap();
    refused(S3ErrorCode::MetadataTooLarge, put(2049).await);
}

#[tokio::test]
async fn a_copy_outlives_its_source_without_a_second_body() {
    let bench = Bench::new().await;
    bench.put("source", b"bytes", &[]).await.unwrap();
    let source = CopySource::Bucket { bucket: BUCKET.into(), key: "source".into(), version_id: None };
    let target = CopyObjectInput::builder().bucket(BUCKET.to_owned()).key("target".to_owned());
    let input = target.copy_source(source).build().unwrap();
    bench.service.copy_object(request(input, &[])).await.unwrap();
    assert_eq!(bench.bodies(), 1);
    for (key, bodies) in [("source", 1), ("target", 0)] {
        let (_, bytes) =
            bench.get(GetObjectInput { key: "target".to_owned(), ..GetObjectInput::default() }).await.unwrap();
        assert_eq!(bytes, b"bytes");
        let input =
            DeleteObjectInput { bucket: BUCKET.to_owned(), key: key.to_owned(), ..DeleteObjectInput::default() };
        bench.service.delete_object(request(input, &[])).await.unwrap();
        assert_eq!(bench.bodies(), bodies);
    }
}

#[tokio::test]
async fn a_bucket_goes_when_it_is_empty_and_takes_its_uploads_along() {
    let bench = Bench::new().await;
    bench.put("key", b"bytes", &[]).await.unwrap();
    let bucket = || DeleteBucketInput { bucket: BUCKET.to_owned(), ..DeleteBucketInput::default() };
    refused(S3ErrorCode::BucketNotEmpty, bench.service.delete_bucket(request(bucket(), &[])).await);
    let objects = vec![ObjectIdentifier { key: "key".to_owned(), ..ObjectIdentifier::default() }];
    let input = DeleteObjectsInput {
        bucket: BUCKET.to_owned(),
        delete: Delete { objects, quiet: None },
        bypass_governance_retention: None,
        checksum_algorithm: None,
        expected_bucket_owner: None,
        mfa: None,
        request_payer: None,
    };
    bench.service.delete_objects(request(input, &[])).await.unwrap();

    let (bucket_name, key) = (BUCKET.to_owned(), "upload".to_owned());
    let input = CreateMultipartUploadInput { bucket: bucket_name.clone(), key: key.clone(), ..Default::default() };
    let upload_id = bench.service.create_multipart_upload(request(input, &[])).await.unwrap().output.upload_id.unwrap();
    let body = Some(StreamingBlob::from(Body::from(Bytes::from_static(b"part"))));
    let input = UploadPartInput { bucket: bucket_name, key, upload_id, part_number: 1, body, ..Default::default() };
    bench.service.upload_part(request(input, &[])).await.unwrap();
    assert_eq!(bench.bodies(), 1);
    bench.service.delete_bucket(request(bucket(), &[])).await.unwrap();
    assert_eq!(bench.bodies(), 0);
    refused(S3ErrorCode::NoSuchBucket, bench.put("key", b"bytes", &[]).await);
}
