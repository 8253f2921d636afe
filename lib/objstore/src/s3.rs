//! Buckets in S3, and in whatever else speaks its language.
//!
//! Every method here is one request, tried once; what consists of many, that is uploads by parts, retries them one by
//! one, because what has arrived need not be sent again.

mod body;
mod client;
mod connector;
mod credentials;
mod encryption;
mod endpoint;
mod error;
mod gather;
mod list;
mod multipart;
mod read;
mod settings;
mod tls;
mod upload;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use aws_sdk_s3::{Client, types::StorageClass};
use bytes::Bytes;
use futures::stream::BoxStream;

pub(crate) use settings::{CheckedSettings, Problem, S3Settings};

use self::{client::LazyClient, encryption::Encryption, error::At};
use crate::{
    Deadlines, RetryPolicy,
    bucket::{Bucket, GetBody, ListEntry, ObjectMeta, PendingUpload, RangeBody, UploadSource},
    error::{Operation, Result},
    key,
};

/// A bucket in S3.
#[derive(Clone, Debug)]
pub(crate) struct S3Bucket {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bucket: String,
    client: LazyClient,
    encryption: Encryption,
    metadata: HashMap<String, String>,
    storage_class: Option<StorageClass>,
    /// The older listing, which some servers know alone.
    lists_by_v1: bool,
    sends_md5: bool,
    /// Over TLS nobody else can change the body, so it need not be hashed for the signature.
    is_plain_http: bool,
    disable_multipart: bool,
    part_bytes: u64,
    policy: RetryPolicy,
    deadlines: Deadlines,
}

impl S3Bucket {
    /// A bucket by `settings`; `component` tells the server who is asking.
    pub(crate) fn new(settings: CheckedSettings, component: &str) -> Result<Self, Problem> {
        let (policy, deadlines, part_bytes) = (
            settings.retry_policy(),
            settings.deadlines(),
            settings.part_bytes(),
        );
        let settings = settings.0;
        let (metadata, storage_class) = metadata(&settings);
        let shared = Shared {
            bucket: settings.bucket.clone(),
            encryption: Encryption::new(&settings.sse_config)?,
            metadata,
            storage_class,
            lists_by_v1: settings.list_objects_version == "v1",
            sends_md5: settings.send_content_md5,
            is_plain_http: settings.insecure,
            disable_multipart: settings.disable_multipart,
            part_bytes,
            policy,
            deadlines,
            client: LazyClient::new(settings, component)?,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    async fn client(&self) -> &Client {
        self.shared.client.get().await
    }

    fn at<'a>(&'a self, operation: Operation, key: &'a str) -> At<'a> {
        At {
            operation,
            bucket: &self.shared.bucket,
            key,
        }
    }

    fn check<'a>(&'a self, operation: Operation, key: &'a str) -> Result<At<'a>> {
        key::check(operation, &self.shared.bucket, key)?;
        Ok(self.at(operation, key))
    }
}

/// For the fuzzer: everything that a header or a listed key goes through.
pub(crate) fn read_server_text(text: &str) {
    read::read_headers(text);
    let _ = list::decode(text, true);
    let _ = endpoint::region_of(text);
}

/// Splits the storage class off, which Thanos takes from the metadata.
fn metadata(settings: &S3Settings) -> (HashMap<String, String>, Option<StorageClass>) {
    let mut metadata = HashMap::new();
    let mut storage_class = None;
    for (name, value) in &settings.put_user_metadata {
        let lower = name.to_ascii_lowercase();
        if lower == "x-amz-storage-class" {
            storage_class = Some(StorageClass::from(value.as_str()));
        } else {
            let name = lower.strip_prefix("x-amz-meta-").unwrap_or(&lower);
            metadata.insert(name.to_owned(), value.clone());
        }
    }
    (metadata, storage_class)
}

#[async_trait]
impl Bucket for S3Bucket {
    fn name(&self) -> &str {
        &self.shared.bucket
    }

    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
        let dir = key::directory(&self.shared.bucket, prefix)?;
        Ok(list::entries(self, dir, recursive))
    }

    async fn get(&self, key: &str) -> Result<GetBody> {
        read::get(self, self.check(Operation::Get, key)?).await
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        read::get_range(self, self.check(Operation::GetRange, key)?, offset, len).await
    }

    async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
        read::head(self, self.check(Operation::Attributes, key)?).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        upload::put(
            self,
            self.check(Operation::Upload, key)?,
            &body::Source::Bytes(bytes),
        )
        .await
    }

    async fn upload(&self, key: &str, source: UploadSource) -> Result<()> {
        upload::upload(self, self.check(Operation::Upload, key)?, source).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let at = self.check(Operation::Delete, key)?;
        let request = self.client().await.delete_object().bucket(at.bucket).key(key);
        match request.send().await.map_err(|e| at.error(&e)) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        let dir = key::directory(&self.shared.bucket, prefix)?;
        multipart::pending(self, &dir).await
    }

    async fn abort_upload(&self, upload: &PendingUpload) -> Result<()> {
        multipart::abort(self, self.at(Operation::Upload, &upload.key), &upload.id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storage_class_is_taken_from_the_metadata_in_any_case() {
        let mut settings = S3Settings::default();
        for name in ["X-Amz-Storage-Class", "x-amz-storage-class"] {
            settings.put_user_metadata = [
                (name.to_owned(), "STANDARD_IA".to_owned()),
                ("X-Amz-Meta-Team".to_owned(), "a".to_owned()),
            ]
            .into();
            let (metadata, class) = metadata(&settings);
            assert_eq!(class, Some(StorageClass::StandardIa));
            assert_eq!(metadata, [("team".to_owned(), "a".to_owned())].into());
        }
    }
}
