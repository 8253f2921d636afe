//! The trait that everything which stores blocks is written against.

use std::{fmt, io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};

use crate::error::{Operation, Result};

/// A bucket that is shared between tasks.
pub type SharedBucket = Arc<dyn Bucket>;

/// The bytes of a [`UploadSource::Stream`]; an error in it fails the upload.
pub type ByteSource = BoxStream<'static, io::Result<Bytes>>;

/// Size and time of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The whole key, as the bucket was asked for it.
    pub key: String,
    /// How many bytes the object has.
    pub size_bytes: u64,
    /// When it was written, in milliseconds since the epoch.
    pub last_modified_ms: i64,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListEntry {
    /// An object.
    Object(ObjectMeta),
    /// A directory that holds at least one object: its whole key with a trailing "/". Only in listings that are
    /// not recursive.
    Dir(String),
}

/// A whole object, to be read once.
pub struct GetBody {
    /// How many bytes the object has.
    pub size_bytes: u64,
    /// Exactly `size_bytes` bytes, or an error.
    pub stream: BoxStream<'static, Result<Bytes>>,
}

/// A part of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeBody {
    /// Exactly `min(len, object_size_bytes - offset)` bytes.
    pub bytes: Bytes,
    /// How many bytes the whole object has.
    pub object_size_bytes: u64,
}

/// Where the bytes of an upload come from.
pub enum UploadSource {
    /// A local file, read by offset; it must not change meanwhile.
    File(PathBuf),
    /// Bytes as they become known. Buffered are only the parts in flight, a few MiB each; where a bucket is told to
    /// use no parts the whole stream is, and one beyond 64 MiB is refused.
    Stream {
        /// The bytes.
        stream: ByteSource,
        /// How many there will be, if that is known: an upload of any other number fails.
        size_bytes: Option<u64>,
    },
}

/// An upload that was begun and neither finished nor aborted, perhaps because its process died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingUpload {
    /// The key it would be known by.
    pub key: String,
    /// What the bucket calls the upload.
    pub id: String,
    /// When it was begun, in milliseconds since the epoch.
    pub started_ms: i64,
}

/// A map from keys to objects, listed like a file system.
///
/// Keys are checked by every operation, see [`crate::key`]. An object appears whole or not at all, and replaces
/// what was there before. Nothing here retries or waits beyond one request: that is what the decorators do.
#[async_trait]
pub trait Bucket: Send + Sync + fmt::Debug {
    /// What messages and metrics call this bucket.
    fn name(&self) -> &str;

    /// Lists the directory `prefix` ("" is the root; a trailing "/" makes no difference), sorted by key.
    ///
    /// Without `recursive` one level: its objects and its directories. With it every object below. A missing
    /// directory is an empty listing. Pages are fetched as the stream is read, so memory is bounded.
    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>>;

    /// Reads a whole object.
    async fn get(&self, key: &str) -> Result<GetBody>;

    /// Reads `min(len, size - offset)` bytes from `offset`: never fewer, which is
    /// [`ErrorKind::Truncated`](crate::ErrorKind::Truncated). An offset equal to the size yields no bytes, one
    /// beyond it is [`ErrorKind::Invalid`](crate::ErrorKind::Invalid).
    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody>;

    /// Size and time of an object.
    async fn attributes(&self, key: &str) -> Result<ObjectMeta>;

    /// Writes a small object by one request.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()>;

    /// Writes an object of any size, by parts where the bucket can. What fails or is dropped leaves no object
    /// and, as far as the server can be reached, no parts.
    async fn upload(&self, key: &str, source: UploadSource) -> Result<()>;

    /// Deletes an object; a missing one is a success.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Whether there is an object.
    async fn exists(&self, key: &str) -> Result<bool> {
        match self.attributes(key).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.with_operation(Operation::Exists)),
        }
    }

    /// Reads an object that may well be missing, which is then no failure in the metrics.
    async fn get_if_present(&self, key: &str) -> Result<Option<GetBody>> {
        match self.get(key).await {
            Ok(body) => Ok(Some(body)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Uploads below the directory `prefix` that were begun and not finished, running ones among them.
    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        let _ = prefix;
        Ok(Vec::new())
    }

    /// Aborts an upload that [`Bucket::pending_uploads`] named; one that is gone is a success.
    async fn abort_upload(&self, upload: &PendingUpload) -> Result<()> {
        let _ = upload;
        Ok(())
    }
}

impl ListEntry {
    /// The key of the object, or the directory with its trailing "/".
    pub fn key(&self) -> &str {
        match self {
            Self::Object(meta) => &meta.key,
            Self::Dir(dir) => dir,
        }
    }

    /// The object, if it is one.
    pub fn into_object(self) -> Option<ObjectMeta> {
        match self {
            Self::Object(meta) => Some(meta),
            Self::Dir(_) => None,
        }
    }
}

impl UploadSource {
    /// A stream whose size is not known yet.
    pub fn stream(stream: impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self::Stream {
            stream: stream.boxed(),
            size_bytes: None,
        }
    }

    /// Bytes at hand; prefer [`Bucket::put`] where they are few.
    pub fn bytes(bytes: Bytes) -> Self {
        let size_bytes = Some(bytes.len() as u64);
        Self::Stream {
            stream: stream::iter([Ok(bytes)]).boxed(),
            size_bytes,
        }
    }
}

impl From<PathBuf> for UploadSource {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl fmt::Debug for GetBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetBody")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UploadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Stream { size_bytes, .. } => f
                .debug_struct("Stream")
                .field("size_bytes", size_bytes)
                .finish_non_exhaustive(),
        }
    }
}

#[async_trait]
impl<B: Bucket + ?Sized> Bucket for Arc<B> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
        (**self).list(prefix, recursive).await
    }

    async fn get(&self, key: &str) -> Result<GetBody> {
        (**self).get(key).await
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        (**self).get_range(key, offset, len).await
    }

    async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
        (**self).attributes(key).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        (**self).put(key, bytes).await
    }

    async fn upload(&self, key: &str, source: UploadSource) -> Result<()> {
        (**self).upload(key, source).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        (**self).delete(key).await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        (**self).exists(key).await
    }

    async fn get_if_present(&self, key: &str) -> Result<Option<GetBody>> {
        (**self).get_if_present(key).await
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        (**self).pending_uploads(prefix).await
    }

    async fn abort_upload(&self, upload: &PendingUpload) -> Result<()> {
        (**self).abort_upload(upload).await
    }
}
