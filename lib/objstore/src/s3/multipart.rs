//! Multipart uploads, which are completed or aborted but never left behind.

use std::sync::Arc;

use aws_sdk_s3::{
    Client,
    error::ProvideErrorMetadata,
    operation::upload_part::UploadPartOutput,
    types::{CompletedMultipartUpload, CompletedPart, EncodingType},
};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};

use super::{
    S3Bucket, Shared,
    body::Source,
    error::At,
    list::decode,
    read::{self, ms},
    upload::content_md5,
};
use crate::{
    aborts::Abort,
    bucket::PendingUpload,
    error::{ErrorKind, Operation, Result},
};

/// How many parts S3 allows.
pub(super) const MAX_PARTS: u64 = 10_000;

/// The smallest part that S3 allows anywhere but at the end.
pub(super) const MIN_PART_BYTES: u64 = 5 << 20;

/// Parts of a file under way at once, as with Thanos; each has a small piece of it in memory.
const FILE_PARTS_IN_FLIGHT: usize = 4;

/// Parts of a stream in memory at once, one of them being filled while the others are sent.
const STREAM_PARTS_IN_FLIGHT: usize = 3;

/// Pages of pending uploads that are looked at; a bucket with more than a million has other worries.
const MAX_PENDING_PAGES: usize = 1000;

/// An upload under way. Dropped before its end it is aborted in the background, which the end of the process waits for
/// ([`crate::aborts_done`]).
struct Multipart {
    client: Client,
    shared: Arc<Shared>,
    key: String,
    id: String,
    is_over: bool,
}

/// Uploads `parts`, which are all full but the last.
pub(super) async fn upload(
    bucket: &S3Bucket,
    at: At<'_>,
    parts: BoxStream<'_, Result<Source>>,
) -> Result<()> {
    let mut upload = Multipart::begin(bucket, at).await?;
    match upload.send(bucket, at, parts).await {
        Ok(()) => {
            upload.is_over = true;
            Ok(())
        }
        Err(error) => {
            upload.is_over = true;
            match abort(bucket, at, &upload.id).await {
                Ok(()) => Err(error),
                Err(left) => Err(error.with_note(&format!("and the parts that were sent remain: {left}"))),
            }
        }
    }
}

impl Multipart {
    async fn begin(bucket: &S3Bucket, at: At<'_>) -> Result<Self> {
        let shared = &bucket.shared;
        let client = bucket.client().await;
        let begin = || async {
            let (algorithm, key, key_md5) = shared.encryption.customer();
            let request = client
                .create_multipart_upload()
                .bucket(at.bucket)
                .key(at.key)
                .content_type("application/octet-stream")
                .set_metadata(Some(shared.metadata.clone()).filter(|metadata| !metadata.is_empty()))
                .set_storage_class(shared.storage_class.clone())
                .set_server_side_encryption(shared.encryption.algorithm())
                .set_ssekms_key_id(shared.encryption.kms_key_id())
                .set_ssekms_encryption_context(shared.encryption.kms_context())
                .set_sse_customer_algorithm(algorithm)
                .set_sse_customer_key(key)
                .set_sse_customer_key_md5(key_md5);
            let answer = request.send().await.map_err(|e| at.error(&e))?;
            answer
                .upload_id
                .ok_or_else(|| at.fail(ErrorKind::Invalid, "the server began an upload without a name"))
        };
        let place = (at.operation, at.bucket, at.key);
        let id = shared
            .policy
            .run(|| shared.deadlines.run(0, place, Box::pin(begin())))
            .await?;
        Ok(Self {
            client: client.clone(),
            shared: Arc::clone(shared),
            key: at.key.to_owned(),
            id,
            is_over: false,
        })
    }

    async fn send(&self, bucket: &S3Bucket, at: At<'_>, parts: BoxStream<'_, Result<Source>>) -> Result<()> {
        let mut total = 0;
        let mut number = 0;
        let mut parts = std::pin::pin!(parts.peekable());
        let is_file = matches!(parts.as_mut().peek().await, Some(Ok(Source::File { .. })));
        let in_flight = if is_file {
            FILE_PARTS_IN_FLIGHT
        } else {
            STREAM_PARTS_IN_FLIGHT
        };
        let sending = parts.map_ok(|part| {
            number += 1;
            total += part.len();
            self.send_part(bucket, at, number, part)
        });
        let mut sent: Vec<CompletedPart> = sending.try_buffer_unordered(in_flight).try_collect().await?;
        sent.sort_by_key(|part| part.part_number);
        self.complete(bucket, at, sent, total).await
    }

    async fn send_part(
        &self,
        bucket: &S3Bucket,
        at: At<'_>,
        number: i32,
        part: Source,
    ) -> Result<CompletedPart> {
        let shared = &bucket.shared;
        let md5 = &content_md5(bucket, at, &part).await?;
        let part = &part;
        let send = || async move {
            let (algorithm, key, key_md5) = shared.encryption.customer();
            let request = self
                .client
                .upload_part()
                .bucket(at.bucket)
                .key(at.key)
                .upload_id(&self.id)
                .part_number(number)
                .content_length(i64::try_from(part.len()).unwrap_or(i64::MAX))
                .set_content_md5(md5.clone())
                .set_sse_customer_algorithm(algorithm)
                .set_sse_customer_key(key)
                .set_sse_customer_key_md5(key_md5)
                .body(part.body());
            let sent = match shared.is_plain_http {
                true => request.send().await,
                false => request.customize().disable_payload_signing().send().await,
            };
            sent.map_err(|e| at.error(&e).with_note(&format!("it was part {number}")))
        };
        let place = (at.operation, at.bucket, at.key);
        let answer = shared
            .policy
            .run(|| shared.deadlines.run(part.len(), place, Box::pin(send())))
            .await?;
        Ok(completed(answer, number))
    }

