//! The blocks in `tests/golden`, which every checkout has: served by a store gateway, they come back chunk by chunk as an
//! index reader finds them on disk.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use sabre_model::Labels;
use sabre_objstore::FilesystemBucket;
use sabre_proto::thanos::{Aggr, LabelMatcher, SeriesRequest, label_matcher, store_client::StoreClient};
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_store::{StoreConfig, StoreGateway};
use sabre_testkit::series::series;
use sabre_tsdb::{
    chunk::aggregate::{Aggregate, AggregateChunk},
    index::{IndexReader, SeriesEntry},
    meta::BlockMeta,
    segment::{ChunkRef, read_record, segment_name},
};

/// What is compared of a chunk: its range, and its data by aggregate (raw is 0).
type Chunk = (i64, i64, BTreeMap<u8, Vec<u8>>);

fn unpack(dir: &Path) -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/blocks.tar.zst");
    let file = fs::File::open(path).context(path)?;
    tar::Archive::new(zstd::Decoder::new(file)?).unpack(dir)?;
    Ok(())
}

fn block_dirs(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for group in ["raw/raw2h-a", "raw/raw2h-b", "thanos/long"] {
        for entry in fs::read_dir(dir.join(group))? {
            found.push(entry?.path());
        }
    }
    Ok(found)
}

fn on_disk(dir: &Path) -> Result<BTreeMap<Labels, Vec<Chunk>>> {
    let meta = BlockMeta::parse(&fs::read(dir.join("meta.json"))?)?;
    let index = IndexReader::open(fs::read(dir.join("index"))?)?;
    let mut all = BTreeMap::new();
    let mut entry = SeriesEntry::default();
    for series_ref in index.all_postings()? {
        index.series(series_ref, &mut entry)?;
        let labels = index.labels(series_ref, &entry)?.overlaid(&meta.ext_labels());
        let chunks = entry.chunks.iter().map(|chunk| {
            let at = ChunkRef(chunk.chunk_ref);
            let segment = fs::read(dir.join("chunks").join(segment_name(at.segment())))?;
            let bytes = segment
                .get(at.offset() as usize..)
                .context("offset in the segment")?;
            let record = read_record(bytes, u64::from(at.offset()))?;
            let data = match record.encoding {
                0xff => {
                    let parts = AggregateChunk::parse(record.data)?;
                    let wanted = [
                        (1, Aggregate::Count),
                        (2, Aggregate::Sum),
                        (5, Aggregate::Counter),
                    ];
                    wanted
                        .into_iter()
                        .filter_map(|(number, which)| Some((number, parts.get(which)?.data.to_vec())))
                        .collect()
                }
                _ => BTreeMap::from([(0, record.data.to_vec())]),
            };
            anyhow::Ok((chunk.mint, chunk.maxt, data))
        });
        all.insert(labels, chunks.collect::<Result<Vec<_>>>()?);
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_the_checkout_are_served_chunk_by_chunk() -> Result<()> {
    let dir = tempfile::tempdir()?;
    unpack(dir.path())?;
    let bucket_dir = dir.path().join("bucket");
    for block in block_dirs(dir.path())? {
        fs::create_dir_all(&bucket_dir)?;
        fs::rename(&block, bucket_dir.join(block.file_name().context("a name")?))?;
    }
    let gateway = StoreGateway::new(
        Arc::new(FilesystemBucket::new(&bucket_dir)),
        StoreConfig::new(dir.path().join("store")),
        Budget::unlimited(),
        &Registry::new(),
    );
    gateway.sync(sabre_runtime::clock::now_ms()).await?;
    let served = sabre_testkit::grpc::serve(tonic::service::Routes::new(gateway.store_service())).await?;
    let mut client = StoreClient::new(served.channel.clone()).max_decoding_message_size(usize::MAX);

    let (mut series_seen, mut chunks_seen) = (0, 0);
    for entry in fs::read_dir(&bucket_dir)? {
        let block = entry?.path();
        let meta = BlockMeta::parse(&fs::read(block.join("meta.json"))?)?;
        let want = on_disk(&block)?;
        let all = LabelMatcher {
            r#type: label_matcher::Type::Re as i32,
            name: "__name__".to_string(),
            value: ".*".to_string(),
        };
        let only = meta
            .ext_labels()
            .iter()
            .map(|(name, value)| LabelMatcher {
                name: name.to_string(),
                value: value.to_string(),
                ..LabelMatcher::default()
            })
            .collect::<Vec<_>>();
        let request = SeriesRequest {
            min_time: meta.min_time,
            max_time: meta.max_time - 1,
            matchers: [vec![all], only].concat(),
            max_resolution_window: meta.resolution_ms(),
            aggregates: vec![Aggr::Count as i32, Aggr::Sum as i32, Aggr::Counter as i32],
            ..SeriesRequest::default()
        };
        let answer = series(&mut client, request).await?;
        assert_eq!(answer.disorder(), None);
        let got: BTreeMap<Labels, Vec<Chunk>> = answer
            .by_labels()
            .into_iter()
            .map(|(labels, chunks)| {
                let chunks = chunks.into_iter().map(|chunk| {
                    let parts = [
                        (0, chunk.raw),
                        (1, chunk.count),
                        (2, chunk.sum),
                        (5, chunk.counter),
                    ];
                    let data = parts
                        .into_iter()
                        .filter_map(|(number, part)| Some((number, part?.data.to_vec())))
                        .collect();
                    (chunk.min_time, chunk.max_time, data)
                });
                (labels, chunks.collect())
            })
            .collect();
        assert_eq!(got.len(), want.len(), "{}", block.display());
        for (labels, chunks) in &want {
            // A coarser block may lie beside this one in time: what is asked for is that all of this one is there.
            let answered = got
                .get(labels)
                .with_context(|| format!("{labels} of {}", block.display()))?;
            for chunk in chunks {
                assert!(
                    answered.contains(chunk),
                    "{labels}: chunk {} to {} of {}",
                    chunk.0,
                    chunk.1,
                    block.display()
                );
            }
            chunks_seen += chunks.len();
        }
        series_seen += want.len();
    }
    assert!(
        series_seen >= 200 && chunks_seen >= 500,
        "{series_seen} series, {chunks_seen} chunks"
    );
    Ok(())
}
