//! A directory as a bucket: the object `a/b` is the file `<directory>/a/b`.
//!
//! Unlike Thanos' own, writes are atomic: an object is written below `.sabre-tmp`, which is no key and never listed,
//! made durable, and renamed to its place. Symbolic links are followed, so that a directory may be put together from
//! elsewhere; a loop of links is left out of listings.

mod list;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{
    bucket::{Bucket, GetBody, ListEntry, ObjectMeta, PendingUpload, RangeBody, UploadSource},
    error::{Error, ErrorKind, Operation, Result},
    key,
};

/// Where objects are written before they get their names, below the root. Hidden from all operations.
pub(crate) const TEMP_DIR: &str = ".sabre-tmp";

/// A bucket in a local directory.
#[derive(Clone, Debug)]
pub struct FilesystemBucket {
    root: Arc<Root>,
}

#[derive(Debug)]
struct Root {
    path: PathBuf,
    name: String,
}

impl FilesystemBucket {
    /// The bucket in `directory`. Without it nothing can be read or listed; it is made when the first object is written.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let path: PathBuf = directory.into();
        // The name that Thanos gives it in its metrics.
        let name = format!("fs: {}", path.display());
        Self {
            root: Arc::new(Root { path, name }),
        }
    }

    /// Runs `work` where it may block.
    async fn blocking<T, F>(&self, operation: Operation, key: &str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Root) -> Result<T> + Send + 'static,
    {
        let root = Arc::clone(&self.root);
        match tokio::task::spawn_blocking(move || work(&root)).await {
            Ok(result) => result,
            Err(panic) => Err(self.root.error(operation, key, io::Error::other(panic))),
        }
    }
}

impl Root {
    /// The path of an object. The key is checked: without that it could name a file anywhere.
    fn path(&self, operation: Operation, key: &str) -> Result<PathBuf> {
        key::check(operation, &self.name, key)?;
        if is_hidden(key) {
            let what = format!("{TEMP_DIR:?} is where unfinished objects are kept: no key may begin with it");
            return Err(Error::new(ErrorKind::Invalid, operation, &self.name, key, what));
        }
        Ok(self.path.join(key))
    }

    /// Says what an I/O error means for an object.
    fn error(&self, operation: Operation, key: &str, error: io::Error) -> Error {
        if let Some(no_bucket) = self.no_bucket(operation, key, &error) {
            return no_bucket;
        }
        let at = self.path.display();
        let (kind, what) = match error.kind() {
            io::ErrorKind::NotFound => {
                return Error::not_found(operation, &self.name, key).with_source(error);
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => (
                ErrorKind::AccessDenied,
                format!("check which user may do this below {at}"),
            ),
            io::ErrorKind::InvalidFilename => (
                ErrorKind::Invalid,
                "the key has a part that is too long for the file system".to_owned(),
            ),
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::AlreadyExists => (
                ErrorKind::Invalid,
                "one key would have to be both an object and a directory".to_owned(),
            ),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (ErrorKind::Other, format!("there is no space left below {at}"))
            }
            _ => (ErrorKind::Other, format!("i/o error below {at}")),
        };
        Error::new(kind, operation, &self.name, key, format!("{what}: {error}"))
    }

    /// As [`Root::error`] while reading, where a file in place of a directory means that nothing is there.
    fn read_error(&self, operation: Operation, key: &str, error: io::Error) -> Error {
        if let Some(no_bucket) = self.no_bucket(operation, key, &error) {
            return no_bucket;
        }
        match error.kind() {
            io::ErrorKind::NotADirectory => Error::not_found(operation, &self.name, key),
            _ => self.error(operation, key, error),
        }
    }

