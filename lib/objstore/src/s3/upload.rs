//! Uploads: by one request if they are small, by parts else.

use std::{fs::File, io, path::PathBuf, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::spawn_blocking;

use super::{
    S3Bucket,
    body::Source,
    error::At,
    gather::{GatherError, gather},
    multipart::{self, MAX_PARTS, MIN_PART_BYTES},
};
use crate::{
    bucket::{ByteSource, UploadSource},
    error::{Error, ErrorKind, Result},
};

/// Parts of streams are held in memory, so they never grow beyond this.
const MAX_STREAM_PART_BYTES: u64 = 16 << 20;
/// The longest stream that is sent by one request where parts are not allowed: it is held whole, like a few parts.
const MAX_WHOLE_STREAM_BYTES: usize = 64 << 20;

/// Writes an object by one request.
pub(super) async fn put(bucket: &S3Bucket, at: At<'_>, source: &Source) -> Result<()> {
    let shared = &bucket.shared;
    let md5 = content_md5(bucket, at, source).await?;
    let (algorithm, key, key_md5) = shared.encryption.customer();
    let request = bucket
        .client()
        .await
        .put_object()
        .bucket(at.bucket)
        .key(at.key)
        .content_type("application/octet-stream")
        .content_length(i64::try_from(source.len()).unwrap_or(i64::MAX))
        .set_content_md5(md5)
        .set_metadata(Some(shared.metadata.clone()).filter(|metadata| !metadata.is_empty()))
        .set_storage_class(shared.storage_class.clone())
        .set_server_side_encryption(shared.encryption.algorithm())
        .set_ssekms_key_id(shared.encryption.kms_key_id())
        .set_ssekms_encryption_context(shared.encryption.kms_context())
        .set_sse_customer_algorithm(algorithm)
        .set_sse_customer_key(key)
        .set_sse_customer_key_md5(key_md5)
        .body(source.body());
    let sent = match shared.is_plain_http {
        true => request.send().await,
        false => request.customize().disable_payload_signing().send().await,
    };
    sent.map(|_| ()).map_err(|e| at.error(&e))
}

pub(super) async fn content_md5(bucket: &S3Bucket, at: At<'_>, source: &Source) -> Result<Option<String>> {
    if !bucket.shared.sends_md5 {
        return Ok(None);
    }
    source.md5().await.map(Some).map_err(|e| source_error(at, &e))
}

pub(super) async fn upload(bucket: &S3Bucket, at: At<'_>, source: UploadSource) -> Result<()> {
    match source {
        UploadSource::File(path) => {
            let (file, size) = open(at, path).await?;
            upload_file(bucket, at, file, size).await
        }
        UploadSource::Stream { stream, size_bytes } if bucket.shared.disable_multipart => {
            let bytes = whole_stream(at, stream, size_bytes).await?;
            put_with_retries(bucket, at, &Source::Bytes(bytes)).await
        }
        UploadSource::Stream { stream, size_bytes } => {
            let parts = Parts::new(stream, size_bytes);
            upload_stream(bucket, at, parts).await
        }
    }
}

async fn upload_file(bucket: &S3Bucket, at: At<'_>, file: File, size: u64) -> Result<()> {
    let part_bytes = bucket.shared.part_bytes;
    let file = Arc::new(file);
    if bucket.shared.disable_multipart || size < part_bytes {
        return put_with_retries(
            bucket,
            at,
            &Source::File {
                file,
                offset: 0,
                len: size,
            },
        )
        .await;
    }
    let part_bytes = part_bytes.max(size.div_ceil(MAX_PARTS));
    let ranges = (0..size.div_ceil(part_bytes)).map(move |n| {
        let offset = n * part_bytes;
        Source::File {
            file: Arc::clone(&file),
            offset,
            len: part_bytes.min(size - offset),
        }
    });
    multipart::upload(bucket, at, stream::iter(ranges.map(Ok)).boxed()).await
}

async fn upload_stream(bucket: &S3Bucket, at: At<'_>, mut parts: Parts) -> Result<()> {
    let first = parts.next(at).await?;
    if parts.is_at_end {
        return put_with_retries(bucket, at, &Source::Bytes(first.unwrap_or_default())).await;
    }
    let rest = stream::try_unfold(parts, move |mut parts| async move {
        Ok(parts.next(at).await?.map(|bytes| (Source::Bytes(bytes), parts)))
    });
    let first = stream::iter(first.map(|bytes| Ok(Source::Bytes(bytes))));
    multipart::upload(bucket, at, first.chain(rest).boxed()).await
}

async fn put_with_retries(bucket: &S3Bucket, at: At<'_>, source: &Source) -> Result<()> {
    let shared = &bucket.shared;
    let place = (at.operation, at.bucket, at.key);
    shared
        .policy
        .run(|| {
            shared
                .deadlines
                .run(source.len(), place, Box::pin(put(bucket, at, source)))
        })
        .await
}

/// A stream cut into parts.
struct Parts {
    source: ByteSource,
    promised: Option<u64>,
    /// What came with the last part and belongs to the next.
    left: Bytes,
    total: u64,
    number: u64,
    is_at_end: bool,
}

impl Parts {
    fn new(source: ByteSource, promised: Option<u64>) -> Self {
        Self {
            source,
            promised,
            left: Bytes::new(),
            total: 0,
            number: 0,
            is_at_end: false,
        }
    }

    /// Parts are small, but there may be only so many: of a stream whose size is not known they grow on the way.
    fn part_bytes(&self) -> u64 {
        let bytes = match self.promised {
            Some(size) => size.div_ceil(MAX_PARTS),
            None if self.number < MAX_PARTS / 4 => MIN_PART_BYTES,
            None if self.number < MAX_PARTS / 2 => 2 * MIN_PART_BYTES,
            None => MAX_STREAM_PART_BYTES,
        };
        bytes.max(MIN_PART_BYTES)
    }

    /// The next part, all of one size but the last; `None` after that.
    async fn next(&mut self, at: At<'_>) -> Result<Option<Bytes>> {
        let len = usize::try_from(self.part_bytes()).map_err(|_| {
            at.fail(
                ErrorKind::TooLarge,
                "a part of this upload does not fit into memory",
            )
        })?;
        let mut part = BytesMut::new();
        while part.len() < len {
            let Some(mut bytes) = self.more(at).await? else {
                break;
            };
            let taken = bytes.split_to(bytes.len().min(len - part.len()));
            self.left = bytes;
            self.total += taken.len() as u64;
            if part.is_empty() && taken.len() == len {
                return self.finish(at, taken).await.map(Some);
            }
            part.extend_from_slice(&taken);
        }
        if part.is_empty() {
            return Ok(None);
        }
        self.finish(at, part.freeze()).await.map(Some)
    }

    /// What is left of the last piece, or else the next one.
    async fn more(&mut self, at: At<'_>) -> Result<Option<Bytes>> {
        while self.left.is_empty() && !self.is_at_end {
            match self.source.try_next().await.map_err(|e| source_error(at, &e))? {
                Some(bytes) => self.left = bytes,
                None => {
                    self.is_at_end = true;
                    check_size(at, self.total, self.promised)?;
                }
            }
            let came = self.total + self.left.len() as u64;
            if self.promised.is_some_and(|promised| came > promised) {
                check_size(at, came, self.promised)?;
            }
        }
        Ok(Some(std::mem::take(&mut self.left)).filter(|left| !left.is_empty()))
    }

    /// Counts a part. If it should be the last, the source is asked whether it is.
    async fn finish(&mut self, at: At<'_>, part: Bytes) -> Result<Bytes> {
        self.number += 1;
        if self.number > MAX_PARTS {
            let what = format!("the upload has more than {MAX_PARTS} parts: upload it from a file");
            return Err(at.fail(ErrorKind::TooLarge, what));
        }
        if self.promised == Some(self.total) && self.left.is_empty() {
            // Anything but the end is an error.
            self.more(at).await?;
        }
        Ok(part)
    }
}

fn check_size(at: At<'_>, came: u64, promised: Option<u64>) -> Result<()> {
    match promised {
        Some(promised) if promised != came => {
            let what = format!("the source of the upload gave {came} bytes, promised were {promised}");
            Err(at.fail(ErrorKind::Other, what))
        }
        _ => Ok(()),
    }
}

async fn open(at: At<'_>, path: PathBuf) -> Result<(File, u64)> {
    let shown = path.display().to_string();
    let opened = spawn_blocking(move || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    });
    let opened = opened.await.map_err(io::Error::other).flatten();
    opened.map_err(|e: io::Error| at.fail(ErrorKind::Other, format!("cannot read {shown}: {e}")))
}

