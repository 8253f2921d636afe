//! Uploads a block from a local directory, so that it appears in the bucket at once and whole.

mod local;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{TryStreamExt, stream};
use sabre_model::BlockId;
use sabre_objstore::{Bucket, UploadSource};
use sabre_tsdb::meta::{BlockMeta, UploadTime};

pub use self::local::HashFunc;
use self::local::{LocalBlock, LocalFile};
use crate::{
    blocking,
    error::{BlockError, Result},
    fetcher::{BlockObjects, discover::list_block},
    layout::{INDEX_FILE, META_FILE, block_of_dir, key},
};

/// How a block is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadOptions {
    /// How many chunk segments are sent at once.
    pub concurrency: usize,
    /// The hashes that `meta.json` shall name.
    pub hash: HashFunc,
    /// Whether the uploaded files are listed and their sizes compared before `meta.json` makes them a block. One
    /// request.
    pub verify: bool,
    /// Whether a block without external labels is refused: its origin could not be told any more.
    pub require_labels: bool,
    /// Files that an earlier upload left whole are not sent again, if any of them was written since this moment, in
    /// milliseconds since the epoch: older parts may be cleaned away right now. One request. `None` sends everything.
    pub resume_since_ms: Option<i64>,
}

/// A block that is in the bucket now.
#[derive(Debug, Clone, PartialEq)]
pub struct Uploaded {
    /// The block.
    pub block: BlockId,
    /// Its `meta.json` as it is in the bucket.
    pub meta: BlockMeta,
    /// Bytes of all its files but `meta.json`.
    pub size_bytes: u64,
    /// Bytes of those that were there already.
    pub resumed_bytes: u64,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            concurrency: 4,
            hash: HashFunc::None,
            verify: true,
            require_labels: true,
            resume_since_ms: None,
        }
    }
}

/// Uploads the block in `dir`, whose name is its id: the chunks, then the index, and `meta.json` last.
///
/// `now_ms` tells the time, in milliseconds since the epoch, once everything else is uploaded. Until `meta.json` is
/// there nobody takes the directory for a block; so a failure, a stop of the process or a drop of this future
/// leaves a partial block, which the same call again makes whole: it sends what is missing (see
/// [`UploadOptions::resume_since_ms`]) or everything anew, over what is there.
/// Nothing is cleaned up here. The local directory is only read, and must not change meanwhile: where a file is not what
/// it was when the upload began, `meta.json` is held back.
pub async fn upload_block(
    bucket: &dyn Bucket,
    dir: &Path,
    options: UploadOptions,
    now_ms: fn() -> i64,
) -> Result<Uploaded> {
    let local = read_local(dir, options).await?;
    upload_local(bucket, local, options, now_ms).await
}

/// [`upload_block`] of a block whose `meta.json` is `meta`, whatever `dir` holds and is called: nothing need be written
/// there to make another of it.
pub async fn upload_block_as(
    bucket: &dyn Bucket,
    dir: &Path,
    meta: BlockMeta,
    options: UploadOptions,
    now_ms: fn() -> i64,
) -> Result<Uploaded> {
    let dir = PathBuf::from(dir);
    let local = blocking::run_block(meta.ulid, move || {
        LocalBlock::of(meta, &dir, options.hash, options.require_labels)
    })
    .await?;
    upload_local(bucket, local, options, now_ms).await
}

async fn upload_local(
    bucket: &dyn Bucket,
    local: LocalBlock,
    options: UploadOptions,
    now_ms: fn() -> i64,
) -> Result<Uploaded> {
    let LocalBlock {
        block,
        mut meta,
        chunks,
        index,
    } = local;
    let size_bytes = total_bytes(chunks.iter().chain([&index]));
    let left = left_behind(bucket, block, options.resume_since_ms).await?;
    let is_there = |file: &&LocalFile| left.size_of(&file.rel_path) == Some(file.size_bytes);
    let resumed_bytes = total_bytes(chunks.iter().chain([&index]).filter(is_there));
    let missing = chunks.iter().filter(|file| !is_there(file)).map(Ok);
    let sent = stream::iter(missing)
        .try_for_each_concurrent(options.concurrency.max(1), |file| send(bucket, block, file));
    sent.await?;
    if !is_there(&&index) {
        send(bucket, block, &index).await?;
    }
    if options.verify {
        verify(bucket, block, chunks.iter().chain([&index])).await?;
    }
    blocking::run_block(block, move || {
        let mut files = chunks.iter().chain([&index]);
        files.try_for_each(|file| file.check_unchanged(block))
    })
    .await?;
    if let Some(thanos) = &mut meta.thanos {
        thanos.upload_time = UploadTime::from_unix_ms(now_ms());
    }
    let text = Bytes::from(meta.to_json());
    let put = bucket.put(&key(block, META_FILE), text).await;
    put.map_err(|error| BlockError::new(block, META_FILE, error))?;
    Ok(Uploaded {
        block,
        meta,
        size_bytes,
        resumed_bytes,
    })
}

fn total_bytes<'a>(files: impl Iterator<Item = &'a LocalFile>) -> u64 {
    files.fold(0, |sum, file| sum.saturating_add(file.size_bytes))
}

/// What an earlier upload of the block left. Objects appear whole or not at all, and files of a block never change: one
/// of the right size is the right one.
async fn left_behind(
    bucket: &dyn Bucket,
    block: BlockId,
    resume_since_ms: Option<i64>,
) -> Result<BlockObjects> {
    let Some(since_ms) = resume_since_ms else {
        return Ok(BlockObjects::default());
    };
    let left = list_block(bucket, block).await?;
    let is_fresh = left.newest_modified_ms.is_some_and(|newest| newest >= since_ms);
    Ok(if is_fresh { left } else { BlockObjects::default() })
}

async fn read_local(dir: &Path, options: UploadOptions) -> Result<LocalBlock> {
    let name = dir.file_name().and_then(|name| name.to_str());
    let Some(block) = name.and_then(block_of_dir) else {
        let what = "the name of the directory is not the id of a block";
        return Err(BlockError::invalid(
            BlockId::default(),
            dir.display().to_string(),
            what,
        ));
    };
    let dir = PathBuf::from(dir);
    blocking::run_block(block, move || {
        LocalBlock::read(block, &dir, options.hash, options.require_labels)
    })
    .await
}

async fn send(bucket: &dyn Bucket, block: BlockId, file: &LocalFile) -> Result<()> {
    let sent = bucket
        .upload(&key(block, &file.rel_path), UploadSource::File(file.path.clone()))
        .await;
    sent.map_err(|error| BlockError::new(block, &file.rel_path, error))
}

/// Compares what the bucket lists with what was sent.
async fn verify<'a>(
    bucket: &dyn Bucket,
    block: BlockId,
    files: impl Iterator<Item = &'a LocalFile>,
) -> Result<()> {
    let objects = list_block(bucket, block).await?;
    for LocalFile {
        rel_path, size_bytes, ..
    } in files
    {
        let found = match objects.size_of(rel_path) {
            Some(listed_bytes) if listed_bytes == *size_bytes => continue,
            Some(listed_bytes) => format!("has {listed_bytes} bytes there"),
            None if objects.has_more_segments && rel_path != INDEX_FILE => continue,
            None => "is not there".to_owned(),
        };
        let what = format!(
            "{size_bytes} bytes were uploaded, but by the listing of the bucket the file {found}; \
             meta.json is held back, upload again"
        );
        return Err(BlockError::invalid(block, rel_path, what));
    }
    Ok(())
}
