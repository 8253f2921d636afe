//! Marks: small files in a block's directory by which one program tells others what it will do.

use std::fmt;

use bytes::Bytes;
use sabre_model::BlockId;
use sabre_objstore::{Bucket, BucketExt, ErrorKind};
use sabre_tsdb::meta::{DeletionMark, MarkError, NoCompactMark, NoDownsampleMark};

use crate::{
    error::{BlockError, Result},
    layout::key,
};

/// The most bytes of a mark that are read: its only text of any length is `details`.
const MAX_MARK_BYTES: u64 = 1 << 20;

/// The kinds of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MarkKind {
    /// The block is to be deleted.
    Deletion,
    /// The block is not to be compacted.
    NoCompact,
    /// The block is not to be downsampled.
    NoDownsample,
}

/// A mark that can be read from and written to a bucket.
pub trait Mark: Sized + Clone + fmt::Debug + Send + Sync {
    /// Its kind, which says the name of its file.
    const KIND: MarkKind;

    /// The block that it stands for.
    fn block(&self) -> BlockId;

    /// Reads its file.
    fn parse(text: &[u8]) -> Result<Self, MarkError>;

    /// The text of its file.
    fn to_json(&self) -> Vec<u8>;
}

/// What [`write()`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The mark is in the bucket now.
    New,
    /// There was one before, which stays as it is.
    Existing,
}

/// Writes a mark unless there is one of its kind: a mark is never overwritten.
pub async fn write<M: Mark>(bucket: &dyn Bucket, mark: &M) -> Result<Written> {
    let (block, file) = (mark.block(), M::KIND.file_name());
    let fail = |error: sabre_objstore::Error| BlockError::new(block, file, error);
    let key = key(block, file);
    if bucket.exists(&key).await.map_err(fail)? {
        tracing::warn!(%block, mark = file, "the block has this mark already, it stays as it is");
        return Ok(Written::Existing);
    }
    bucket
        .put(&key, Bytes::from(mark.to_json()))
        .await
        .map_err(fail)?;
    Ok(Written::New)
}

/// Reads the mark of a block; `None` if it has none.
///
/// A mark that is not valid JSON counts as none and is logged. One of an unknown version is an error: it means
/// something, but nobody here knows what.
pub async fn read<M: Mark>(bucket: &dyn Bucket, block: BlockId) -> Result<Option<M>> {
    let file = M::KIND.file_name();
    let text = match bucket.get_all_if_present(&key(block, file), MAX_MARK_BYTES).await {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::TooLarge => {
            tracing::warn!(%block, mark = file, %error, "mark is ignored");
            return Ok(None);
        }
        Err(error) => return Err(BlockError::new(block, file, error)),
    };
    match M::parse(&text) {
        Ok(mark) => Ok(Some(mark)),
        Err(error @ MarkError::Version { .. }) => Err(BlockError::invalid(block, file, error.to_string())),
        Err(error) => {
            tracing::warn!(%block, mark = file, %error, "mark is ignored");
            Ok(None)
        }
    }
}

/// Removes the mark of a block; a missing one is a success.
pub async fn remove(bucket: &dyn Bucket, block: BlockId, kind: MarkKind) -> Result<()> {
    let file = kind.file_name();
    bucket
        .delete(&key(block, file))
        .await
        .map_err(|error| BlockError::new(block, file, error))
}

impl MarkKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Deletion, Self::NoCompact, Self::NoDownsample];

    /// The name of the file in the block's directory.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Deletion => DeletionMark::FILE_NAME,
            Self::NoCompact => NoCompactMark::FILE_NAME,
            Self::NoDownsample => NoDownsampleMark::FILE_NAME,
        }
    }

    /// The kind whose file is called `name`.
    pub fn from_file_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.file_name() == name)
    }
}

/// The three types differ in nothing that matters here.
macro_rules! mark {
    ($mark:ty, $kind:ident) => {
        impl Mark for $mark {
            const KIND: MarkKind = MarkKind::$kind;

            fn block(&self) -> BlockId {
                self.id
            }

            fn parse(text: &[u8]) -> Result<Self, MarkError> {
                Self::parse(text)
            }

            fn to_json(&self) -> Vec<u8> {
                self.to_json()
            }
        }
    };
}

mark!(DeletionMark, Deletion);
mark!(NoCompactMark, NoCompact);
mark!(NoDownsampleMark, NoDownsample);

#[cfg(test)]
mod tests {
    use sabre_objstore::MemoryBucket;

    use super::*;
    use crate::error::ErrorClass;

    fn block() -> BlockId {
        BlockId::from_parts(1, [7; 10])
    }

    fn mark(details: &str) -> DeletionMark {
        DeletionMark {
            id: block(),
            details: details.to_owned(),
            deletion_time_s: 5,
        }
    }

    #[tokio::test]
    async fn a_mark_is_written_read_and_removed() {
        let bucket = MemoryBucket::new("b");
        assert_eq!(read::<DeletionMark>(&bucket, block()).await.unwrap(), None);
        assert_eq!(write(&bucket, &mark("why")).await.unwrap(), Written::New);
        assert_eq!(
            read::<DeletionMark>(&bucket, block()).await.unwrap(),
            Some(mark("why"))
        );
        assert_eq!(read::<NoCompactMark>(&bucket, block()).await.unwrap(), None);
        remove(&bucket, block(), MarkKind::Deletion).await.unwrap();
        remove(&bucket, block(), MarkKind::Deletion).await.unwrap();
        assert!(bucket.objects().is_empty());
    }

    #[tokio::test]
    async fn a_mark_is_never_overwritten() {
        let bucket = MemoryBucket::new("b");
        write(&bucket, &mark("first")).await.unwrap();
        assert_eq!(write(&bucket, &mark("second")).await.unwrap(), Written::Existing);
        assert_eq!(
            read::<DeletionMark>(&bucket, block()).await.unwrap(),
            Some(mark("first"))
        );
    }

    #[tokio::test]
    async fn broken_json_counts_as_no_mark_but_an_unknown_version_is_an_error() {
        let bucket = MemoryBucket::new("b");
        let key = key(block(), DeletionMark::FILE_NAME);
        bucket.put(&key, Bytes::from_static(b"{\"id\":")).await.unwrap();
        assert_eq!(read::<DeletionMark>(&bucket, block()).await.unwrap(), None);
        bucket
            .put(&key, Bytes::from_static(b"{\"version\":2}"))
            .await
            .unwrap();
        let error = read::<DeletionMark>(&bucket, block()).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Permanent);
        assert!(error.to_string().contains("deletion-mark.json"), "{error}");
        bucket
            .put(&key, Bytes::from(vec![b' '; MAX_MARK_BYTES as usize + 1]))
            .await
            .unwrap();
        assert_eq!(
            read::<DeletionMark>(&bucket, block()).await.unwrap(),
            None,
            "too large to be one"
        );
    }

    #[test]
    fn kinds_are_known_by_their_files() {
        for kind in MarkKind::ALL {
            assert_eq!(MarkKind::from_file_name(kind.file_name()), Some(kind));
        }
        assert_eq!(MarkKind::from_file_name("meta.json"), None);
    }
}
