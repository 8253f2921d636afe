//! What every caller wants on top of the few required operations.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;

use crate::{
    bucket::{Bucket, GetBody, ListEntry},
    error::{Error, ErrorKind, Operation, Result},
};

/// Conveniences that no implementer can get wrong.
#[async_trait]
pub trait BucketExt: Bucket {
    /// Reads a whole object of at most `max_bytes` bytes; a larger one is [`ErrorKind::TooLarge`], and not read.
    async fn get_all(&self, key: &str, max_bytes: u64) -> Result<Bytes> {
        let body = self.get(key).await?;
        collect(self.name(), key, body, max_bytes).await
    }

    /// As [`BucketExt::get_all`] for an object that may well be missing.
    async fn get_all_if_present(&self, key: &str, max_bytes: u64) -> Result<Option<Bytes>> {
        match self.get_if_present(key).await? {
            Some(body) => Ok(Some(collect(self.name(), key, body, max_bytes).await?)),
            None => Ok(None),
        }
    }

    /// Reads exactly `len` bytes; an object that ends before is [`ErrorKind::Invalid`].
    async fn get_range_exact(&self, key: &str, offset: u64, len: u64) -> Result<Bytes> {
        let body = self.get_range(key, offset, len).await?;
        if body.bytes.len() as u64 == len {
            return Ok(body.bytes);
        }
        let what = format!(
            "{len} bytes wanted at offset {offset}, but the object has only {} bytes",
            body.object_size_bytes
        );
        Err(Error::new(
            ErrorKind::Invalid,
            Operation::GetRange,
            self.name(),
            key,
            what,
        ))
    }

    /// Lists a directory into memory; more than `max_entries` entries are [`ErrorKind::TooLarge`].
    async fn list_all(&self, prefix: &str, recursive: bool, max_entries: usize) -> Result<Vec<ListEntry>> {
        let mut listing = self.list(prefix, recursive).await?;
        let mut entries = Vec::new();
        while let Some(entry) = listing.try_next().await? {
            if entries.len() >= max_entries {
                let what = format!("more than {max_entries} entries");
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    Operation::Iter,
                    self.name(),
                    prefix,
                    what,
                ));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl<B: Bucket + ?Sized> BucketExt for B {}

async fn collect(bucket: &str, key: &str, mut body: GetBody, max_bytes: u64) -> Result<Bytes> {
    let fail = |kind, what: String| Error::new(kind, Operation::Get, bucket, key, what);
    if body.size_bytes > max_bytes {
        let what = format!(
            "the object has {} bytes, more than the allowed {max_bytes}",
            body.size_bytes
        );
        return Err(fail(ErrorKind::TooLarge, what));
    }
    let Some(first) = body.stream.try_next().await? else {
        return match body.size_bytes {
            0 => Ok(Bytes::new()),
            size => Err(fail(ErrorKind::Truncated, format!("0 of {size} bytes arrived"))),
        };
    };
    if first.len() as u64 == body.size_bytes {
        return Ok(first);
    }
    let size = usize::try_from(body.size_bytes).map_err(|_| {
        fail(
            ErrorKind::TooLarge,
            "the object does not fit into memory".to_owned(),
        )
    })?;
    let mut all = BytesMut::with_capacity(size);
    all.extend_from_slice(&first);
    while let Some(bytes) = body.stream.try_next().await? {
        if all.len().saturating_add(bytes.len()) > size {
            return Err(fail(
                ErrorKind::Truncated,
                format!("more than the promised {size} bytes arrived"),
            ));
        }
        all.extend_from_slice(&bytes);
    }
    if all.len() != size {
        return Err(fail(
            ErrorKind::Truncated,
            format!("{} of {size} bytes arrived", all.len()),
        ));
    }
    Ok(all.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryBucket;

    #[tokio::test]
    async fn bounds_what_it_takes() {
        let bucket = MemoryBucket::new("b");
        bucket.put("k", Bytes::from_static(b"0123456789")).await.unwrap();
        assert_eq!(bucket.get_all("k", 10).await.unwrap(), "0123456789");
        assert_eq!(
            bucket.get_all("k", 9).await.unwrap_err().kind(),
            ErrorKind::TooLarge
        );
        assert_eq!(bucket.get_all_if_present("missing", 9).await.unwrap(), None);
        assert_eq!(bucket.get_range_exact("k", 8, 2).await.unwrap(), "89");
        assert_eq!(
            bucket.get_range_exact("k", 8, 3).await.unwrap_err().kind(),
            ErrorKind::Invalid
        );
        bucket.put("l", Bytes::new()).await.unwrap();
        assert_eq!(bucket.list_all("", true, 2).await.unwrap().len(), 2);
        assert_eq!(
            bucket.list_all("", true, 1).await.unwrap_err().kind(),
            ErrorKind::TooLarge
        );
    }
}
