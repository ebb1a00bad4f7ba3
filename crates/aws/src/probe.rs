//! Checks what a node needs before it serves: the answers are for the operator.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tidegate_store::{
    Body, Condition, ETag, EncryptionContext, ListRequest, ObjectAttributes, ObjectKey, ObjectStore, PartNumber,
    StoreErrorKind, StoreResult, Upload,
};

use crate::connect::Aws;
use crate::error::store_error;
use crate::tenant_role;

/// How long one probe may take.
const TIME_MAX: Duration = Duration::from_secs(15);
/// How long its traces may take to remove.
const CLEANUP_MAX: Duration = Duration::from_secs(5);

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What was checked.
    pub name: &'static str,
    /// Whether a node can serve with it as it is.
    pub ok: bool,
    /// What was found; if it is not `ok`, what to do about it.
    pub message: String,
}

pub(crate) async fn run(aws: &Aws, bucket: &str) -> Vec<Probe> {
    let tenants = aws.tenant_buckets(None);
    let tenant_role = async {
        match &tenants {
            Some(stores) => Some(bounded("tenant role", tenant_role::probe(stores, bucket)).await),
            None => None,
        }
    };
    let (identity, reach, conditions, table, kms, tenant_role) = futures::join!(
        bounded("identity", identity(aws)),
        bounded("bucket", reach(aws, bucket)),
        bounded("conditional writes", conditional_writes(aws, bucket)),
        bounded("table", table(aws)),
        bounded("kms", kms(aws)),
        tenant_role,
    );
    [identity, reach, conditions, table, kms].into_iter().chain(tenant_role).collect()
}

async fn bounded(name: &'static str, check: impl Future<Output = Result<String, String>>) -> Probe {
    let found = tokio::time::timeout(TIME_MAX, check)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s: is the endpoint reachable?", TIME_MAX.as_secs())));
    match found {
        Ok(message) => Probe { name, ok: true, message },
        Err(message) => Probe { name, ok: false, message },
    }
}

async fn identity(aws: &Aws) -> Result<String, String> {
    let config = aws.config();
    if config.access_key_id.is_some() && config.endpoints.s3.is_some() && config.endpoints.sts.is_none() {
        return Ok("a static access key for a store other than AWS, which has no STS to ask".to_owned());
    }
    let caller = aws.sts().get_caller_identity().send().await;
    let caller = caller.map_err(|error| store_error("get caller identity", "sts", error).report())?;
    Ok(caller.arn.unwrap_or_else(|| "an identity without an ARN".to_owned()))
}

async fn reach(aws: &Aws, bucket: &str) -> Result<String, String> {
    let sent = aws.s3().head_bucket().bucket(bucket).send().await;
    if let Err(error) = sent {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let report = store_error("head bucket", format!("s3://{bucket}"), error).report();
        return Err(match status {
            Some(301) => format!("the bucket \"{bucket}\" is in another region than the one configured ({report})"),
            Some(404) => format!("there is no bucket \"{bucket}\" ({report})"),
            Some(403) => format!("the bucket \"{bucket}\" is not ours to use: it needs s3:ListBucket ({report})"),
            _ => report,
        });
    }
    let first = ListRequest { prefix: String::new(), delimited: true, limit: 1, continuation: None, start_after: None };
    aws.bucket(bucket).list(&first).await.map_err(|error| error.report())?;
    Ok(format!("\"{bucket}\" can be listed"))
}

