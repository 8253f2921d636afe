use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::fixture::{self, TestSeries, any_series, labels, many_series, write_v1, write_v2};
use super::super::fuzz;
use super::*;

/// Everything an index says, through every way of asking.
fn read_everything<S: ByteSource>(reader: &IndexReader<S>) -> Result<TestSeries, IndexError> {
    let mut entry = SeriesEntry::default();
    let mut series = TestSeries::new();
    let mut refs = Vec::new();
    let mut cursor = reader.all_series();
    while let Some(series_ref) = cursor.next_into(&mut entry)? {
        refs.push(series_ref);
        let mut by_ref = SeriesEntry::default();
        reader.series(series_ref, &mut by_ref)?;
        assert_eq!(by_ref, entry);
        series.insert(reader.labels(series_ref, &entry)?, entry.chunks.clone());
    }
    assert_eq!(reader.all_postings()?, refs, "all series, by list and by cursor");
    let mut by_label: BTreeMap<(String, String), Vec<u32>> = BTreeMap::new();
    for (series_ref, lset) in refs.into_iter().zip(series.keys()) {
        for (name, value) in lset.iter() {
            by_label
                .entry((name.to_owned(), value.to_owned()))
                .or_default()
                .push(series_ref);
        }
    }
    by_label.remove(&Default::default());
    let names: BTreeSet<&str> = by_label.keys().map(|(name, _)| name.as_str()).collect();
    assert!(
        reader
            .label_names()
            .eq(names.into_iter().filter(|name| !name.is_empty()))
    );
    for ((name, value), refs) in &by_label {
        assert_eq!(
            reader.postings(name, value)?.as_ref(),
            Some(refs),
            "{name}={value}"
        );
        assert!(reader.label_values(name).any(|known| known == value));
    }
    Ok(series)
}

fn read_bytes(bytes: &[u8]) -> Result<TestSeries, IndexError> {
    read_everything(&IndexReader::open(bytes)?)
}

/// The sections of an index, by where they start.
fn section_at(bytes: &[u8], offset: usize) -> &'static str {
    let toc = *IndexReader::open(bytes).unwrap().toc();
    let starts = [
        (bytes.len() as u64 - TOC_BYTES as u64, toc::SECTION),
        (toc.postings_table, offset_table::SECTION),
        (toc.postings, postings_list::SECTION),
        (toc.series, series::SECTION),
        (toc.symbols, symbols::SECTION),
        (0, header::SECTION),
    ];
    let (_, section) = starts
        .into_iter()
        .find(|(start, _)| *start <= offset as u64)
        .unwrap();
    section
}

#[test]
fn the_worked_example_is_read() {
    let bytes = fixture::example();
    let reader = IndexReader::open(bytes.as_slice()).unwrap();
    let lset = labels(&[("__name__", "up"), ("job", "a")]);
    let expected = TestSeries::from([(lset, vec![fixture::EXAMPLE_CHUNK])]);
    assert_eq!(read_everything(&reader).unwrap(), expected);
    assert_eq!(reader.version(), Version::V2);
    assert_eq!(reader.postings("job", "b").unwrap(), None);
    assert_eq!(reader.postings("jobs", "a").unwrap(), None);
    assert_eq!(reader.label_values("job").collect::<Vec<_>>(), ["a"]);
}

#[test]
fn version_3_is_read_as_version_2() {
    let mut bytes = fixture::example();
    bytes[4] = 3;
    assert_eq!(
        read_bytes(&bytes).unwrap(),
        read_bytes(&fixture::example()).unwrap()
    );
}

#[test]
fn version_1_is_read_with_offsets_for_references_and_a_table_in_no_order() {
    let series = many_series(100);
    let bytes = write_v1(&series);
    let reader = IndexReader::open(bytes.as_slice()).unwrap();
    assert_eq!(reader.version(), Version::V1);
    assert_eq!(read_everything(&reader).unwrap(), series);
    let first = reader.all_postings().unwrap()[0];
    assert_eq!(u64::from(first), reader.toc().series, "no padding, no sixteenths");
}

/// A source that hands out copies, and remembers the largest.
#[derive(Debug)]
struct Copying {
    bytes: Vec<u8>,
    largest: std::cell::Cell<u64>,
}

impl ByteSource for Copying {
    fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.largest.set(self.largest.get().max(range.end - range.start));
        Ok(Cow::Owned(self.bytes.read_at(range)?.into_owned()))
    }
}

#[test]
fn series_are_read_by_windows_whatever_their_size() {
    let mut series = many_series(9000);
    let mut long = Vec::new();
    for i in 0..60_000 {
        let mint = i * 1000;
        long.push(fixture::EXAMPLE_CHUNK);
        long[i as usize].mint = mint;
        long[i as usize].maxt = mint + 999;
    }
    series.insert(labels(&[("__name__", "long")]), long.clone());
    series.insert(labels(&[("__name__", "longer")]), [long.clone(), long].concat());
    let source = Copying {
        bytes: write_v2(&series),
        largest: std::cell::Cell::new(0),
    };
    let size = source.len_bytes();
    let reader = IndexReader::open(source).unwrap();
    assert_eq!(read_everything(&reader).unwrap(), series);
    assert!(reader.source.largest.get() < size / 2);
}

