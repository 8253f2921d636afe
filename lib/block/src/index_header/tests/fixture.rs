//! Indexes to make headers of.

use std::{collections::BTreeSet, ops::ControlFlow};

use bytes::Bytes;
use sabre_model::Labels;
use sabre_objstore::{Bucket, MemoryBucket};
use sabre_tsdb::{
    crc32c,
    encoding::{put_u32, put_u64, put_uvarint, put_uvarint_bytes},
    index::{ChunkMeta, IndexReader, IndexWriter, PostingsList, SymbolsBuilder, Toc},
};

use super::super::*;
use crate::layout::{INDEX_FILE, key};

pub(super) fn block() -> BlockId {
    BlockId::from_parts(1_767_225_600_000, [3; 10])
}

/// Label sets with a label of many values, labels of few, and one that few series have.
pub(super) fn many_series(count: usize) -> Vec<Labels> {
    let mut series: Vec<_> = (0..count)
        .map(|n| {
            let mut pairs = vec![
                ("__name__".to_owned(), format!("metric_{}", n % 7)),
                (
                    "instance".to_owned(),
                    format!("10.0.{}.{}:9100", n / 250, n % 250),
                ),
                (
                    "job".to_owned(),
                    if n % 2 == 0 { "node" } else { "kube-state" }.to_owned(),
                ),
            ];
            if n % 50 == 0 {
                pairs.push(("rare_ü".to_owned(), format!("quote \" and\nnewline {n}")));
            }
            Labels::from_pairs(pairs).unwrap()
        })
        .collect();
    series.sort();
    series
}

/// An index of version 2 of these series, which are sorted.
pub(super) fn index_v2(series: &[Labels]) -> Vec<u8> {
    let mut texts = BTreeSet::from([String::new()]);
    for (name, value) in series.iter().flat_map(Labels::iter) {
        texts.extend([name.to_owned(), value.to_owned()]);
    }
    let mut symbols = SymbolsBuilder::new();
    for text in &texts {
        symbols.push(text).unwrap();
    }
    let mut index = Vec::new();
    let mut writer = IndexWriter::new(&mut index, symbols).unwrap();
    for lset in series {
        writer
            .add_series(
                lset,
                &[ChunkMeta {
                    mint: 0,
                    maxt: 1,
                    ..ChunkMeta::default()
                }],
            )
            .unwrap();
    }
    writer.finish().unwrap();
    index
}

/// An index of version 1, as Prometheus wrote it before 2018: symbols by offset, and a table in no order. Its lists
/// are empty and it has no series, which an index-header does not look at.
pub(super) fn index_v1(labels: &[(&str, &str)]) -> Vec<u8> {
    let mut index = vec![0xba, 0xaa, 0xd7, 0x00, 1];
    let mut toc = Toc {
        symbols: 5,
        ..Toc::default()
    };
    let texts: BTreeSet<_> = labels.iter().flat_map(|&(name, value)| [name, value]).collect();
    section(&mut index, texts.len(), |out| {
        texts
            .iter()
            .for_each(|text| put_uvarint_bytes(out, text.as_bytes()));
    });
    toc.series = index.len() as u64;
    toc.postings = index.len() as u64;
    let mut lists = Vec::new();
    for label in [("", "")].iter().chain(labels) {
        index.resize(index.len().next_multiple_of(4), 0);
        lists.push((*label, index.len() as u64));
        section(&mut index, 0, |_| {});
    }
    toc.label_indices_table = index.len() as u64;
    section(&mut index, 0, |_| {});
    toc.postings_table = index.len() as u64;
    // In no order, and not in that of the lists either.
    let half = lists.len() / 2;
    lists.rotate_left(half);
    section(&mut index, lists.len(), |out| {
        for ((name, value), offset) in lists {
            put_uvarint(out, 2);
            put_uvarint_bytes(out, name.as_bytes());
            put_uvarint_bytes(out, value.as_bytes());
            put_uvarint(out, offset);
        }
    });
    index.extend(toc.encode());
    index
}

