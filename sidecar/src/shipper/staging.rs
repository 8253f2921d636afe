//! The directory a block is uploaded from: hard links, so that Prometheus may delete its own meanwhile.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sabre_model::Labels;
use sabre_tsdb::meta::{BlockMeta, ThanosMeta};

use super::{check, disk::Disk, scan::LocalBlock};

/// `<tsdb>/thanos/upload/<ulid>`, removed when dropped.
#[derive(Debug)]
pub(crate) struct Staged {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

/// What a shipped block says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Laid over the labels the block has; never empty.
    pub(crate) external_labels: Labels,
    /// `thanos.source`: `sidecar`.
    pub(crate) source: String,
}

impl Staged {
    /// Links `chunks/*` and `index`, checks what can be checked at a glance, and writes meta.json with the `thanos`
    /// section. What an earlier attempt left is removed first.
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        tsdb_dir: &Path,
        block: &LocalBlock,
        identity: &Identity,
    ) -> io::Result<Staged> {
        let dir = staging_root(tsdb_dir).join(block.id.to_string());
        disk.remove_dir(&dir)?;
        disk.create_dirs(&dir.join("chunks"))?;
        let staged = Staged { disk, dir };
        let disk = &*staged.disk;
        let segments = link_segments(disk, &block.dir, &staged.dir)?;
        link(disk, &block.dir.join("index"), &staged.dir.join("index"))?;
        check::block(disk, &staged.dir, &segments, block.meta.stats.num_chunks)?;
        let meta = shipped_meta(&block.meta, identity, segments);
        disk.write(&staged.dir.join("meta.json"), &meta.to_json())?;
        Ok(staged)
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Err(error) = self.disk.remove_dir(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "could not remove the upload directory; the next sync will");
        }
    }
}

/// Where staged blocks lie.
pub(crate) fn staging_root(tsdb_dir: &Path) -> PathBuf {
    tsdb_dir.join("thanos").join("upload")
}

/// Removes what a killed sidecar left staged.
pub(crate) fn clear(disk: &dyn Disk, tsdb_dir: &Path) -> io::Result<()> {
    disk.remove_dir(&staging_root(tsdb_dir))
}

/// The meta.json that goes to the bucket.
fn shipped_meta(local: &BlockMeta, identity: &Identity, segments: Vec<String>) -> BlockMeta {
    let mut meta = local.clone();
    let mut thanos: ThanosMeta = meta.thanos.take().unwrap_or_default();
    thanos.labels = Some(
        thanos
            .labels
            .take()
            .unwrap_or_default()
            .overlaid(&identity.external_labels),
    );
    identity.source.clone_into(&mut thanos.source);
    thanos.segment_files = segments;
    meta.thanos = Some(thanos);
    meta
}

fn link_segments(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let chunks = from.join("chunks");
    for name in disk.names(&chunks).map_err(at(&chunks))? {
        let name = name.into_string().map_err(|name| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("segment {} is not named in UTF-8", name.display()),
            )
        })?;
        link(
            disk,
            &from.join("chunks").join(&name),
            &to.join("chunks").join(&name),
        )?;
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

fn link(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    disk.link(from, to).map_err(at(from))
}

/// Says in an error of the system where it happened.
fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
