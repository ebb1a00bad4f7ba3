//! GetObjectTagging, PutObjectTagging and DeleteObjectTagging.

use std::collections::BTreeMap;

use s3s::dto::*;

use super::super::failure::Failure;
use super::super::headers::check_tags;
use super::super::index;
use super::Service;

impl Service {
    pub(super) async fn tags(&self, input: GetObjectTaggingInput) -> Result<GetObjectTaggingOutput, Failure> {
        let object = self
            .store
            .run(move |store| {
                store.read(|index| {
                    let bucket = index::bucket(index, &input.bucket)?;
                    index::find_object(index, bucket, &input.key)?.ok_or(Failure::NoSuchKey)
                })
            })
            .await?;
        let tag = |(name, value)| Tag { key: Some(name), value: Some(value) };
        let tag_set = object.headers.tags.into_iter().map(tag).collect();
        Ok(GetObjectTaggingOutput { tag_set, version_id: None })
    }

    pub(super) async fn set_tags(&self, input: PutObjectTaggingInput) -> Result<PutObjectTaggingOutput, Failure> {
        let count = input.tagging.tag_set.len();
        let tags: BTreeMap<_, _> = input
            .tagging
            .tag_set
            .into_iter()
            .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
            .collect();
        if tags.len() < count {
            return Err(Failure::InvalidTag);
        }
        check_tags(&tags)?;
        self.replace_tags(input.bucket, input.key, tags).await?;
        Ok(PutObjectTaggingOutput::default())
    }

    pub(super) async fn remove_tags(
        &self,
        input: DeleteObjectTaggingInput,
    ) -> Result<DeleteObjectTaggingOutput, Failure> {
        self.replace_tags(input.bucket, input.key, BTreeMap::new()).await?;
        Ok(DeleteObjectTaggingOutput::default())
    }

    /// Leaves the version and its time as they are, as S3 does.
    async fn replace_tags(&self, bucket: String, key: String, tags: BTreeMap<String, String>) -> Result<(), Failure> {
        self.store
            .run(move |store| {
                store.write(|index, _| {
                    let bucket = index::bucket(index, &bucket)?;
                    let mut headers = index::find_object(index, bucket, &key)?.ok_or(Failure::NoSuchKey)?.headers;
                    headers.tags = tags;
                    index::set_headers(index, bucket, &key, &headers)
                })
            })
            .await
    }
}
