//! Every index, `meta.json` and tombstones file that real Prometheus and Thanos wrote, read and written again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test program: what goes wrong fails the test"
)]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use std::collections::BTreeMap;

use sabre_tsdb::index::{IndexReader, IndexSummary, IndexWriter, SeriesEntry, SymbolsBuilder, Version};
use sabre_tsdb::meta::{BlockMeta, SOURCE_COMPACTOR};
use sabre_tsdb::{index, meta, postings, tombstones};

const ARCHIVES: [&str; 2] = ["raw.tar.zst", "thanos.tar.zst"];

/// A block of the golden data, file by file.
struct Block<'a> {
    path: &'a str,
    files: &'a BTreeMap<String, Vec<u8>>,
}

impl Block<'_> {
    fn file(&self, name: &str) -> Option<&[u8]> {
        self.files
            .get(&format!("{}/{name}", self.path))
            .map(Vec::as_slice)
    }

    fn index(&self) -> &[u8] {
        self.file(index::INDEX_FILE_NAME).expect("a block has an index")
    }

    fn meta_json(&self) -> &[u8] {
        self.file(meta::META_FILE_NAME).expect("a block has a meta.json")
    }

    fn meta(&self) -> BlockMeta {
        BlockMeta::parse(self.meta_json()).expect("golden metas are valid")
    }

    fn is_by_compactor(&self) -> bool {
        let thanos = self.meta().thanos;
        thanos.is_some_and(|thanos| thanos.source == SOURCE_COMPACTOR)
    }
}

/// Visits all golden blocks, and fails if there are fewer than `at_least`.
fn for_each_block(at_least: usize, mut check: impl FnMut(&Block<'_>)) {
    let mut blocks = 0;
    for archive in ARCHIVES {
        let Some(files) = support::archive(archive) else {
            return;
        };
        for path in files.keys().filter_map(|path| path.strip_suffix("/meta.json")) {
            check(&Block { path, files: &files });
            blocks += 1;
        }
    }
    assert!(blocks >= at_least, "only {blocks} golden blocks");
}

/// Reads a whole index and writes what was read.
fn rewritten(bytes: &[u8], by_labels: bool) -> (Vec<u8>, IndexSummary) {
    let reader = IndexReader::open(bytes).unwrap();
    assert_eq!(reader.version(), Version::V2);
    let mut symbols = SymbolsBuilder::new();
    for (number, symbol) in reader.symbols().iter() {
        assert_eq!(symbols.push(symbol), Some(number));
    }
    let mut writer = IndexWriter::new(Vec::new(), symbols).unwrap();
    let mut entry = SeriesEntry::default();
    let mut cursor = reader.all_series();
    while let Some(series_ref) = cursor.next_into(&mut entry).unwrap() {
        let written = match by_labels {
            true => {
                let lset = reader.labels(series_ref, &entry).unwrap();
                writer.add_series(&lset, &entry.chunks)
            }
            false => writer.add_series_refs(&entry.labels, &entry.chunks),
        };
        assert_eq!(written.unwrap(), series_ref);
    }
    writer.finish().unwrap()
}

#[test]
fn every_index_comes_back_to_the_byte() {
    for_each_block(58, |block| {
        for by_labels in [true, false] {
            let (bytes, summary) = rewritten(block.index(), by_labels);
            assert!(bytes == block.index(), "{} is written differently", block.path);
            assert_eq!(summary.size_bytes, bytes.len() as u64);
            assert_eq!(summary.toc, *IndexReader::open(block.index()).unwrap().toc());
        }
    });
}

#[test]
fn counts_and_sizes_are_those_of_the_meta() {
    for_each_block(58, |block| {
        let meta = block.meta();
        let reader = IndexReader::open(block.index()).unwrap();
        let mut chunks = 0;
        let mut entry = SeriesEntry::default();
        let mut cursor = reader.all_series();
        while cursor.next_into(&mut entry).unwrap().is_some() {
            chunks += entry.chunks.len() as u64;
        }
        let (_, summary) = rewritten(block.index(), false);
        assert_eq!(summary.series_count, meta.stats.num_series, "{}", block.path);
        assert_eq!(chunks, meta.stats.num_chunks, "{}", block.path);
        if block.is_by_compactor() {
            let index_stats = &meta.thanos.as_ref().unwrap().index_stats;
            assert_eq!(summary.estimates.to_index_stats(), *index_stats, "{}", block.path);
        }
    });
}

#[test]
fn postings_agree_with_the_labels_of_series() {
    for_each_block(58, |block| {
        let reader = IndexReader::open(block.index()).unwrap();
        let all = reader.all_postings().unwrap();
        let mut entry = SeriesEntry::default();
        for name in reader.label_names() {
            let mut lists = Vec::new();
            for value in reader.label_values(name) {
                let refs = reader.postings(name, value).unwrap().unwrap();
                for series_ref in &refs {
                    reader.series(*series_ref, &mut entry).unwrap();
                    assert_eq!(reader.labels(*series_ref, &entry).unwrap().get(name), Some(value));
                }
                lists.push(refs);
            }
            let lists: Vec<&[u32]> = lists.iter().map(Vec::as_slice).collect();
            let with_name = postings::union(&lists);
            for series_ref in postings::subtract(&all, &with_name) {
                reader.series(series_ref, &mut entry).unwrap();
                assert_eq!(reader.labels(series_ref, &entry).unwrap().get(name), None);
            }
            assert_eq!(postings::intersect(&[&all, &with_name]), with_name);
        }
    });
}

#[test]
fn every_meta_of_the_compactor_comes_back_to_the_byte() {
    let mut by_compactor = 0;
    for_each_block(58, |block| {
        let meta = block.meta();
        if block.is_by_compactor() {
            assert_eq!(
                String::from_utf8_lossy(&meta.to_json()),
                String::from_utf8_lossy(block.meta_json()),
                "{}",
                block.path
            );
            by_compactor += 1;
        }
        assert_eq!(BlockMeta::parse(&meta.to_json()), Ok(meta), "{}", block.path);
    });
    assert!(by_compactor == 0 || by_compactor >= 19, "{by_compactor} metas");
}

#[test]
fn tombstones_files_are_empty_as_the_metas_say() {
    for_each_block(58, |block| {
        if let Some(file) = block.file(tombstones::TOMBSTONES_FILE_NAME) {
            assert_eq!(tombstones::count(file), Ok(block.meta().stats.num_tombstones));
        }
    });
}
