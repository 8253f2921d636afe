//! Blocks in memory.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use sabre_model::Labels;
use sabre_tsdb::index::{IndexReader, SeriesEntry};
use sabre_tsdb::meta::BlockMeta;
use sabre_tsdb::segment::{ChunkRef, read_record};

/// A block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) external: Labels,
    pub(crate) resolution_ms: i64,
    pub(crate) min_time: i64,
    /// Not included.
    pub(crate) max_time: i64,
    /// With the external labels.
    pub(crate) series: Vec<(Labels, Vec<Record>)>,
}

/// A chunk as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) encoding: u8,
    pub(crate) data: Bytes,
}

impl Block {
    pub(crate) fn open(dir: &Path) -> Block {
        let meta = BlockMeta::parse(&fs::read(dir.join("meta.json")).unwrap()).unwrap();
        let thanos = meta.thanos.clone().unwrap();
        let external = thanos.labels.unwrap_or_default();
        let mut names: Vec<_> = fs::read_dir(dir.join("chunks"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        let segments: Vec<Bytes> = names.iter().map(|name| fs::read(name).unwrap().into()).collect();
        let index = IndexReader::open(fs::read(dir.join("index")).unwrap()).unwrap();
        let mut series = Vec::new();
        let mut cursor = index.all_series();
        let mut entry = SeriesEntry::default();
        while let Some(series_ref) = cursor.next_into(&mut entry).unwrap() {
            let labels = index.labels(series_ref, &entry).unwrap().overlaid(&external);
            let mut chunks = Vec::new();
            for meta in &entry.chunks {
                let at = ChunkRef(meta.chunk_ref);
                let segment = &segments[at.segment() as usize];
                let record = read_record(&segment[at.offset() as usize..], u64::from(at.offset())).unwrap();
                chunks.push(Record {
                    mint: meta.mint,
                    maxt: meta.maxt,
                    encoding: record.encoding,
                    data: segment.slice_ref(record.data),
                });
            }
            series.push((labels, chunks));
        }
        Block {
            external,
            resolution_ms: thanos.downsample.resolution,
            min_time: meta.min_time,
            max_time: meta.max_time,
            series,
        }
    }
}
