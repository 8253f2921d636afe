//! The directory a block is uploaded from: hard links, so that Prometheus may delete its own meanwhile.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sabre_model::Labels;
use sabre_tsdb::meta::{BlockMeta, ThanosMeta};

use super::scan::LocalBlock;

/// `<tsdb>/thanos/upload/<ulid>`, removed when dropped.
#[derive(Debug)]
pub(crate) struct Staged {
    dir: PathBuf,
}

/// What a shipped block says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Identity<'a> {
    /// Laid over the labels the block has; never empty.
    pub(crate) external_labels: &'a Labels,
    /// `thanos.source`: `sidecar`.
    pub(crate) source: &'a str,
}

impl Staged {
    /// Links `chunks/*` and `index`, and writes meta.json with the `thanos` section. What an earlier attempt left is
    /// removed first.
    pub(crate) fn create(tsdb_dir: &Path, block: &LocalBlock, identity: &Identity<'_>) -> io::Result<Staged> {
        let dir = staging_root(tsdb_dir).join(block.id.to_string());
        remove_if_there(&dir)?;
        fs::create_dir_all(dir.join("chunks"))?;
        let staged = Staged { dir };
        let segments = link_segments(&block.dir, &staged.dir)?;
        link(&block.dir.join("index"), &staged.dir.join("index"))?;
        let meta = shipped_meta(&block.meta, identity, segments);
        fs::write(staged.dir.join("meta.json"), meta.to_json())?;
        Ok(staged)
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Err(error) = remove_if_there(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "could not remove the upload directory; the next sync will");
        }
    }
}

/// Where staged blocks lie.
pub(crate) fn staging_root(tsdb_dir: &Path) -> PathBuf {
    tsdb_dir.join("thanos").join("upload")
}

/// Removes what a killed sidecar left staged.
pub(crate) fn clear(tsdb_dir: &Path) -> io::Result<()> {
    remove_if_there(&staging_root(tsdb_dir))
}

/// The meta.json that goes to the bucket.
fn shipped_meta(local: &BlockMeta, identity: &Identity<'_>, segments: Vec<String>) -> BlockMeta {
    let mut meta = local.clone();
    let mut thanos: ThanosMeta = meta.thanos.take().unwrap_or_default();
    thanos.labels = Some(
        thanos
            .labels
            .take()
            .unwrap_or_default()
            .overlaid(identity.external_labels),
    );
    identity.source.clone_into(&mut thanos.source);
    thanos.segment_files = segments;
    meta.thanos = Some(thanos);
    meta
}

fn link_segments(from: &Path, to: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(from.join("chunks"))? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("segment {} is not named in UTF-8", name.display()),
            )
        })?;
        link(&entry.path(), &to.join("chunks").join(&name))?;
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

/// A hard link, or a copy where the file system has none.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    let linked = fs::hard_link(from, to);
    match linked {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            fs::copy(from, to).map(|_| ())
        }
        other => other,
    }
    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", from.display())))
}

fn remove_if_there(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
