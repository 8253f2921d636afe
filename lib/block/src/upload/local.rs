//! A block in a local directory, ready to be uploaded.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sabre_model::BlockId;
use sabre_tsdb::meta::{self, BlockMeta, FileHash, ThanosMeta};
use sha2::{Digest, Sha256};

use crate::{
    error::{BlockError, Cause, Result},
    layout::{CHUNKS_DIR, INDEX_FILE, META_FILE},
};

/// The hashes of files that `meta.json` can name: `--hash-func`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HashFunc {
    /// None.
    #[default]
    None,
    /// SHA-256.
    Sha256,
}

/// A local block whose meta names all its files.
#[derive(Debug)]
pub(super) struct LocalBlock {
    pub(super) block: BlockId,
    pub(super) meta: BlockMeta,
    /// The chunk segments, sorted by name.
    pub(super) chunks: Vec<LocalFile>,
    pub(super) index: LocalFile,
}

/// A file of it.
#[derive(Debug)]
pub(super) struct LocalFile {
    /// Its path in the block.
    pub(super) rel_path: String,
    pub(super) path: PathBuf,
    pub(super) size_bytes: u64,
    /// `None` where the file system has no such time.
    modified: Option<SystemTime>,
    hash: Option<FileHash>,
}

impl LocalBlock {
    /// Reads and checks a local block, and completes its meta by the list of its files.
    pub(super) fn read(block: BlockId, dir: &Path, hash: HashFunc, require_labels: bool) -> Result<Self> {
        Self::of(read_meta(block, dir)?, dir, hash, require_labels)
    }

    /// The same with a meta that may be another than the one in `dir`.
    pub(super) fn of(mut meta: BlockMeta, dir: &Path, hash: HashFunc, require_labels: bool) -> Result<Self> {
        let block = meta.ulid;
        let thanos = meta.thanos.get_or_insert_default();
        if require_labels && thanos.labels.as_ref().is_none_or(|labels| labels.is_empty()) {
            let what = "no external labels: set external_labels in the configuration of Prometheus";
            return Err(BlockError::invalid(block, META_FILE, what));
        }
        let chunks = read_chunks(block, dir, hash)?;
        if chunks.is_empty() && meta.stats.num_chunks > 0 {
            let what = format!(
                "no segments, though {META_FILE} counts {} chunks; the block is not uploaded",
                meta.stats.num_chunks
            );
            return Err(BlockError::invalid(block, CHUNKS_DIR, what));
        }
        if let Some(name) = thanos
            .segment_files
            .iter()
            .find(|name| !has_segment(&chunks, name))
        {
            let what = "the file is missing in the local block, which is therefore not uploaded";
            return Err(BlockError::invalid(block, format!("{CHUNKS_DIR}/{name}"), what));
        }
        let index = LocalFile::read(block, dir.join(INDEX_FILE), INDEX_FILE.to_owned(), hash)?;
        set_files(thanos, &chunks, &index);
        Ok(Self {
            block,
            meta,
            chunks,
            index,
        })
    }
}

impl HashFunc {
    /// The value of the flag; `None` if there is no such function.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "" => Some(Self::None),
            "SHA256" => Some(Self::Sha256),
            _ => None,
        }
    }

    fn of_file(self, path: &Path) -> io::Result<Option<FileHash>> {
        let Self::Sha256 = self else { return Ok(None) };
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let length = file.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            hasher.update(buffer.get(..length).unwrap_or_default());
        }
        let value = hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Some(FileHash {
            func: "SHA256".to_owned(),
            value,
            ..FileHash::default()
        }))
    }
}

impl LocalFile {
    fn read(block: BlockId, path: PathBuf, rel_path: String, hash: HashFunc) -> Result<Self> {
        let read = || {
            let found = fs::metadata(&path)?;
            if !found.is_file() {
                return Err(Cause::Invalid("not a regular file".to_owned()));
            }
            Ok((found.len(), found.modified().ok(), hash.of_file(&path)?))
        };
        match read() {
            Ok((size_bytes, modified, hash)) => Ok(Self {
                rel_path,
                path,
                size_bytes,
                modified,
                hash,
            }),
            Err(cause) => Err(BlockError::new(block, path.display().to_string(), cause)),
        }
    }

    /// Fails if the file was removed, replaced or written to since it was looked at first. Its inode says nothing more:
    /// some file systems give a file another one each time.
    pub(super) fn check_unchanged(&self, block: BlockId) -> Result<()> {
        let found = fs::metadata(&self.path)
            .map_err(|error| BlockError::new(block, self.path.display().to_string(), error))?;
        if found.len() == self.size_bytes && found.modified().ok() == self.modified {
            return Ok(());
        }
        let what = "the file was replaced while the block was sent; meta.json is held back, upload again";
        Err(BlockError::invalid(block, &self.rel_path, what))
    }

    fn entry(&self) -> meta::File {
        meta::File {
            rel_path: self.rel_path.clone(),
            size_bytes: i64::try_from(self.size_bytes).unwrap_or(i64::MAX),
            hash: self.hash.clone(),
            ..meta::File::default()
        }
    }
}

fn read_meta(block: BlockId, dir: &Path) -> Result<BlockMeta> {
    let path = dir.join(META_FILE);
    let shown = path.display().to_string();
    let text = fs::read(&path).map_err(|error| BlockError::new(block, &shown, error))?;
    let meta =
        BlockMeta::parse(&text).map_err(|error| BlockError::invalid(block, &shown, error.to_string()))?;
    if meta.ulid != block {
        let what = format!("says that it belongs to block {}", meta.ulid);
        return Err(BlockError::invalid(block, shown, what));
    }
    Ok(meta)
}

fn read_chunks(block: BlockId, dir: &Path, hash: HashFunc) -> Result<Vec<LocalFile>> {
    let dir = dir.join(CHUNKS_DIR);
    let fail = |error: io::Error| BlockError::new(block, dir.display().to_string(), error);
    let mut chunks = Vec::new();
    for entry in fs::read_dir(&dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let Ok(name) = entry.file_name().into_string() else {
            let what = format!(
                "holds {:?}, which is no name of a chunk segment",
                entry.file_name()
            );
            return Err(BlockError::invalid(block, dir.display().to_string(), what));
        };
        chunks.push(LocalFile::read(
            block,
            entry.path(),
            format!("{CHUNKS_DIR}/{name}"),
            hash,
        )?);
    }
    chunks.sort_by(|a, b| a.rel_path.cmp(&b.rel_path));
    Ok(chunks)
}

fn has_segment(chunks: &[LocalFile], name: &str) -> bool {
    chunks
        .iter()
        .any(|file| file.rel_path.strip_prefix(CHUNKS_DIR) == Some(&format!("/{name}")))
}

/// Names all files, sorted by path; `meta.json` itself without a size, which it cannot know.
fn set_files(thanos: &mut ThanosMeta, chunks: &[LocalFile], index: &LocalFile) {
    let meta = meta::File {
        rel_path: META_FILE.to_owned(),
        ..meta::File::default()
    };
    thanos.files = chunks
        .iter()
        .map(LocalFile::entry)
        .chain([index.entry(), meta])
        .collect();
    thanos.files.sort_by(|a, b| a.rel_path.cmp(&b.rel_path));
}
