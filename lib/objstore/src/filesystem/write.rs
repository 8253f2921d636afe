//! Writing files so that they appear whole or not at all, and deleting them.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt;

use super::{FilesystemBucket, Root, TEMP_DIR, last_modified_ms, sync_dir};
use crate::{
    bucket::{ByteSource, PendingUpload},
    error::{Error, ErrorKind, Operation, Result},
};

/// How much of a stream is gathered before it is written.
const WRITE_BYTES: usize = 1 << 20;

/// How often the parents are made again because another task's delete took them away as empty.
const PARENT_TRIES: usize = 16;

/// The longest name of a file that every common file system takes.
const MAX_NAME_BYTES: usize = 255;

/// An object being written; dropped before [`Temp::commit`] it is removed.
struct Temp {
    path: PathBuf,
    file: Arc<File>,
}

impl Temp {
    /// Makes an empty file beside the objects, named so that it can be told later what it was to become.
    fn create(root: &Root, key: &str) -> io::Result<Self> {
        let dir = root.path.join(TEMP_DIR);
        loop {
            let path = dir.join(temp_name(rand::random(), key));
            match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(Self {
                        path,
                        file: Arc::new(file),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(&dir)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes the file durable and gives it its name.
    fn commit(self, root: &Root, to: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        let parent = to.parent().unwrap_or(&root.path);
        let mut tries = 0;
        loop {
            make_dirs(&root.path, parent)?;
            match fs::rename(&self.path, to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < PARENT_TRIES => tries += 1,
                Err(error) => return Err(error),
                Ok(()) => return sync_dir(parent),
            }
        }
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // After a commit there is nothing at this path; before it a failure leaves a leftover for the cleaner.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes `dir` and what is missing above it, durably.
fn make_dirs(root: &Path, dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|_| dir != root);
    if let Some(parent) = parent {
        make_dirs(root, parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return fs::create_dir_all(dir),
        result => result?,
    }
    parent.map_or(Ok(()), sync_dir)
}

pub(super) fn put(root: &Root, path: &Path, key: &str, bytes: &[u8]) -> Result<()> {
    let write = || {
        let temp = Temp::create(root, key)?;
        (&*temp.file).write_all(bytes)?;
        temp.commit(root, path)
    };
    write().map_err(|e| write_error(root, key, e))
}

pub(super) fn copy(root: &Root, path: &Path, key: &str, from: &Path) -> Result<()> {
    let source_error = |e: io::Error| {
        let what = format!("cannot read {}: {e}", from.display());
        Error::new(ErrorKind::Other, Operation::Upload, &root.name, key, what)
    };
    let mut source = File::open(from).map_err(source_error)?;
    let size = source.metadata().map_err(source_error)?.len();
    let mut write = || {
        let temp = Temp::create(root, key)?;
        let copied = io::copy(&mut source, &mut &*temp.file)?;
        if copied != size {
            let what = format!(
                "{} changed while it was read: {copied} bytes for {size}",
                from.display()
            );
            return Err(io::Error::other(what));
        }
        temp.commit(root, path)
    };
    write().map_err(|e| write_error(root, key, e))
}

pub(super) async fn stream(
    bucket: &FilesystemBucket,
    key: &str,
    path: PathBuf,
    mut source: ByteSource,
    size_bytes: Option<u64>,
) -> Result<()> {
    let root = &bucket.root;
    let owned = key.to_owned();
    let create = move |root: &Root| Temp::create(root, &owned).map_err(|e| write_error(root, &owned, e));
    let temp = bucket.blocking(Operation::Upload, key, create).await?;
    let mut total = 0;
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut gathered = 0;
    loop {
        let next = source.try_next().await.map_err(|e| {
            let what = format!("the source of the upload failed: {e}");
            Error::new(ErrorKind::Other, Operation::Upload, &root.name, key, what)
        })?;
        let is_last = next.is_none();
        if let Some(bytes) = next {
            gathered += bytes.len();
            total += bytes.len() as u64;
            pieces.push(bytes);
        }
        if gathered >= WRITE_BYTES || (is_last && gathered > 0) {
            let (file, taken, owned) = (
                Arc::clone(&temp.file),
                std::mem::take(&mut pieces),
                key.to_owned(),
            );
            gathered = 0;
            let write = move |root: &Root| {
                taken
                    .iter()
                    .try_for_each(|piece| (&*file).write_all(piece))
                    .map_err(|e| write_error(root, &owned, e))
            };
            bucket.blocking(Operation::Upload, key, write).await?;
        }
        if is_last {
            break;
        }
    }
    if let Some(promised) = size_bytes.filter(|promised| *promised != total) {
        let what = format!("the source of the upload gave {total} bytes, promised were {promised}");
        return Err(Error::new(
            ErrorKind::Other,
            Operation::Upload,
            &root.name,
            key,
            what,
        ));
    }
    let owned = key.to_owned();
    let commit = move |root: &Root| temp.commit(root, &path).map_err(|e| write_error(root, &owned, e));
    bucket.blocking(Operation::Upload, key, commit).await
}

pub(super) fn delete(root: &Root, path: &Path, key: &str) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) => {
            use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
            // A directory is no object, so there is nothing to delete.
            let is_missing = matches!(error.kind(), NotFound | NotADirectory | IsADirectory) || path.is_dir();
            if !is_missing {
                return Err(root.error(Operation::Delete, key, error));
            }
        }
    }
    // Whatever refuses to go, above all a directory that something is in, ends this.
    let parents = path.ancestors().skip(1).take_while(|dir| *dir != root.path);
    for parent in parents {
        if fs::remove_dir(parent).is_err() {
            break;
        }
    }
    Ok(())
}

pub(super) fn pending(root: &Root, dir: &str) -> Result<Vec<PendingUpload>> {
    let fail = |e| root.error(Operation::Iter, dir, e);
    let found = match fs::read_dir(root.path.join(TEMP_DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            root.is_there().map_err(fail)?;
            return Ok(Vec::new());
        }
        found => found.map_err(fail)?,
    };
    let mut pending = Vec::new();
    for entry in found {
        let entry = entry.map_err(fail)?;
        let Ok(id) = entry.file_name().into_string() else {
            continue;
        };
        let (Some(key), Ok(metadata)) = (key_of_temp(&id), entry.metadata()) else {
            continue;
        };
        if key.starts_with(dir) {
            pending.push(PendingUpload {
                key,
                id,
                started_ms: last_modified_ms(&metadata),
            });
        }
    }
    pending.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
    Ok(pending)
}

pub(super) fn abort(root: &Root, upload: &PendingUpload) -> Result<()> {
    if upload.id.contains('/') || key_of_temp(&upload.id).is_none() {
        let what = format!("{:?} is no unfinished upload", upload.id);
        return Err(Error::new(
            ErrorKind::Invalid,
            Operation::Upload,
            &root.name,
            &upload.key,
            what,
        ));
    }
    match fs::remove_file(root.path.join(TEMP_DIR).join(&upload.id)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(root.error(Operation::Upload, &upload.key, error))
        }
        _ => Ok(()),
    }
}

/// While writing, "not found" speaks of a directory and not of the object.
fn write_error(root: &Root, key: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let what = format!("a directory below {} vanished: {error}", root.path.display());
            Error::new(ErrorKind::Other, Operation::Upload, &root.name, key, what)
        }
        _ => root.error(Operation::Upload, key, error),
    }
}