#[test]
fn a_window_may_end_within_the_length_of_an_entry_larger_than_a_window() {
    let small = many_series(9000);
    let mut chunks = vec![fixture::EXAMPLE_CHUNK; 100_000];
    for (chunk, i) in chunks.iter_mut().zip(0..) {
        chunk.mint = i * 100_000;
        chunk.maxt = chunk.mint + 99_999;
    }
    let mut series = small;
    series.insert(labels(&[("zzz", "large")]), chunks);
    let bytes = write_v2(&series);
    let reader = IndexReader::open(bytes.as_slice()).unwrap();
    let large_offset = u64::from(*reader.all_postings().unwrap().last().unwrap()) * 16;
    // Start the window so that it holds one byte of the large entry.
    let mut cursor = reader.all_series();
    cursor.offset = large_offset;
    cursor.window_start = large_offset - 100;
    cursor.window = read(&reader.source, large_offset - 100..large_offset + 1).unwrap();
    let mut entry = SeriesEntry::default();
    cursor.next_into(&mut entry).unwrap().unwrap();
    assert_eq!(entry.chunks.len(), 100_000);
}

#[test]
fn a_source_that_gives_other_than_asked_is_an_error() {
    #[derive(Debug)]
    struct Short(Vec<u8>);
    impl ByteSource for Short {
        fn len_bytes(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, _: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
            Ok(Cow::Borrowed(&[]))
        }
    }
    let error = IndexReader::open(Short(fixture::example())).unwrap_err();
    assert_eq!(error.to_string(), "cannot read bytes 0 to 5 of the index");
}

#[test]
fn every_flipped_bit_is_found_in_its_section_or_harmless() {
    let bytes = write_v2(&many_series(5));
    let whole = read_bytes(&bytes).unwrap();
    for bit in 0..bytes.len() * 8 {
        let at = bit / 8;
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (bit % 8);
        match read_bytes(&flipped) {
            // Version 3 is as good as 2, and zeros between entries are not looked at.
            Ok(series) => assert!(at == 4 || bytes[at] == 0 && series == whole, "byte {at}"),
            Err(IndexError::Corrupt(error)) => {
                assert_eq!(error.section, section_at(&bytes, at), "byte {at}: {error}");
                assert!(error.offset <= bytes.len() as u64);
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn errors_give_offsets_in_the_file() {
    let flipped = |at: usize| {
        let mut bytes = fixture::example();
        bytes[at] ^= 1;
        match read_bytes(&bytes).unwrap_err() {
            IndexError::Corrupt(error) => (error.section, error.offset),
            error => panic!("{error}"),
        }
    };
    assert_eq!(flipped(0x12), (symbols::SECTION, 5));
    assert_eq!(flipped(0x33), (series::SECTION, 0x30));
    assert_eq!(flipped(0x6f), (postings_list::SECTION, 0x64));
    assert_eq!(flipped(0x82), (offset_table::SECTION, 0x74));
    assert_eq!(flipped(0xc0), (toc::SECTION, 0x9a));
}

#[test]
fn every_cut_is_found() {
    let bytes = write_v2(&many_series(3));
    for cut in 0..bytes.len() {
        assert!(IndexReader::open(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_reference_outside_of_the_series_is_an_error() {
    let bytes = fixture::example();
    let reader = IndexReader::open(bytes.as_slice()).unwrap();
    let mut entry = SeriesEntry::default();
    for series_ref in [0, 2, 5, u32::MAX] {
        let error = reader.series(series_ref, &mut entry).unwrap_err();
        assert!(error.to_string().contains("no series at reference"), "{error}");
    }
    assert!(reader.series(4, &mut entry).is_err(), "the middle of an entry");
}

#[test]
fn labels_in_the_wrong_order_are_sorted_and_twice_the_same_name_is_an_error() {
    let bytes = fixture::example();
    let reader = IndexReader::open(bytes.as_slice()).unwrap();
    let mut entry = SeriesEntry {
        labels: vec![(3, 2), (1, 4)],
        chunks: Vec::new(),
    };
    let sorted = labels(&[("__name__", "up"), ("job", "a")]);
    assert_eq!(reader.labels(3, &entry).unwrap(), sorted);
    entry.labels.push((3, 4));
    assert!(reader.labels(3, &entry).is_err());
    entry.labels = vec![(1, 9)];
    assert!(reader.labels(3, &entry).is_err());
}

proptest! {
    #[test]
    fn both_versions_say_the_same(series in any_series()) {
        prop_assert_eq!(read_bytes(&write_v1(&series)).unwrap(), series.clone());
        prop_assert_eq!(read_bytes(&write_v2(&series)).unwrap(), series);
    }

    #[test]
    fn damaged_indexes_are_errors_and_nothing_worse(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
        v1: bool,
    ) {
        let series = many_series(7);
        let mut bytes = if v1 { write_v1(&series) } else { write_v2(&series) };
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        fuzz::index(&bytes);
        fuzz::index(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn any_bytes_are_fine(bytes: Vec<u8>, offsets: [u8; 6]) {
        fuzz::index(&bytes);
        fuzz::toc(&bytes);
        // A contents table with a right checksum over anything.
        let [symbols, series, label_indices, label_indices_table, postings, postings_table] =
            offsets.map(u64::from);
        let toc = Toc { symbols, series, label_indices, label_indices_table, postings, postings_table };
        let mut index = vec![0xba, 0xaa, 0xd7, 0x00, 1 + offsets[0] % 2];
        index.extend_from_slice(&bytes);
        index.extend_from_slice(&toc.encode());
        fuzz::index(&index);
    }

    #[test]
    fn any_frames_are_fine(contents: [Vec<u8>; 3], v1: bool) {
        let mut index = vec![0xba, 0xaa, 0xd7, 0x00, if v1 { 1 } else { 2 }];
        let mut starts = Vec::new();
        for content in &contents {
            starts.push(index.len() as u64);
            fixture::put_frame(&mut index, content);
        }
        let toc = Toc { symbols: 5, series: starts[1], postings: starts[2], postings_table: starts[2], ..Toc::default() };
        index.extend_from_slice(&toc.encode());
        fuzz::index(&index);
        fuzz::symbols(&index[5..]);
    }
}
