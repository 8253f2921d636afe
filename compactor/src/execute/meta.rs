//! `meta.json` of results.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use sabre_block::{BlockError, layout};
use sabre_model::{BlockId, Labels};
use sabre_objstore::{Bucket, SharedBucket};
use sabre_tsdb::meta::{
    BlockDesc, BlockMeta, Compaction, Downsample, File as MetaFile, FileHash, SOURCE_COMPACTOR, ThanosMeta,
    UploadTime,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::job::Written;
use crate::plan::{BlockInfo, sources_of};

/// How much of a file is hashed at a time.
const HASH_BYTES: usize = 256 << 10;

/// The meta of what a compaction made, without its files.
pub(crate) fn compacted(
    sources: &[BlockInfo],
    labels: Labels,
    resolution_ms: i64,
    extensions: Option<Value>,
) -> BlockMeta {
    let metas = || sources.iter().map(|block| &block.meta);
    let origins: BTreeSet<BlockId> = metas()
        .flat_map(|meta| sources_of(meta).iter().copied())
        .collect();
    let mut parents: Vec<&BlockMeta> = metas().map(|meta| &**meta).collect();
    parents.sort_by_key(|meta| meta.min_time);
    let level = metas().map(|meta| meta.compaction.level).max().unwrap_or(0);
    BlockMeta {
        min_time: metas().map(|meta| meta.min_time).min().unwrap_or(0),
        max_time: metas().map(|meta| meta.max_time).max().unwrap_or(0),
        compaction: Compaction {
            level: level.saturating_add(1),
            sources: origins.into_iter().collect(),
            parents: parents.into_iter().map(desc).collect(),
            ..Compaction::default()
        },
        thanos: Some(ThanosMeta {
            labels: Some(labels),
            downsample: Downsample {
                resolution: resolution_ms,
                ..Downsample::default()
            },
            extensions,
            ..ThanosMeta::default()
        }),
        ..BlockMeta::default()
    }
}

/// The meta of what downsampling made of a block, without its files.
pub(crate) fn downsampled(source: &BlockMeta, resolution_ms: i64) -> BlockMeta {
    let mut meta = source.clone();
    meta.compaction.sources = sources_of(source).to_vec();
    let thanos = meta.thanos.get_or_insert_default();
    thanos.downsample.resolution = resolution_ms;
    meta
}

fn desc(meta: &BlockMeta) -> BlockDesc {
    BlockDesc {
        ulid: meta.ulid,
        min_time: meta.min_time,
        max_time: meta.max_time,
        ..BlockDesc::default()
    }
}

/// The extensions of a group: the keys that all of its blocks with extensions have, with the values of the first by
/// begin.
pub(crate) fn group_extensions(blocks: &[BlockInfo]) -> Option<Value> {
    let mut with_extensions = blocks
        .iter()
        .filter_map(|block| block.meta.thanos.as_ref()?.extensions.as_ref()?.as_object());
    let mut common = with_extensions.next()?.clone();
    for other in with_extensions {
        common.retain(|key, _| other.contains_key(key));
    }
    (!common.is_empty()).then_some(Value::Object(common))
}

/// Fills in what is known only when all files are there.
pub(crate) fn complete(meta: &mut BlockMeta, written: &Written, is_downsampled: bool) {
    let summary = &written.summary;
    meta.ulid = written.id;
    if is_downsampled {
        // What else is counted is left as it was in the source, as Thanos does it.
        meta.stats.num_samples = summary.stats.num_samples;
        meta.stats.num_series = summary.stats.num_series;
        meta.stats.num_chunks = summary.stats.num_chunks;
    } else {
        meta.stats = summary.stats.clone();
    }
    let thanos = meta.thanos.get_or_insert_default();
    SOURCE_COMPACTOR.clone_into(&mut thanos.source);
    thanos.index_stats = summary.index.estimates.to_index_stats();
    thanos.segment_files = written
        .segments
        .iter()
        .map(|segment| segment.name.clone())
        .collect();
    thanos.files = files(written);
}

fn files(written: &Written) -> Vec<MetaFile> {
    let hash = |value: Option<&String>| {
        value.map(|value| FileHash {
            func: "SHA256".to_owned(),
            value: value.clone(),
            ..FileHash::default()
        })
    };
    let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut files = Vec::with_capacity(written.segments.len() + 2);
    for (n, segment) in written.segments.iter().enumerate() {
        files.push(MetaFile {
            rel_path: format!("{}/{}", layout::CHUNKS_DIR, segment.name),
            size_bytes: size(segment.size_bytes),
            hash: hash(written.summary.hashes.get(n)),
            ..MetaFile::default()
        });
    }
    files.push(MetaFile {
        rel_path: layout::INDEX_FILE.to_owned(),
        size_bytes: size(written.summary.index.size_bytes),
        hash: hash(written.index_hash.as_ref()),
        ..MetaFile::default()
    });
    files.push(MetaFile {
        rel_path: layout::META_FILE.to_owned(),
        ..MetaFile::default()
    });
    files
}

/// Makes a block of the files: this is the one request that does.
pub(crate) async fn publish(
    bucket: &SharedBucket,
    meta: &mut BlockMeta,
    now_ms: i64,
) -> Result<(), BlockError> {
    if let Some(thanos) = &mut meta.thanos {
        thanos.upload_time = UploadTime::from_unix_ms(now_ms);
    }
    let key = layout::key(meta.ulid, layout::META_FILE);
    let put = bucket.put(&key, Bytes::from(meta.to_json())).await;
    put.map_err(|error| BlockError::new(meta.ulid, layout::META_FILE, error))
}

/// SHA-256 of a file in hexadecimal.
pub(crate) fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; HASH_BYTES];
    let mut hasher = Sha256::new();
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    let digest = hasher.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
