//! Indexes to test with.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sabre_model::Labels;

use crate::crc::crc32c;
use crate::encoding::{put_u32, put_u64, put_uvarint, put_uvarint_bytes};

use super::{ChunkMeta, IndexWriter, SymbolsBuilder, series};

/// Series by label set: sorted, each once.
pub(super) type TestSeries = BTreeMap<Labels, Vec<ChunkMeta>>;

/// The worked example of the format: one series, {__name__="up", job="a"}.
pub(super) const EXAMPLE_HEX: &str = "
    baaad700 02 00000017 00000005 00 08 5f5f6e616d655f5f 0161 036a6f62 027570
    3c59a292 000000000000000000000000
    0c 0201040302 01d00fe7d40308 8a7978c7 000000
    00000008 00000001 00000003 a7692ed2
    00000008 00000001 00000003 a7692ed2
    00000008 00000001 00000003 a7692ed2
    0000001e 00000003 02000044 02085f5f6e616d655f5f02757054 02036a6f62016164 ba2e155b
    0000000000000005 0000000000000024 0000000000000041 0000000000000074
    0000000000000041 0000000000000074 9219eaf8";

pub(super) const EXAMPLE_SYMBOLS: [&str; 5] = ["", "__name__", "a", "job", "up"];

pub(super) const EXAMPLE_CHUNK: ChunkMeta = ChunkMeta {
    mint: 1000,
    maxt: 61007,
    chunk_ref: 8,
};

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

pub(super) fn example() -> Vec<u8> {
    hex(EXAMPLE_HEX)
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

pub(super) fn symbols_of(series: &TestSeries) -> BTreeSet<String> {
    let texts = series.keys().flat_map(|lset| lset.iter());
    let texts = texts.flat_map(|(name, value)| [name.to_owned(), value.to_owned()]);
    texts.chain([String::new()]).collect()
}

/// `count` series of a few hundred bytes of postings, with one to three chunks each.
pub(super) fn many_series(count: u32) -> TestSeries {
    let one = |i: u32| {
        let lset = labels(&[
            ("__name__", ["up", "down", "left"][i as usize % 3]),
            ("instance", &format!("host-{i:05}")),
            ("job", "a<b"),
        ]);
        let chunk = |n: u32| ChunkMeta {
            mint: i64::from(n) * 1000,
            maxt: i64::from(n) * 1000 + 999,
            chunk_ref: u64::from(8 + i * 300 + n * 100),
        };
        (lset, (0..=i % 3).map(chunk).collect())
    };
    (0..count).map(one).collect()
}

pub(super) fn write_v2(series: &TestSeries) -> Vec<u8> {
    let mut symbols = SymbolsBuilder::new();
    for symbol in symbols_of(series) {
        symbols.push(&symbol).unwrap();
    }
    let mut writer = IndexWriter::new(Vec::new(), symbols).unwrap();
    for (lset, chunks) in series {
        writer.add_series(lset, chunks).unwrap();
    }
    writer.finish().unwrap().0
}

/// Writes an index as Prometheus 2.0 did: references are offsets, series are not padded, the label index
/// sections are there, and the postings offset table is in no order (here: from last to first).
pub(super) fn write_v1(series: &TestSeries) -> Vec<u8> {
    let mut out = vec![0xba, 0xaa, 0xd7, 0x00, 1];
    let symbol_refs = put_symbols_v1(&mut out, series);
    let series_start = out.len();
    let mut postings: BTreeMap<(String, String), Vec<u32>> = BTreeMap::new();
    for (lset, chunks) in series {
        let series_ref = out.len() as u32;
        let pairs: Vec<_> = lset
            .iter()
            .map(|(n, v)| (symbol_refs[n], symbol_refs[v]))
            .collect();
        series::encode(&pairs, chunks, &mut out);
        postings.entry(Default::default()).or_default().push(series_ref);
        for (name, value) in lset.iter() {
            let key = (name.to_owned(), value.to_owned());
            postings.entry(key).or_default().push(series_ref);
        }
    }
    let label_indices_start = out.len();
    pad(&mut out, 4);
    let mut content = Vec::new();
    for number in [1, 1, symbol_refs[""]] {
        put_u32(&mut content, number);
    }
    put_frame(&mut out, &content);
    let postings_start = out.len();
    let mut table = Vec::new();
    put_u32(&mut table, postings.len() as u32);
    for ((name, value), refs) in postings.iter().rev() {
        pad(&mut out, 4);
        put_uvarint(&mut table, 2);
        put_uvarint_bytes(&mut table, name.as_bytes());
        put_uvarint_bytes(&mut table, value.as_bytes());
        put_uvarint(&mut table, out.len() as u64);
        let mut list = Vec::new();
        put_u32(&mut list, refs.len() as u32);
        refs.iter().for_each(|series_ref| put_u32(&mut list, *series_ref));
        put_frame(&mut out, &list);
    }
    let label_table_start = out.len();
    put_frame(&mut out, &[0; 4]);
    let postings_table_start = out.len();
    put_frame(&mut out, &table);
    let toc_start = out.len();
    let starts = [
        series_start,
        label_indices_start,
        label_table_start,
        postings_start,
        postings_table_start,
    ];
    put_u64(&mut out, 5);
    starts.iter().for_each(|start| put_u64(&mut out, *start as u64));
    let checksum = crc32c(&out[toc_start..]);
    put_u32(&mut out, checksum);
    out
}

fn put_symbols_v1(out: &mut Vec<u8>, series: &TestSeries) -> BTreeMap<String, u32> {
    let symbols = symbols_of(series);
    let mut content = Vec::new();
    put_u32(&mut content, symbols.len() as u32);
    let mut refs = BTreeMap::new();
    for symbol in symbols {
        let offset = out.len() + 4 + content.len();
        put_uvarint_bytes(&mut content, symbol.as_bytes());
        refs.insert(symbol, offset as u32);
    }
    put_frame(out, &content);
    refs
}

pub(super) fn put_frame(out: &mut Vec<u8>, content: &[u8]) {
    put_u32(out, content.len() as u32);
    out.extend_from_slice(content);
    put_u32(out, crc32c(content));
}

fn pad(out: &mut Vec<u8>, alignment: usize) {
    out.resize(out.len().next_multiple_of(alignment), 0);
}

/// Any series: short texts, so that they collide; chunks in any order.
pub(super) fn any_series() -> impl Strategy<Value = TestSeries> {
    let lset = proptest::collection::btree_map("[a-cé]{1,3}", "[a-cé]{0,3}", 1..5).prop_map(Labels::from);
    proptest::collection::btree_map(lset, any_chunks(), 0..12)
}

pub(super) fn any_chunks() -> impl Strategy<Value = Vec<ChunkMeta>> {
    let wild = any::<(i64, i64, u64)>();
    let tame = (0i64..10_000, 0i64..10_000, 0u64..100_000);
    let chunk = prop_oneof![wild, tame].prop_map(|(mint, maxt, chunk_ref)| ChunkMeta {
        mint,
        maxt,
        chunk_ref,
    });
    proptest::collection::vec(chunk, 0..5)
}
