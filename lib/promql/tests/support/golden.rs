//! The raw blocks of the golden data in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sabre_model::Labels;
use sabre_promql::source::{MemorySamples, MemoryStorage, RawChunk};
use sabre_testkit::golden::Golden;
use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::index::{IndexReader, SeriesEntry};
use sabre_tsdb::meta::BlockMeta;
use sabre_tsdb::segment::{ChunkRef, read_record};

/// All series of the blocks in some folders, with the external labels of their blocks.
pub(crate) fn storage(golden: &Golden, folders: &[&str]) -> MemoryStorage {
    let mut series: BTreeMap<Labels, Vec<RawChunk>> = BTreeMap::new();
    for folder in folders {
        for dir in golden.block_dirs(folder).unwrap() {
            add_block(&dir, &mut series);
        }
    }
    let mut storage = MemoryStorage::new();
    for (labels, mut chunks) in series {
        chunks.sort_by_key(|chunk| (chunk.mint, chunk.maxt));
        storage.insert(labels, MemorySamples::Chunks(chunks.into()));
    }
    storage
}

fn add_block(dir: &Path, series: &mut BTreeMap<Labels, Vec<RawChunk>>) {
    let meta = BlockMeta::parse(&fs::read(dir.join("meta.json")).unwrap()).unwrap();
    let external = meta.thanos.and_then(|thanos| thanos.labels).unwrap_or_default();
    let mut names: Vec<_> = fs::read_dir(dir.join("chunks"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let segments: Vec<Vec<u8>> = names.iter().map(|name| fs::read(name).unwrap()).collect();
    let index = IndexReader::open(fs::read(dir.join("index")).unwrap()).unwrap();
    let mut cursor = index.all_series();
    let mut entry = SeriesEntry::default();
    while let Some(series_ref) = cursor.next_into(&mut entry).unwrap() {
        let labels = index.labels(series_ref, &entry).unwrap().overlaid(&external);
        let chunks = series.entry(labels).or_default();
        for meta in &entry.chunks {
            let at = ChunkRef(meta.chunk_ref);
            let segment = &segments[at.segment() as usize];
            let record = read_record(&segment[at.offset() as usize..], u64::from(at.offset())).unwrap();
            chunks.push(RawChunk {
                mint: meta.mint,
                maxt: meta.maxt,
                encoding: Encoding::try_from(record.encoding).unwrap(),
                data: record.data.into(),
            });
        }
    }
}