fn section(index: &mut Vec<u8>, count: usize, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    put_u32(&mut body, count as u32);
    write(&mut body);
    put_u32(index, body.len() as u32);
    index.extend(&body);
    put_u32(index, crc32c(&body));
}

/// What the header of an index must be, cut from it by hand.
pub(super) fn expected_header(index: &[u8]) -> Vec<u8> {
    let toc = Toc::decode(&index[index.len() - 52..]).unwrap();
    let mut header = vec![0xba, 0xaa, 0xd7, 0x92, 1, index[4]];
    put_u64(&mut header, toc.postings_table);
    header.extend(&index[toc.symbols as usize..toc.series as usize]);
    let mut end = Vec::new();
    put_u64(&mut end, 14);
    put_u64(&mut end, header.len() as u64);
    let crc = crc32c(&end);
    put_u32(&mut end, crc);
    header.extend(&index[toc.postings_table as usize..]);
    header.extend(end);
    header
}

pub(super) fn open(header: Vec<u8>) -> crate::Result<IndexHeader> {
    IndexHeader::from_bytes(block(), Bytes::from(header), HeaderOptions::default())
}

pub(super) async fn bucket_with(index: &[u8]) -> Arc<MemoryBucket> {
    let bucket = Arc::new(MemoryBucket::new("test"));
    bucket
        .put(&key(block(), INDEX_FILE), Bytes::copy_from_slice(index))
        .await
        .unwrap();
    bucket
}

/// All names with all values and their ranges.
pub(super) fn all_values(header: &IndexHeader, name: &str) -> Vec<(String, Range<u64>)> {
    let mut values = Vec::new();
    header
        .for_each_value(name, "", |value, range| {
            values.push((value.to_owned(), range));
            ControlFlow::Continue(())
        })
        .unwrap();
    values
}

/// Compares every symbol and every postings list that the header finds with those of a reader of the whole index.
pub(super) fn assert_equal(header: &IndexHeader, index: &[u8]) {
    let reader = IndexReader::open(index).unwrap();
    assert_eq!(header.index_version(), reader.version());
    assert_eq!(header.index_size_bytes(), index.len() as u64);

    let expected: Vec<_> = reader.symbols().iter().collect();
    let map = header
        .symbols(
            expected.iter().map(|(reference, _)| *reference).collect(),
            u64::MAX,
        )
        .unwrap()
        .unwrap();
    assert_eq!(map.len(), expected.len());
    for (n, &(reference, text)) in expected.iter().enumerate() {
        assert_eq!(map.get(reference), Some(text));
        if n % 97 == 0 {
            assert_eq!(header.symbol(reference).unwrap(), text);
        }
    }

    let names: Vec<_> = reader.label_names().collect();
    assert_eq!(header.label_names().collect::<Vec<_>>(), names);
    for name in names.into_iter().chain([""]) {
        let expected: Vec<_> = reader.postings_table().values(name).collect();
        let found = all_values(header, name);
        assert_eq!(found.len(), expected.len(), "{name:?}");
        assert_eq!(header.label_value_count(name) as usize, expected.len());
        let values: Vec<_> = expected.iter().map(|(value, _)| *value).collect();
        let ranges = header.postings_ranges(name, values).unwrap();
        for (((value, range), (expected, offset)), batched) in found.iter().zip(&expected).zip(ranges) {
            assert_eq!((value.as_str(), range.start), (*expected, *offset), "{name:?}");
            assert_eq!(batched.as_ref(), Some(range), "{name:?}={value:?}");
            let list = &index[range.start as usize..range.end as usize];
            let (list, length) = PostingsList::decode_bounded(list).unwrap();
            assert!(
                range.end - range.start - (length as u64) < 4,
                "{name:?}={value:?}: {range:?}"
            );
            assert_eq!(Some(list.to_vec()), reader.postings(name, value).unwrap());
        }
    }
}