/// Reads a stream whole, because its size must be known before it is sent.
async fn whole_stream(at: At<'_>, source: ByteSource, promised: Option<u64>) -> Result<Bytes> {
    let too_large = |max_bytes: usize| {
        let what = format!(
            "the upload has more than {max_bytes} bytes, and disable_multipart allows no parts: upload it from a file, \
             or allow parts"
        );
        at.fail(ErrorKind::TooLarge, what)
    };
    if promised.is_some_and(|promised| promised > MAX_WHOLE_STREAM_BYTES as u64) {
        return Err(too_large(MAX_WHOLE_STREAM_BYTES));
    }
    let bytes = match gather(source, MAX_WHOLE_STREAM_BYTES).await {
        Ok(bytes) => bytes,
        Err(GatherError::Source(error)) => return Err(source_error(at, &error)),
        Err(GatherError::TooLarge { max_bytes }) => return Err(too_large(max_bytes)),
    };
    check_size(at, bytes.len() as u64, promised)?;
    Ok(bytes)
}

fn source_error(at: At<'_>, error: &io::Error) -> Error {
    at.fail(
        ErrorKind::Other,
        format!("the source of the upload failed: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;

    const AT: At<'_> = At {
        operation: Operation::Upload,
        bucket: "b",
        key: "k",
    };

    async fn cut(pieces: Vec<usize>, promised: Option<u64>) -> Result<Vec<usize>> {
        let source = stream::iter(pieces.into_iter().map(|len| Ok(Bytes::from(vec![0; len])))).boxed();
        let mut parts = Parts::new(source, promised);
        let mut lens = Vec::new();
        while let Some(part) = parts.next(AT).await? {
            lens.push(part.len());
        }
        Ok(lens)
    }

    #[tokio::test]
    async fn parts_are_of_one_size_however_the_bytes_come() {
        let part = 5 << 20;
        assert_eq!(cut(vec![], None).await.unwrap(), [0; 0]);
        assert_eq!(cut(vec![1, 2], None).await.unwrap(), [3]);
        assert_eq!(cut(vec![part], None).await.unwrap(), [part]);
        assert_eq!(
            cut(vec![3 * part + 1], None).await.unwrap(),
            [part, part, part, 1]
        );
        assert_eq!(
            cut(vec![part - 1, 2, part - 1], None).await.unwrap(),
            [part, part]
        );
        assert_eq!(cut(vec![1 << 20; 11], None).await.unwrap(), [part, part, 1 << 20]);
        assert_eq!(cut(vec![1 << 20; 11], Some(11 << 20)).await.unwrap().len(), 3);
        assert!(
            cut(vec![10], Some(11))
                .await
                .unwrap_err()
                .to_string()
                .contains("gave 10 bytes")
        );
        assert!(cut(vec![10], Some(9)).await.is_err());
    }

    #[tokio::test]
    async fn a_stream_that_may_not_be_cut_is_held_within_a_limit_and_checked_against_its_promise() {
        let source = |pieces: usize| {
            let pieces = (0..pieces).map(|_| Ok(Bytes::from_static(&[7; 1 << 10])));
            stream::iter(pieces).boxed()
        };
        let whole = whole_stream(AT, source(3), Some(3 << 10)).await.unwrap();
        assert_eq!(whole.len(), 3 << 10);
        let error = whole_stream(AT, source(3), Some(9)).await.unwrap_err();
        assert!(error.to_string().contains("gave 3072 bytes, promised were 9"));
        let promised = MAX_WHOLE_STREAM_BYTES as u64 + 1;
        for promised in [None, Some(promised)] {
            let error = whole_stream(AT, source((64 << 10) + 1), promised)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            assert!(error.to_string().contains("upload it from a file"), "{error}");
        }
    }

    #[test]
    fn parts_grow_so_that_they_do_not_run_out() {
        let mut parts = Parts::new(stream::empty().boxed(), None);
        let total: u64 = (0..MAX_PARTS)
            .map(|number| {
                parts.number = number;
                parts.part_bytes()
            })
            .sum();
        assert!(total > 100 << 30, "{total}");
        assert!(parts.part_bytes() <= MAX_STREAM_PART_BYTES);
        let known = Parts::new(stream::empty().boxed(), Some(100 << 30));
        assert!(known.part_bytes() * MAX_PARTS >= 100 << 30);
    }
}