    /// That there is the directory of the bucket.
    fn is_there(&self) -> io::Result<()> {
        match self.path.metadata()?.is_dir() {
            true => Ok(()),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// If nothing is found because the whole bucket is missing: a typo, or a volume that is not mounted, must not look
    /// like an empty bucket.
    fn no_bucket(&self, operation: Operation, key: &str, error: &io::Error) -> Option<Error> {
        use io::ErrorKind::{AlreadyExists, NotADirectory, NotFound};
        if !matches!(error.kind(), AlreadyExists | NotADirectory | NotFound) {
            return None;
        }
        let at = self.path.display();
        let what = match self.is_there().err()?.kind() {
            NotFound => {
                format!("there is no directory {at}: check `directory`; if it is right, mount or make it")
            }
            NotADirectory => format!("{at} is no directory: check `directory`"),
            _ => return None,
        };
        Some(Error::new(ErrorKind::Invalid, operation, &self.name, key, what))
    }
}

fn is_hidden(key: &str) -> bool {
    key.strip_prefix(TEMP_DIR)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn last_modified_ms(metadata: &std::fs::Metadata) -> i64 {
    let since_epoch = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since_epoch
        .and_then(|time| i64::try_from(time.as_millis()).ok())
        .unwrap_or(0)
}

#[async_trait]
impl Bucket for FilesystemBucket {
    fn name(&self) -> &str {
        &self.root.name
    }

    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
        let dir = key::directory(&self.root.name, prefix)?;
        Ok(list::entries(self.clone(), dir, recursive))
    }

    async fn get(&self, key: &str) -> Result<GetBody> {
        let path = self.root.path(Operation::Get, key)?;
        let owned = key.to_owned();
        let (file, size_bytes) = self
            .blocking(Operation::Get, key, move |root| {
                read::open(&path).map_err(|e| root.read_error(Operation::Get, &owned, e))
            })
            .await?;
        Ok(read::body(self.clone(), key.to_owned(), file, size_bytes))
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        let path = self.root.path(Operation::GetRange, key)?;
        let owned = key.to_owned();
        self.blocking(Operation::GetRange, key, move |root| {
            read::range(root, &path, &owned, offset, len)
        })
        .await
    }

    async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
        let path = self.root.path(Operation::Attributes, key)?;
        let owned = key.to_owned();
        self.blocking(Operation::Attributes, key, move |root| {
            let found = path
                .metadata()
                .map_err(|e| root.read_error(Operation::Attributes, &owned, e))?;
            if !found.is_file() {
                return Err(Error::not_found(Operation::Attributes, &root.name, &owned));
            }
            let last_modified_ms = last_modified_ms(&found);
            Ok(ObjectMeta {
                key: owned,
                size_bytes: found.len(),
                last_modified_ms,
            })
        })
        .await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        let path = self.root.path(Operation::Upload, key)?;
        let owned = key.to_owned();
        self.blocking(Operation::Upload, key, move |root| {
            write::put(root, &path, &owned, &bytes)
        })
        .await
    }

    async fn upload(&self, key: &str, source: UploadSource) -> Result<()> {
        let path = self.root.path(Operation::Upload, key)?;
        match source {
            UploadSource::File(from) => {
                let owned = key.to_owned();
                self.blocking(Operation::Upload, key, move |root| {
                    write::copy(root, &path, &owned, &from)
                })
                .await
            }
            UploadSource::Stream { stream, size_bytes } => {
                write::stream(self, key, path, stream, size_bytes).await
            }
        }
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.root.path(Operation::Delete, key)?;
        let owned = key.to_owned();
        self.blocking(Operation::Delete, key, move |root| {
            write::delete(root, &path, &owned)
        })
        .await
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        let dir = key::directory(&self.root.name, prefix)?;
        self.blocking(Operation::Iter, prefix, move |root| write::pending(root, &dir))
            .await
    }

    async fn abort_upload(&self, upload: &PendingUpload) -> Result<()> {
        let upload = upload.clone();
        self.blocking(Operation::Upload, &upload.key.clone(), move |root| {
            write::abort(root, &upload)
        })
        .await
    }
}

/// Makes a directory's entries durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}
