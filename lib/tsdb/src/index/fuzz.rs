//! Entry points for fuzzers, and for the replay of what they found: any bytes must be fine. Everything of a
//! block but its chunks is here.

use crate::meta::{BlockMeta, DeletionMark, NoCompactMark, NoDownsampleMark};
use crate::tombstones::Tombstones;

use super::series::{self, SeriesEntry};
use super::{
    ByteSource, IndexError, IndexReader, OffsetTable, PostingsList, PostingsTable, Symbols, Toc, Version,
};

/// Reads a whole index: every series, every list, every symbol.
pub fn index(data: &[u8]) {
    if let Ok(reader) = IndexReader::open(data) {
        // What cannot be read is an error, and that is fine.
        let _ = read_all(&reader);
    }
}

fn read_all<S: ByteSource>(reader: &IndexReader<S>) -> Result<(), IndexError> {
    let mut entry = SeriesEntry::default();
    let mut cursor = reader.all_series();
    while let Some(series_ref) = cursor.next_into(&mut entry)? {
        reader.labels(series_ref, &entry)?;
    }
    for name in reader.label_names() {
        for value in reader.label_values(name) {
            reader.postings(name, value)?;
        }
    }
    for series_ref in reader.all_postings()? {
        reader.series(series_ref, &mut entry)?;
    }
    Ok(())
}

/// Decodes a header and a table of contents.
pub fn toc(data: &[u8]) {
    let _ = Version::decode(data);
    if let Ok(toc) = Toc::decode(data) {
        assert_eq!(toc.encode(), data, "a table of contents does not come back");
    }
}

/// Decodes a symbol table, as version 1 and 2, and finds each of its symbols again.
pub fn symbols(data: &[u8]) {
    for version in [Version::V1, Version::V2] {
        let Ok(symbols) = Symbols::parse(data, 5, version) else {
            continue;
        };
        for (reference, symbol) in symbols.iter() {
            assert_eq!(symbols.find(symbol), Some(reference), "{symbol:?} is not found");
            assert_eq!(
                symbols.get(reference),
                Ok(symbol),
                "reference {reference} is another"
            );
        }
    }
}

/// Decodes a series entry; what is decoded must encode to something that decodes to the same.
pub fn series_entry(data: &[u8]) {
    let mut entry = SeriesEntry::default();
    let _ = series::decode_overlapping_into(data, -1000, 1000, &mut entry);
    if series::decode_into(data, &mut entry).is_ok() {
        let mut bytes = Vec::new();
        series::encode(&entry.labels, &entry.chunks, &mut bytes);
        let mut again = SeriesEntry::default();
        assert_eq!(series::decode_into(&bytes, &mut again), Ok(bytes.len()));
        assert_eq!(again, entry, "a series entry does not come back");
    }
}

/// Decodes a postings list.
pub fn postings_list(data: &[u8]) {
    if let Ok((list, _)) = PostingsList::decode_bounded(data) {
        assert!(list.to_vec().is_sorted(), "a list that does not ascend");
    }
}

/// Reads a postings offset table from begin to end, and finds each of its entries again.
pub fn postings_table(data: &[u8]) {
    let Ok(table) = PostingsTable::parse(data, 0) else {
        return;
    };
    let entries = OffsetTable::open(data, 0).into_iter().flatten();
    for entry in entries.flatten() {
        let found = table.list_offset(entry.name, entry.value);
        assert_eq!(found, Some(entry.list_offset), "an entry is not found");
    }
}

/// Reads a `meta.json`; what is read must come back when written.
pub fn meta_json(data: &[u8]) {
    if let Ok(meta) = BlockMeta::parse(data) {
        let again = BlockMeta::parse(&meta.to_json());
        assert_eq!(again, Ok(meta), "a meta does not come back");
    }
}

/// Reads all three kinds of marker files; what is read must come back when written.
pub fn marks(data: &[u8]) {
    if let Ok(mark) = DeletionMark::parse(data) {
        assert_eq!(DeletionMark::parse(&mark.to_json()), Ok(mark));
    }
    if let Ok(mark) = NoCompactMark::parse(data) {
        assert_eq!(NoCompactMark::parse(&mark.to_json()), Ok(mark));
    }
    if let Ok(mark) = NoDownsampleMark::parse(data) {
        assert_eq!(NoDownsampleMark::parse(&mark.to_json()), Ok(mark));
    }
}

/// Decodes a tombstones file.
pub fn tombstones(data: &[u8]) {
    if let Ok(tombstones) = Tombstones::open(data) {
        let count = tombstones.clone().count();
        assert!(count <= data.len() / 3, "more tombstones than bytes allow");
    }
}
