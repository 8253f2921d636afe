//! Walking a directory in the order of keys, holding one level per depth and no more.

use std::{fs, io, os::unix::fs::MetadataExt};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{FilesystemBucket, Root, is_hidden, last_modified_ms};
use crate::{
    bucket::{ListEntry, ObjectMeta},
    error::{Operation, Result},
    key,
};

/// How many entries are looked up on the blocking pool at once.
const PAGE_ENTRIES: usize = 512;

/// Where a walk stands.
struct Walk {
    recursive: bool,
    levels: Vec<Level>,
}

/// What is left of one directory.
struct Level {
    /// The directory's key with its trailing "/", or "".
    dir: String,
    /// Tells a directory from the same one reached through a link.
    id: (u64, u64),
    /// Keys that are left, directories with a trailing "/", in descending order.
    keys: Vec<String>,
}

pub(super) fn entries(
    bucket: FilesystemBucket,
    dir: String,
    recursive: bool,
) -> BoxStream<'static, Result<ListEntry>> {
    let walk = Walk {
        recursive,
        levels: Vec::new(),
    };
    let pages = stream::try_unfold(
        (bucket, walk, Some(dir)),
        |(bucket, mut walk, start)| async move {
            let at = match (&start, walk.levels.last()) {
                (Some(dir), _) => dir.clone(),
                (None, Some(level)) => level.dir.clone(),
                (None, None) => return Ok(None),
            };
            let owned = at.clone();
            let work = move |root: &Root| {
                let page = walk
                    .next_page(root, start)
                    .map_err(|e| root.error(Operation::Iter, &owned, e))?;
                Ok((page, walk))
            };
            let (page, walk) = bucket.blocking(Operation::Iter, &at, work).await?;
            Ok(Some((
                stream::iter(page.into_iter().map(Ok)),
                (bucket, walk, None),
            )))
        },
    );
    pages
        .flat_map(|page| match page {
            Ok(page) => page.boxed(),
            Err(error) => stream::once(futures::future::ready(Err(error))).boxed(),
        })
        .boxed()
}

impl Walk {
    fn next_page(&mut self, root: &Root, start: Option<String>) -> io::Result<Vec<ListEntry>> {
        if let Some(dir) = start {
            self.enter(root, dir)?;
            if self.levels.is_empty() {
                root.is_there()?;
            }
        }
        let mut page = Vec::new();
        while let Some(level) = self.levels.last_mut() {
            if page.len() >= PAGE_ENTRIES {
                break;
            }
            let Some(key) = level.keys.pop() else {
                self.levels.pop();
                continue;
            };
            if !key.ends_with('/') {
                page.extend(object(root, key)?);
            } else if self.recursive {
                self.enter(root, key)?;
            } else if holds_object(root, &key, &mut vec![level.id])? {
                page.push(ListEntry::Dir(key));
            }
        }
        Ok(page)
    }

    fn enter(&mut self, root: &Root, dir: String) -> io::Result<()> {
        let above: Vec<_> = self.levels.iter().map(|level| level.id).collect();
        self.levels.extend(read_level(root, dir, &above)?);
        Ok(())
    }
}

/// Reads one directory; `None` if it is gone or one of those above, reached through a link.
fn read_level(root: &Root, dir: String, above: &[(u64, u64)]) -> io::Result<Option<Level>> {
    let path = root.path.join(&dir);
    let Some(metadata) = unless_gone(path.metadata())? else {
        return Ok(None);
    };
    let id = (metadata.dev(), metadata.ino());
    if above.contains(&id) {
        tracing::warn!(
            bucket = root.name,
            dir,
            "a symbolic link leads back to a directory above it; left out"
        );
        return Ok(None);
    }
    let Some(found) = unless_gone(fs::read_dir(&path))? else {
        return Ok(None);
    };
    let mut keys = Vec::new();
    for entry in found {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let key = format!("{dir}{name}");
        if key::why_invalid(&key).is_some() || is_hidden(&key) {
            continue;
        }
        match kind(&entry)? {
            Some(Kind::Directory) => keys.push(key + "/"),
            Some(Kind::File) => keys.push(key),
            None => {}
        }
    }
    keys.sort_unstable_by(|a, b| b.cmp(a));
    Ok(Some(Level { dir, id, keys }))
}

#[derive(PartialEq)]
enum Kind {
    Directory,
    File,
}

fn kind(entry: &fs::DirEntry) -> io::Result<Option<Kind>> {
    let mut kind = entry.file_type()?;
    if kind.is_symlink() {
        let Some(target) = unless_gone(fs::metadata(entry.path()))? else {
            return Ok(None);
        };
        kind = target.file_type();
    }
    Ok(match (kind.is_dir(), kind.is_file()) {
        (true, _) => Some(Kind::Directory),
        (_, true) => Some(Kind::File),
        _ => None,
    })
}

fn object(root: &Root, key: String) -> io::Result<Option<ListEntry>> {
    let Some(found) = unless_gone(root.path.join(&key).metadata())? else {
        return Ok(None);
    };
    let last_modified_ms = last_modified_ms(&found);
    Ok(Some(ListEntry::Object(ObjectMeta {
        key,
        size_bytes: found.len(),
        last_modified_ms,
    })))
}

/// Whether there is any object below `dir`: a directory without one does not exist in a bucket.
fn holds_object(root: &Root, dir: &str, above: &mut Vec<(u64, u64)>) -> io::Result<bool> {
    let Some(level) = read_level(root, dir.to_owned(), above)? else {
        return Ok(false);
    };
    if level.keys.iter().any(|key| !key.ends_with('/')) {
        return Ok(true);
    }
    above.push(level.id);
    for below in &level.keys {
        if holds_object(root, below, above)? {
            return Ok(true);
        }
    }
    above.pop();
    Ok(false)
}

/// What was deleted while the directory was read, or never was one, is not an error.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    let is_link_loop = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    matches!(error.kind(), NotFound | NotADirectory) || is_link_loop
}
