//! A bucket in memory, for tests.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use parking_lot::RwLock;

use crate::{
    bucket::{Bucket, GetBody, ListEntry, ObjectMeta, RangeBody, UploadSource},
    error::{Error, ErrorKind, Operation, Result},
    key,
};

/// How many bytes [`Bucket::get`] hands out at once: few, so that callers who expect one piece get caught.
const PIECE_BYTES: usize = 16 << 10;

/// A bucket in memory whose clock stands still until it is set.
#[derive(Debug)]
pub struct MemoryBucket {
    name: String,
    now_ms: AtomicI64,
    objects: RwLock<BTreeMap<String, Object>>,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    last_modified_ms: i64,
}

impl MemoryBucket {
    /// An empty bucket.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            now_ms: AtomicI64::new(0),
            objects: RwLock::default(),
        }
    }

    /// Sets the time that objects written from now on will carry, in milliseconds since the epoch.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// All objects, sorted by key.
    pub fn objects(&self) -> Vec<(String, Bytes)> {
        self.objects
            .read()
            .iter()
            .map(|(key, object)| (key.clone(), object.bytes.clone()))
            .collect()
    }

    fn find(&self, operation: Operation, key: &str) -> Result<Object> {
        key::check(operation, &self.name, key)?;
        let found = self.objects.read().get(key).cloned();
        found.ok_or_else(|| Error::not_found(operation, &self.name, key))
    }

    /// The first entry of the directory `dir` after the key or directory `after`.
    fn next_entry(&self, dir: &str, after: &str, recursive: bool) -> Option<ListEntry> {
        let objects = self.objects.read();
        // There is no string just above everything below a directory, so that is skipped key by key.
        let start = if after.is_empty() {
            Bound::Included(dir)
        } else {
            Bound::Excluded(after)
        };
        let skipped_dir = if after.ends_with('/') { after } else { "" };
        for (key, object) in objects.range::<str, _>((start, Bound::Unbounded)) {
            let below = key.strip_prefix(dir)?;
            if !skipped_dir.is_empty() && key.starts_with(skipped_dir) {
                continue;
            }
            return Some(match below.split_once('/') {
                Some((first, _)) if !recursive => ListEntry::Dir(format!("{dir}{first}/")),
                _ => ListEntry::Object(meta(key, object)),
            });
        }
        None
    }

    fn insert(&self, key: &str, bytes: Bytes) {
        let object = Object {
            bytes,
            last_modified_ms: self.now_ms.load(Ordering::Relaxed),
        };
        self.objects.write().insert(key.to_owned(), object);
    }
}

fn meta(key: &str, object: &Object) -> ObjectMeta {
    ObjectMeta {
        key: key.to_owned(),
        size_bytes: object.bytes.len() as u64,
        last_modified_ms: object.last_modified_ms,
    }
}

#[async_trait]
impl Bucket for MemoryBucket {
    fn name(&self) -> &str {
        &self.name
    }

    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
        let dir = key::directory(&self.name, prefix)?;
        let entries = stream::unfold(String::new(), move |after| {
            let entry = self.next_entry(&dir, &after, recursive);
            futures::future::ready(entry.map(|entry| {
                let after = entry.key().to_owned();
                (Ok(entry), after)
            }))
        });
        Ok(entries.boxed())
    }

    async fn get(&self, key: &str) -> Result<GetBody> {
        let mut rest = self.find(Operation::Get, key)?.bytes;
        let size_bytes = rest.len() as u64;
        let pieces = std::iter::from_fn(move || {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            (!piece.is_empty()).then_some(Ok(piece))
        });
        Ok(GetBody {
            size_bytes,
            stream: stream::iter(pieces).boxed(),
        })
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        let bytes = self.find(Operation::GetRange, key)?.bytes;
        let object_size_bytes = bytes.len() as u64;
        let end = offset.saturating_add(len).min(object_size_bytes);
        let (Ok(from), Ok(to)) = (usize::try_from(offset), usize::try_from(end)) else {
            return Err(range_error(&self.name, key, offset, object_size_bytes));
        };
        if offset > object_size_bytes {
            return Err(range_error(&self.name, key, offset, object_size_bytes));
        }
        Ok(RangeBody {
            bytes: bytes.slice(from..to),
            object_size_bytes,
        })
    }

    async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
        let object = self.find(Operation::Attributes, key)?;
        Ok(meta(key, &object))
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        key::check(Operation::Upload, &self.name, key)?;
        self.insert(key, bytes);
        Ok(())
    }

    async fn upload(&self, key: &str, source: UploadSource) -> Result<()> {
        key::check(Operation::Upload, &self.name, key)?;
        let fail = |what: String| Error::new(ErrorKind::Other, Operation::Upload, &self.name, key, what);
        let bytes = match source {
            UploadSource::File(path) => tokio::task::spawn_blocking(move || {
                std::fs::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))
            })
            .await
            .map_err(|e| fail(format!("the reading task failed: {e}")))?
            .map_err(&fail)?
            .into(),
            UploadSource::Stream {
                mut stream,
                size_bytes,
            } => {
                let mut all = BytesMut::new();
                while let Some(bytes) = stream
                    .try_next()
                    .await
                    .map_err(|e| fail(format!("the source of the upload failed: {e}")))?
                {
                    all.extend_from_slice(&bytes);
                }
                if let Some(size) = size_bytes.filter(|size| *size != all.len() as u64) {
                    return Err(fail(format!("{size} bytes were promised, {} came", all.len())));
                }
                all.freeze()
            }
        };
        self.insert(key, bytes);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        key::check(Operation::Delete, &self.name, key)?;
        self.objects.write().remove(key);
        Ok(())
    }
}

/// The error of every bucket for an offset past the end.
pub(crate) fn range_error(bucket: &str, key: &str, offset: u64, size_bytes: u64) -> Error {
    let what = format!("offset {offset} is past the end of the object, which has {size_bytes} bytes");
    Error::new(ErrorKind::Invalid, Operation::GetRange, bucket, key, what)
}
