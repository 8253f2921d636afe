//! The same bytes as the writer that keeps all in memory, whatever spills.

use std::io::Cursor;

use proptest::prelude::*;

use crate::index::fixture::{self, TestSeries, any_series, labels, many_series, symbols_of};
use crate::index::{IndexWriteError, IndexWriter, SymbolsBuilder};

use super::*;

type MemoryFile = Cursor<Vec<u8>>;

fn begin(symbols: &[&str], sort_bytes: usize) -> SpillingIndexWriter<MemoryFile> {
    let mut writer = SpillingSymbolsWriter::new(MemoryFile::default()).unwrap();
    for (number, symbol) in symbols.iter().enumerate() {
        assert_eq!(writer.push(symbol).unwrap(), number as u32);
    }
    writer
        .finish(MemoryFile::default(), MemoryFile::default(), sort_bytes)
        .unwrap()
}

fn spilled(series: &TestSeries, sort_bytes: usize) -> (Vec<u8>, IndexSummary) {
    let symbols = symbols_of(series);
    let texts: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let mut writer = begin(&texts, sort_bytes);
    for (lset, chunks) in series {
        let number = |text: &str| texts.binary_search(&text).unwrap() as u32;
        let refs: Vec<(u32, u32)> = lset
            .iter()
            .map(|(name, value)| (number(name), number(value)))
            .collect();
        writer.add_series_refs(&refs, chunks).unwrap();
    }
    let (file, summary) = writer.finish().unwrap();
    (file.into_inner(), summary)
}

fn in_memory(series: &TestSeries) -> (Vec<u8>, IndexSummary) {
    let mut builder = SymbolsBuilder::new();
    for symbol in symbols_of(series) {
        builder.push(&symbol).unwrap();
    }
    let mut writer = IndexWriter::new(Vec::new(), builder).unwrap();
    for (lset, chunks) in series {
        writer.add_series(lset, chunks).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn the_worked_example_is_written_to_the_byte() {
    let mut writer = begin(&fixture::EXAMPLE_SYMBOLS, 1 << 20);
    let series_ref = writer
        .add_series_refs(&[(1, 4), (3, 2)], &[fixture::EXAMPLE_CHUNK])
        .unwrap();
    assert_eq!(series_ref, 3);
    assert_eq!(writer.finish().unwrap().0.into_inner(), fixture::example());
}

#[test]
fn many_series_spill_into_many_runs() {
    let series = many_series(3_000);
    let expected = in_memory(&series);
    for sort_bytes in [1, 1_000, 30_000, 1 << 20] {
        assert!(
            spilled(&series, sort_bytes) == expected,
            "with {sort_bytes} bytes to sort in"
        );
    }
}

#[test]
fn an_index_without_series_and_symbols_is_that_of_the_other_writer() {
    let writer = begin(&[], 1);
    let expected = IndexWriter::new(Vec::new(), SymbolsBuilder::new())
        .unwrap()
        .finish()
        .unwrap();
    let (file, summary) = writer.finish().unwrap();
    assert_eq!((file.into_inner(), summary), expected);
}

#[test]
fn what_is_out_of_order_is_refused_by_name() {
    let mut symbols = SpillingSymbolsWriter::new(MemoryFile::default()).unwrap();
    symbols.push("b").unwrap();
    assert!(matches!(symbols.push("b"), Err(IndexWriteError::SymbolOrder(symbol)) if symbol == "b"));
    let mut writer = begin(&["", "a", "b"], 1 << 20);
    writer.add_series_refs(&[(1, 2)], &[]).unwrap();
    let error = writer.add_series_refs(&[(1, 2)], &[]).unwrap_err();
    assert_eq!(error.to_string(), r#"series {a="b"} cannot come after {a="b"}"#);
    for wrong in [&[(2, 1), (1, 1)][..], &[(0, 1)], &[]] {
        let error = writer.add_series_refs(wrong, &[]).unwrap_err();
        assert!(matches!(error, IndexWriteError::LabelOrder(_)), "{error}");
    }
    let error = writer.add_series_refs(&[(1, 3)], &[]).unwrap_err();
    assert!(matches!(error, IndexWriteError::UnknownSymbol(_)));
}

#[test]
fn symbols_longer_than_a_window_are_found() {
    let long = "x".repeat(200_000);
    let mut series = TestSeries::new();
    for (name, value) in [("a", long.as_str()), ("b", "y"), ("c", "z")] {
        series.insert(labels(&[(name, value)]), Vec::new());
    }
    assert!(spilled(&series, 1) == in_memory(&series));
}

proptest! {
    #[test]
    fn any_index_equals_that_of_the_other_writer(series in any_series(), sort_bytes in 1..2_000_usize) {
        prop_assert!(spilled(&series, sort_bytes) == in_memory(&series));
    }
}