    /// Makes an object of the parts. If that was tried before and its answer lost, the upload is gone and the object
    /// there.
    async fn complete(
        &self,
        bucket: &S3Bucket,
        at: At<'_>,
        parts: Vec<CompletedPart>,
        size: u64,
    ) -> Result<()> {
        let parts = &CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let (algorithm, key, key_md5) = &bucket.shared.encryption.customer();
        let complete = || async move {
            let request = self
                .client
                .complete_multipart_upload()
                .bucket(at.bucket)
                .key(at.key)
                .upload_id(&self.id)
                .multipart_upload(parts.clone())
                .set_sse_customer_algorithm(algorithm.clone())
                .set_sse_customer_key(key.clone())
                .set_sse_customer_key_md5(key_md5.clone());
            match request.send().await {
                Ok(_) => Ok(()),
                Err(error) if error.code() == Some("NoSuchUpload") => {
                    let found = read::head(bucket, at).await;
                    match found.is_ok_and(|found| found.size_bytes == size) {
                        true => Ok(()),
                        false => Err(at.error(&error)),
                    }
                }
                Err(error) => Err(at.error(&error)),
            }
        };
        let (shared, place) = (&bucket.shared, (at.operation, at.bucket, at.key));
        // The server copies the parts while we wait.
        shared
            .policy
            .run(|| shared.deadlines.run(size, place, Box::pin(complete())))
            .await
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let bucket = S3Bucket {
            shared: Arc::clone(&self.shared),
        };
        let (key, id) = (std::mem::take(&mut self.key), std::mem::take(&mut self.id));
        let under_way = Abort::begin();
        runtime.spawn(async move {
            let _under_way = under_way;
            let at = At {
                operation: Operation::Upload,
                bucket: &bucket.shared.bucket,
                key: &key,
            };
            if let Err(error) = abort(&bucket, at, &id).await {
                tracing::warn!(%error, "cannot abort an upload that was given up; its parts remain");
            }
        });
    }
}

fn completed(answer: UploadPartOutput, number: i32) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(answer.e_tag)
        .set_checksum_crc32(answer.checksum_crc32)
        .set_checksum_crc32_c(answer.checksum_crc32_c)
        .set_checksum_crc64_nvme(answer.checksum_crc64_nvme)
        .set_checksum_sha1(answer.checksum_sha1)
        .set_checksum_sha256(answer.checksum_sha256)
        .build()
}

/// Aborts an upload; one that is gone is a success.
pub(super) async fn abort(bucket: &S3Bucket, at: At<'_>, id: &str) -> Result<()> {
    let shared = &bucket.shared;
    let client = bucket.client().await;
    let abort = || async {
        let request = client
            .abort_multipart_upload()
            .bucket(at.bucket)
            .key(at.key)
            .upload_id(id);
        match request.send().await {
            Err(error) if error.code() != Some("NoSuchUpload") => Err(at.error(&error)),
            _ => Ok(()),
        }
    };
    let place = (at.operation, at.bucket, at.key);
    shared
        .policy
        .run(|| shared.deadlines.run(0, place, Box::pin(abort())))
        .await
}

/// All uploads below `dir` that are neither completed nor aborted.
pub(super) async fn pending(bucket: &S3Bucket, dir: &str) -> Result<Vec<PendingUpload>> {
    let at = bucket.at(Operation::Iter, dir);
    let client = bucket.client().await;
    let mut pending = Vec::new();
    let (mut key_marker, mut id_marker) = (None, None);
    for _ in 0..MAX_PENDING_PAGES {
        let request = client.list_multipart_uploads().bucket(at.bucket).prefix(dir);
        let request = request.encoding_type(EncodingType::Url);
        let request = request.set_key_marker(key_marker).set_upload_id_marker(id_marker);
        let answer = request.send().await.map_err(|e| at.error(&e))?;
        let is_encoded = answer.encoding_type == Some(EncodingType::Url);
        for upload in answer.uploads.unwrap_or_default() {
            let started_ms = ms(upload.initiated.as_ref());
            let (Some(key), Some(id)) = (upload.key, upload.upload_id) else {
                continue;
            };
            let key = decode(&key, is_encoded).into_owned();
            if key.starts_with(dir) {
                pending.push(PendingUpload { key, id, started_ms });
            }
        }
        if answer.is_truncated != Some(true) || answer.next_key_marker.is_none() {
            break;
        }
        key_marker = answer
            .next_key_marker
            .map(|marker| decode(&marker, is_encoded).into_owned());
        id_marker = answer.next_upload_id_marker;
    }
    Ok(pending)
}