/// A random number, so that two writers of one key do not meet, and the key as far as it fits.
fn temp_name(random: u64, key: &str) -> String {
    let mut name = format!("{random:016x}.");
    for c in key.chars() {
        let before = name.len();
        match c {
            '%' => name.push_str("%25"),
            '/' => name.push_str("%2F"),
            _ => name.push(c),
        }
        if name.len() > MAX_NAME_BYTES {
            name.truncate(before);
            break;
        }
    }
    name
}

fn key_of_temp(name: &str) -> Option<String> {
    let (random, key) = name.split_once('.')?;
    let is_random = random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit());
    is_random.then(|| key.replace("%2F", "/").replace("%25", "%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_key() {
        for key in ["01ABC/chunks/000001", "100%/x%2Fy", "ü.x"] {
            assert_eq!(key_of_temp(&temp_name(7, key)).as_deref(), Some(key));
        }
        let long = "ü/".repeat(300);
        let name = temp_name(u64::MAX, &long);
        assert!(name.len() <= MAX_NAME_BYTES);
        assert!(long.starts_with(&key_of_temp(&name).unwrap()));
        for not_temp in [
            "",
            "x",
            "0123.k",
            "0123456789abcdeg.k",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        ] {
            assert_eq!(key_of_temp(not_temp), None);
        }
    }
}
