//! Files of blocks, and their parts.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use sabre_testkit::blocks::{Block, BlockBuilder};
use sabre_tsdb::{
    crc32c,
    index::Toc,
    meta::{DeletionMark, NoCompactMark, NoDownsampleMark},
    segment,
};

use crate::Corpus;

/// A chunk that is longer than this is no good seed.
const MAX_CHUNK_BYTES: usize = 1500;

/// How many chunks of each encoding are taken of a golden segment.
const CHUNKS_OF_A_KIND: usize = 2;

pub(crate) fn add(corpus: &mut Corpus) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/blocks.tar.zst");
    let file = fs::File::open(path).context(path)?;
    tar::Archive::new(zstd::Decoder::new(file)?).unpack(dir.path())?;
    for (name, group) in [("raw", "raw/raw2h-a"), ("long", "thanos/long")] {
        let mut blocks: Vec<_> = fs::read_dir(dir.path().join(group))?.collect::<Result<_, _>>()?;
        blocks.sort_by_key(fs::DirEntry::file_name);
        for (number, block) in blocks.iter().enumerate() {
            golden(corpus, &format!("{name}{number}"), &block.path())?;
        }
    }
    let small = BlockBuilder::new(1)
        .ext_labels(&[("cluster", "eu1")])
        .counters(3, 0..600_000, 15_000)
        .floats(
            &[("__name__", "up"), ("job", "a")],
            [(1000, 1.0), (16_000, f64::NAN)],
        )
        .build()?;
    corpus.add(
        "tsdb_segment",
        "small",
        small.file("chunks/000001").context("a segment")?,
    )?;
    corpus.add(
        "tsdb_meta_json",
        "small",
        small.file("meta.json").context("a meta")?,
    )?;
    let index = small.file("index").context("an index")?;
    index_parts(corpus, "small", index)?;
    corpus.add("compactor_source_index", "small", index)?;
    let segment = small.file("chunks/000001").context("a segment")?;
    corpus.add("compactor_source_chunks", "small", &with_places(segment)?)?;
    marks(corpus, &small)?;
    tombstones(corpus)?;
    let id = small.meta.ulid;
    let keys = ["meta.json", "chunks/000001", "deletion-mark.json", "", "../x"];
    for (number, file) in keys.iter().enumerate() {
        corpus.add(
            "block_key",
            &format!("{number:02}"),
            format!("{id}/{file}").as_bytes(),
        )?;
    }
    Ok(())
}

/// Chunks of every kind, the meta and the parts of the index of a block that Prometheus or Thanos wrote.
fn golden(corpus: &mut Corpus, name: &str, dir: &Path) -> Result<()> {
    let segment = fs::read(dir.join("chunks/000001"))?;
    let mut seen: BTreeMap<u8, usize> = BTreeMap::new();
    for record in segment::scan(&segment)? {
        let (_, record) = record?;
        let target = match record.encoding {
            1 => "tsdb_xor_chunk",
            2 => "tsdb_histogram_chunk",
            3 => "tsdb_float_histogram_chunk",
            0xff => "tsdb_aggregate_chunk",
            _ => continue,
        };
        let seen = seen.entry(record.encoding).or_default();
        if record.data.len() <= MAX_CHUNK_BYTES && *seen < CHUNKS_OF_A_KIND {
            corpus.add(target, &format!("{name}-{seen}"), record.data)?;
            *seen += 1;
        }
    }
    corpus.add("tsdb_meta_json", name, &fs::read(dir.join("meta.json"))?)?;
    index_parts(corpus, name, &fs::read(dir.join("index"))?)
}

fn index_parts(corpus: &mut Corpus, name: &str, index: &[u8]) -> Result<()> {
    let toc_at = index
        .len()
        .checked_sub(52)
        .context("an index has a table of contents")?;
    let part = |start: u64, end: u64| {
        let range = usize::try_from(start)?..usize::try_from(end)?;
        index.get(range).context("the table of contents of an index")
    };
    let toc_bytes = part(toc_at as u64, index.len() as u64)?;
    let toc = Toc::decode(toc_bytes)?;
    corpus.add("tsdb_index", name, index)?;
    corpus.add("tsdb_toc", name, toc_bytes)?;
    let symbols = part(toc.symbols, toc.series)?;
    corpus.add("tsdb_symbols", name, symbols)?;
    let first_series = toc.series.next_multiple_of(16);
    corpus.add(
        "tsdb_series_entry",
        name,
        part(first_series, (first_series + 200).min(toc.postings))?,
    )?;
    let first_list = toc.postings.next_multiple_of(4);
    corpus.add(
        "tsdb_postings_list",
        name,
        part(first_list, (first_list + 400).min(toc.postings_table))?,
    )?;
    corpus.add(
        "tsdb_postings_table",
        name,
        part(toc.postings_table, toc_at as u64)?,
    )?;
    let table = part(toc.postings_table, index.len() as u64)?;
    corpus.add(
        "block_index_header",
        name,
        &index_header(symbols, table, toc.postings_table),
    )
}

/// The places of the first sixteen chunks of a segment, a byte each, and the segment.
fn with_places(segment: &[u8]) -> Result<Vec<u8>> {
    let mut places = Vec::new();
    for record in sabre_tsdb::segment::scan(segment)? {
        places.extend(u8::try_from(record?.0).ok());
    }
    places.resize(16, places.last().copied().unwrap_or_default());
    places.extend_from_slice(segment);
    Ok(places)
}

/// An index-header is a header, two copies of parts of the index, and where they are.
fn index_header(symbols: &[u8], table: &[u8], postings_end: u64) -> Vec<u8> {
    let mut header = vec![0xba, 0xaa, 0xd7, 0x92, 1, 2];
    header.extend(postings_end.to_be_bytes());
    let symbols_at = header.len() as u64;
    header.extend(symbols);
    let table_at = header.len() as u64;
    header.extend(table);
    let places = [symbols_at.to_be_bytes(), table_at.to_be_bytes()].concat();
    header.extend(&places);
    header.extend(crc32c(&places).to_be_bytes());
    header
}

fn marks(corpus: &mut Corpus, block: &Block) -> Result<()> {
    let id = block.meta.ulid;
    let text = |time: &str, more: &str| {
        format!("{{\"id\":\"{id}\",\"version\":1,\"details\":\"why\",\"{time}\":1767225600{more}}}")
            .into_bytes()
    };
    let deletion = text("deletion_time", "");
    let no_compact = text("no_compact_time", ",\"reason\":\"index-size-exceeding\"");
    let no_downsample = text("no_downsample_time", ",\"reason\":\"manual\"");
    DeletionMark::parse(&deletion)?;
    NoCompactMark::parse(&no_compact)?;
    NoDownsampleMark::parse(&no_downsample)?;
    corpus.add("tsdb_marks", "deletion", &deletion)?;
    corpus.add("tsdb_marks", "no-compact", &no_compact)?;
    corpus.add("tsdb_marks", "no-downsample", &no_downsample)
}

/// Two entries: series 1 from -1 to 500, series 300 from 0 to 1.
fn tombstones(corpus: &mut Corpus) -> Result<()> {
    let entries = [1, 0x01, 0xe8, 0x07, 0xac, 0x02, 0x00, 0x02];
    let mut file = vec![0x01, 0x30, 0xba, 0x30, 1];
    file.extend(entries);
    file.extend(crc32c(&entries).to_be_bytes());
    sabre_tsdb::tombstones::Tombstones::open(&file)?;
    corpus.add("tsdb_tombstones", "two", &file)?;
    corpus.add(
        "tsdb_tombstones",
        "none",
        &[0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0],
    )
}
