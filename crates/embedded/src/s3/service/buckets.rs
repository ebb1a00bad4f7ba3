//! Buckets.

use s3s::dto::*;

use super::super::failure::Failure;
use super::super::index::{self, UploadsQuery};
use super::{REGION, Service};

impl Service {
    pub(super) async fn make_bucket(&self, input: CreateBucketInput) -> Result<CreateBucketOutput, Failure> {
        let location = format!("/{}", input.bucket);
        self.store.run(move |store| store.write(|index, _| index::create_bucket(index, &input.bucket))).await?;
        Ok(CreateBucketOutput { location: Some(location) })
    }

    pub(super) async fn probe_bucket(&self, input: HeadBucketInput) -> Result<HeadBucketOutput, Failure> {
        self.store.run(move |store| store.read(|index| index::bucket(index, &input.bucket))).await?;
        Ok(HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..HeadBucketOutput::default() })
    }

    /// us-east-1 is an empty constraint.
    pub(super) async fn locate_bucket(
        &self,
        input: GetBucketLocationInput,
    ) -> Result<GetBucketLocationOutput, Failure> {
        self.store.run(move |store| store.read(|index| index::bucket(index, &input.bucket))).await?;
        Ok(GetBucketLocationOutput::default())
    }

    /// Buckets are never versioned.
    pub(super) async fn bucket_versioning(
        &self,
        input: GetBucketVersioningInput,
    ) -> Result<GetBucketVersioningOutput, Failure> {
        self.store.run(move |store| store.read(|index| index::bucket(index, &input.bucket))).await?;
        Ok(GetBucketVersioningOutput::default())
    }

    pub(super) async fn all_buckets(&self) -> Result<ListBucketsOutput, Failure> {
        let buckets = self.store.run(|store| store.read(index::list_buckets)).await?;
        let buckets = buckets
            .into_iter()
            .map(|bucket| Bucket {
                bucket_region: Some(REGION.to_owned()),
                creation_date: Some(index::timestamp(bucket.created)),
                name: Some(bucket.name),
            })
            .collect();
        let owner = Owner { display_name: Some("tidegate".to_owned()), id: Some("tidegate".to_owned()) };
        Ok(ListBucketsOutput { buckets: Some(buckets), owner: Some(owner), ..ListBucketsOutput::default() })
    }

    /// Uploads that are still running go with their bucket; objects keep it.
    pub(super) async fn remove_bucket(&self, input: DeleteBucketInput) -> Result<DeleteBucketOutput, Failure> {
        self.store
            .run(move |store| {
                store.write(|index, unused| {
                    let bucket = index::bucket(index, &input.bucket)?;
                    index::delete_bucket(index, bucket)?;
                    let all = UploadsQuery { limit: usize::MAX, ..UploadsQuery::default() };
                    for entry in index::list_uploads(index, bucket, &all)?.entries {
                        if let index::Listed::Entry(upload) = entry {
                            index::drop_upload(index, bucket, &upload.key, &upload.id, unused)?;
                        }
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(DeleteBucketOutput::default())
    }
}
