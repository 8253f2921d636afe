//! The directory a block is uploaded from: hard links, so that Prometheus may delete its own meanwhile.
//!
//! A full disk takes no new directory. Then a block is uploaded from where it lies, for that is when Prometheus deletes
//! blocks: who waits for room loses them. Its files never change; should they all the same, meta.json is held back.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sabre_model::Labels;
use sabre_tsdb::meta::{BlockMeta, ThanosMeta};

use super::{check, disk::Disk, scan::LocalBlock};

/// A block that is ready to be uploaded.
#[derive(Debug)]
pub(crate) struct Staged {
    /// What goes to the bucket as meta.json.
    pub(crate) meta: BlockMeta,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Links(Links),
    /// Prometheus' own directory, and why there are no links.
    Original {
        dir: PathBuf,
        why: io::Error,
    },
}

/// `<tsdb>/thanos/upload/<ulid>`, removed when dropped.
#[derive(Debug)]
struct Links {
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
    /// Links `chunks/*` and `index`, if that can be, and checks what can be checked at a glance. What an earlier attempt
    /// left is removed first.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        tsdb_dir: &Path,
        block: &LocalBlock,
        identity: &Identity,
    ) -> io::Result<Staged> {
        let num_chunks = block.meta.stats.num_chunks;
        let (place, segments) = match Links::create(Arc::clone(disk), tsdb_dir, block) {
            Ok((links, segments)) => {
                check::block(&**disk, &links.dir, &segments, num_chunks)?;
                (Place::Links(links), segments)
            }
            Err(why) => {
                // If it was the block that could not be read, it cannot be read here either.
                let segments = segment_names(&**disk, &block.dir)?;
                check::block(&**disk, &block.dir, &segments, num_chunks)?;
                let dir = block.dir.clone();
                (Place::Original { dir, why }, segments)
            }
        };
        Ok(Staged {
            meta: shipped_meta(&block.meta, identity, segments),
            place,
        })
    }

    /// Where the files are.
    pub(crate) fn dir(&self) -> &Path {
        match &self.place {
            Place::Links(links) => &links.dir,
            Place::Original { dir, .. } => dir,
        }
    }

    /// Why the files are Prometheus' own, which it may delete meanwhile; `None` if they are links.
    pub(crate) fn why_not_linked(&self) -> Option<&io::Error> {
        match &self.place {
            Place::Links(_) => None,
            Place::Original { why, .. } => Some(why),
        }
    }
}

impl Links {
    /// The links, and the names of the segments.
    fn create(disk: Arc<dyn Disk>, tsdb_dir: &Path, block: &LocalBlock) -> io::Result<(Links, Vec<String>)> {
        let dir = staging_root(tsdb_dir).join(block.id.to_string());
        disk.remove_dir(&dir).map_err(at(&dir))?;
        let links = Links { disk, dir };
        let (disk, dir) = (&*links.disk, &links.dir);
        let chunks = dir.join("chunks");
        disk.create_dirs(&chunks).map_err(at(&chunks))?;
        let segments = segment_names(disk, &block.dir)?;
        for name in &segments {
            link(disk, &block.dir.join("chunks").join(name), &chunks.join(name))?;
        }
        link(disk, &block.dir.join("index"), &dir.join("index"))?;
        Ok((links, segments))
    }
}

impl Drop for Links {
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

/// Sorted.
fn segment_names(disk: &dyn Disk, block_dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let chunks = block_dir.join("chunks");
    for name in disk.names(&chunks).map_err(at(&chunks))? {
        let name = name.into_string().map_err(|name| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("segment {} is not named in UTF-8", name.display()),
            )
        })?;
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
