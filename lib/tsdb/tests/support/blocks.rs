//! Golden blocks with their series and chunks.

#![allow(dead_code, reason = "not every test program reads blocks")]

use std::collections::BTreeMap;

use bytes::Bytes;
use sabre_model::Labels;
use sabre_tsdb::index::{ChunkMeta, IndexReader, SeriesEntry};
use sabre_tsdb::meta::BlockMeta;
use sabre_tsdb::segment::{ChunkRef, SeriesChunk, segment_name};

/// All series of a block.
pub(crate) type Series = BTreeMap<Labels, Vec<SeriesChunk>>;

/// A block in memory.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) meta: BlockMeta,
    pub(crate) series: Series,
}

/// The blocks in a folder such as `raw/raw2h-a`, by time; none where the golden data is not installed.
pub(crate) fn blocks(folder: &str) -> Vec<Block> {
    let archive = format!("{}.tar.zst", folder.split('/').next().unwrap());
    let Some(files) = super::archive(&archive) else {
        return Vec::new();
    };
    let paths = files.keys().filter_map(|path| path.strip_suffix("/meta.json"));
    let mut blocks: Vec<Block> = paths
        .filter(|path| path.starts_with(&format!("{folder}/")))
        .map(|path| read(&files, path))
        .collect();
    blocks.sort_by_key(|block| (block.meta.min_time, block.meta.ulid));
    blocks
}

fn read(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Block {
    let meta = BlockMeta::parse(&files[&format!("{path}/meta.json")]).unwrap();
    let index = IndexReader::open(files[&format!("{path}/index")].as_slice()).unwrap();
    let segments: Vec<Bytes> = (0..)
        .map_while(|number| files.get(&format!("{path}/chunks/{}", segment_name(number))))
        .map(|segment| Bytes::copy_from_slice(segment))
        .collect();
    let chunk = |meta: &ChunkMeta| {
        let place = ChunkRef(meta.chunk_ref);
        let rest = segments[place.segment() as usize].slice(place.offset() as usize..);
        SeriesChunk::from_record(meta.mint, meta.maxt, &rest, u64::from(place.offset())).unwrap()
    };
    let (mut cursor, mut entry) = (index.all_series(), SeriesEntry::default());
    let mut series = Series::new();
    while let Some(series_ref) = cursor.next_into(&mut entry).unwrap() {
        let labels = index.labels(series_ref, &entry).unwrap();
        series.insert(labels, entry.chunks.iter().map(chunk).collect());
    }
    Block { meta, series }
}

/// Fails at the first chunk in which two lists of series differ.
pub(crate) fn assert_same(made: &Series, expected: &Series, what: &str) {
    assert!(made.keys().eq(expected.keys()), "{what}: other series");
    for (labels, chunks) in made {
        let expected = &expected[labels];
        for (number, (made, expected)) in chunks.iter().zip(expected).enumerate() {
            let at = format!("{what} {labels} chunk {number}");
            assert_eq!((made.mint, made.maxt), (expected.mint, expected.maxt), "{at}");
            assert!(
                made == expected,
                "{at}:\nmade     {made:?}\nexpected {expected:?}"
            );
        }
        assert_eq!(chunks.len(), expected.len(), "{what} {labels}");
    }
}
