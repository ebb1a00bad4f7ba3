//! Whether the role does what it is for.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_store::{
    Body, Condition, KeyPrefix, ListRequest, ObjectAttributes, ObjectKey, ObjectStore, ObjectStores, PartNumber,
    Status, StoreErrorKind, StoreResult, Tenant, TenantLimits,
};

use super::stores::TenantBuckets;

/// Takes the role for a tenant that does not exist, in a place of the bucket that no tenant has, and
/// tries what nodes do for tenants and what must not be possible.
pub(crate) async fn probe(stores: &TenantBuckets, bucket: &str) -> Result<String, String> {
    let place = |name: &str| format!(".tidegate-probe/{name}-{:016x}/", rand::random::<u64>());
    let (own, other) = (place("tenant"), place("other"));
    let tenant = tenant(bucket, &own)?;
    let store = stores.open(&tenant).await.map_err(|error| match error.kind() {
        StoreErrorKind::AccessDenied => format!(
            "the role {} can't be taken: its trust policy must name these credentials, and they need sts:AssumeRole on \
             it ({})",
            stores.role_arn(),
            error.report()
        ),
        _ => error.report(),
    })?;
    let found = checks(&store, &own, &other).await;
    let cleaned = store.delete(&key(&own, "probe")?).await;
    found?;
    cleaned.map_err(|error| format!("the probe's object can't be removed: {}", error.report()))?;
    Ok(format!("{} can be taken for one tenant, and reaches no other's files", stores.role_arn()))
}

async fn checks(store: &Arc<dyn ObjectStore>, own: &str, other: &str) -> Result<(), String> {
    // What other tenants' files would be. Refused whether they exist or not.
    let outside = [
        ("HeadObject", store.head(&key(other, "probe")?).await.map(drop)),
        ("PutObject", put(&**store, &key(other, "probe")?).await),
        ("ListObjectsV2 of the bucket", list(&**store, "").await),
        ("ListObjectsV2 of another prefix", list(&**store, other).await),
    ];
    let allowed: Vec<&str> =
        outside.iter().filter(|(_, result)| !refused(result)).map(|(operation, _)| *operation).collect();
    if !allowed.is_empty() {
        // What PutObject left can be removed with the credentials that could put it.
        let _ = store.delete(&key(other, "probe")?).await;
        return Err(format!(
            "session policies are not enforced: {} was not refused outside of the tenant's prefix, so tenants are not \
             kept apart",
            allowed.join(", ")
        ));
    }
    let failed = |operation: &'static str| {
        move |error: tidegate_store::StoreError| {
            format!(
                "{operation} is refused below the tenant's own prefix: check what the role may do, and, if the bucket \
                 has a KMS key, aws.tenant_role.kms_key_arns ({})",
                error.report()
            )
        }
    };
    let object = key(own, "probe")?;
    match store.head(&object).await {
        Err(error) if error.kind() == StoreErrorKind::NotFound => {}
        Err(error) if error.kind() == StoreErrorKind::AccessDenied => {
            return Err("a file that does not exist looks forbidden: the role needs s3:ListBucket".to_owned());
        }
        Err(error) => return Err(failed("HeadObject")(error)),
        Ok(_) => return Err("the probe's object exists before it was made".to_owned()),
    }
    put(&**store, &object).await.map_err(failed("PutObject"))?;
    list(&**store, own).await.map_err(failed("ListObjectsV2"))?;
    store.get(&object, None, None).await.map_err(failed("GetObject"))?;
    upload(&**store, &object).await.map_err(failed("a multipart upload"))
}

async fn put(store: &dyn ObjectStore, key: &ObjectKey) -> StoreResult<()> {
    let body = body();
    let checksum = body.checksum();
    store.put(key, body, checksum, &ObjectAttributes::default(), &Condition::Always).await.map(drop)
}

async fn list(store: &dyn ObjectStore, prefix: &str) -> StoreResult<()> {
    let request =
        ListRequest { prefix: prefix.to_owned(), delimited: true, limit: 1, continuation: None, start_after: None };
    store.list(&request).await.map(drop)
}

/// An upload that is given up.
async fn upload(store: &dyn ObjectStore, key: &ObjectKey) -> StoreResult<()> {
    let upload = store.begin_upload(key, &ObjectAttributes::default()).await?;
    let (body, number) = (body(), PartNumber::FIRST);
    let checksum = body.checksum();
    let tried = async {
        store.put_part(&upload, number, body, checksum).await?;
        store.list_parts(&upload, None).await
    };
    let tried = tried.await;
    store.abort_upload(&upload).await?;
    tried.map(drop)
}

fn body() -> Body {
    Body::from(Bytes::from_static(b"tidegate probe\n"))
}

fn refused(result: &StoreResult<()>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::AccessDenied)
}

fn key(prefix: &str, name: &str) -> Result<ObjectKey, String> {
    ObjectKey::new(format!("{prefix}{name}")).ok_or_else(|| "the probe's key is not valid".to_owned())
}

fn tenant(bucket: &str, prefix: &str) -> Result<Tenant, String> {
    Ok(Tenant {
        name: "tidegate-probe".parse().map_err(|_| "the probe's name is not valid")?,
        status: Status::Active,
        bucket: bucket.to_owned(),
        prefix: prefix.parse::<KeyPrefix>().map_err(|error| error.to_string())?,
        limits: TenantLimits::default(),
        created: 0,
    })
}