/// Every kind of conditional write that Tidegate relies on, each with a condition that does not
/// hold. A store that takes one in spite of it would let two writers both believe they won.
async fn conditional_writes(aws: &Aws, bucket: &str) -> Result<String, String> {
    let store = aws.bucket(bucket);
    let name = format!(".tidegate-probe/{:016x}", rand::random::<u64>());
    let key = ObjectKey::new(name).ok_or_else(|| "the probe's key is not valid".to_owned())?;
    let found = tokio::time::timeout(TIME_MAX - CLEANUP_MAX, try_conditions(&*store, &key)).await;
    let cleaned = tokio::time::timeout(CLEANUP_MAX, clean_up(&*store, &key)).await;
    let ignored = match found {
        Ok(Ok(ignored)) => ignored,
        Ok(Err(error)) => return Err(error.report()),
        Err(_) => return Err("the writes took too long".to_owned()),
    };
    if !ignored.is_empty() {
        return Err(format!(
            "the store ignores {}: two clients could each believe that they alone made or replaced a file. Use a \
             store that honours conditional writes",
            ignored.join(", ")
        ));
    }
    match cleaned {
        Ok(Ok(())) => Ok("honoured on PUT and on the completion of uploads".to_owned()),
        _ => Err(format!("honoured, but \"{key}\" could not be removed: nodes need s3:DeleteObject")),
    }
}

/// The conditions that the store ignored.
async fn try_conditions(store: &dyn ObjectStore, key: &ObjectKey) -> StoreResult<Vec<&'static str>> {
    let stale = Condition::IfMatch(ETag::new("\"00000000000000000000000000000000\""));
    let mut ignored = Vec::new();
    put(store, key, &Condition::IfAbsent).await?;
    if !refused(put(store, key, &Condition::IfAbsent).await)? {
        ignored.push("If-None-Match on PutObject");
    }
    if !refused(put(store, key, &stale).await)? {
        ignored.push("If-Match on PutObject");
    }
    for (condition, name) in [
        (Condition::IfAbsent, "If-None-Match on CompleteMultipartUpload"),
        (stale, "If-Match on CompleteMultipartUpload"),
    ] {
        if !refused(upload(store, key, &condition).await)? {
            ignored.push(name);
        }
    }
    Ok(ignored)
}

async fn put(store: &dyn ObjectStore, key: &ObjectKey, condition: &Condition) -> StoreResult<()> {
    let body = Body::from(Bytes::from_static(b"tidegate probe\n"));
    let checksum = body.checksum();
    store.put(key, body, checksum, &ObjectAttributes::default(), condition).await.map(drop)
}

async fn upload(store: &dyn ObjectStore, key: &ObjectKey, condition: &Condition) -> StoreResult<()> {
    let upload = store.begin_upload(key, &ObjectAttributes::default()).await?;
    let body = Body::from(Bytes::from_static(b"tidegate probe\n"));
    let checksum = body.checksum();
    let part = store.put_part(&upload, PartNumber::FIRST, body, checksum).await?;
    store.complete_upload(&upload, &[part], Some(checksum), condition).await.map(drop)
}

fn refused(result: StoreResult<()>) -> StoreResult<bool> {
    match result {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => Ok(true),
        Err(error) => Err(error),
    }
}

/// Removes the object and the uploads that were refused.
async fn clean_up(store: &dyn ObjectStore, key: &ObjectKey) -> StoreResult<()> {
    let uploads: Vec<Upload> = store.list_uploads(key.as_str(), None).await?.uploads;
    for upload in &uploads {
        store.abort_upload(upload).await?;
    }
    store.delete(key).await
}

async fn table(aws: &Aws) -> Result<String, String> {
    crate::dynamo::check_table(aws.dynamodb(), &aws.config().table).await
}

async fn kms(aws: &Aws) -> Result<String, String> {
    let keys = aws.data_keys().map_err(|error| error.to_string())?;
    let context = EncryptionContext::from([("tidegate:purpose".to_owned(), "probe".to_owned())]);
    let key = keys.generate(&context).await.map_err(|error| error.report())?;
    let again = keys.unwrap(&key.wrapped, &context).await.map_err(|error| error.report())?;
    if *again != *key.plaintext {
        return Err("the service unwrapped a data key to another one".to_owned());
    }
    match keys.unwrap(&key.wrapped, &EncryptionContext::new()).await {
        Err(error) if error.kind() == StoreErrorKind::Corrupt => Ok("data keys wrap and unwrap".to_owned()),
        Err(error) => Err(error.report()),
        Ok(_) => Err("the service ignores the encryption context".to_owned()),
    }
}
