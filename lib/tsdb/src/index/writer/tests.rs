use proptest::prelude::*;

use super::super::fixture::{self, any_series, labels};
use super::super::{IndexReader, SeriesEntry};
use super::*;

fn writer_with(symbols: &[&str]) -> IndexWriter<Vec<u8>> {
    let mut builder = SymbolsBuilder::new();
    for symbol in symbols {
        builder.push(symbol).unwrap();
    }
    IndexWriter::new(Vec::new(), builder).unwrap()
}

#[test]
fn the_worked_example_is_written_to_the_byte() {
    let mut writer = writer_with(&fixture::EXAMPLE_SYMBOLS);
    let lset = labels(&[("__name__", "up"), ("job", "a")]);
    assert_eq!(writer.add_series(&lset, &[fixture::EXAMPLE_CHUNK]).unwrap(), 3);
    let (bytes, summary) = writer.finish().unwrap();
    assert_eq!(bytes, fixture::example());
    assert_eq!(summary.size_bytes, 0xce);
    assert_eq!(summary.series_count, 1);
    assert_eq!(summary.toc.postings_table, 0x74);
}

#[test]
fn an_index_without_series_has_the_list_of_all() {
    let (bytes, summary) = writer_with(&[]).finish().unwrap();
    assert_eq!(summary.series_count, 0);
    let reader = IndexReader::open(bytes.as_slice()).unwrap();
    assert!(reader.all_postings().unwrap().is_empty());
    assert_eq!(reader.label_names().count(), 0);
    let mut entry = SeriesEntry::default();
    assert_eq!(reader.all_series().next_into(&mut entry).unwrap(), None);
}

#[test]
fn symbols_that_no_series_uses_have_no_list() {
    let mut writer = writer_with(&["a", "b", "c"]);
    writer.add_series(&labels(&[("a", "c")]), &[]).unwrap();
    let bytes = writer.finish().unwrap().0;
    let reader = IndexReader::open(bytes).unwrap();
    assert_eq!(reader.label_names().collect::<Vec<_>>(), ["a"]);
    assert_eq!(reader.symbols().len(), 3);
}

#[test]
fn series_must_ascend() {
    let mut writer = writer_with(&["a", "b", "c"]);
    let (ab, ac) = (labels(&[("a", "b")]), labels(&[("a", "c")]));
    writer.add_series(&ac, &[]).unwrap();
    let error = writer.add_series(&ac, &[]).unwrap_err();
    assert_eq!(error.to_string(), r#"series {a="c"} cannot come after {a="c"}"#);
    assert!(matches!(
        writer.add_series(&ab, &[]),
        Err(IndexWriteError::SeriesOrder { .. })
    ));
    // A prefix comes first, so what is longer may follow.
    writer
        .add_series(&labels(&[("a", "c"), ("b", "a")]), &[])
        .unwrap();
    assert!(writer.add_series(&ac, &[]).is_err());
}

#[test]
fn labels_must_be_sorted_symbols() {
    let mut writer = writer_with(&["a", "b"]);
    let error = writer.add_series(&labels(&[("a", "x")]), &[]).unwrap_err();
    assert_eq!(error.to_string(), r#""x" is not among the symbols of the index"#);
    for refs in [&[][..], &[(1, 0), (0, 0)], &[(0, 0), (0, 1)]] {
        let error = writer.add_series_refs(refs, &[]).unwrap_err();
        assert!(matches!(error, IndexWriteError::LabelOrder(_)), "{error}");
    }
    let error = writer.add_series_refs(&[(0, 2)], &[]).unwrap_err();
    assert!(matches!(error, IndexWriteError::UnknownSymbol(_)), "{error}");
    assert!(
        writer.add_series_refs(&[(0, 1)], &[]).is_ok(),
        "refused series leave nothing behind"
    );
}

#[test]
fn a_label_without_a_name_is_refused_it_would_take_the_list_of_all_series() {
    let mut writer = writer_with(&["", "a"]);
    for refs in [&[(0, 0)][..], &[(0, 1), (1, 1)]] {
        let error = writer.add_series_refs(refs, &[]).unwrap_err();
        assert!(matches!(error, IndexWriteError::LabelOrder(_)), "{error}");
    }
    assert!(
        writer.add_series_refs(&[(1, 0)], &[]).is_ok(),
        "an empty value is fine"
    );
}

#[test]
fn a_file_beyond_the_reach_of_references_is_refused() {
    let full = fixture::example().len() as u64;
    for max_bytes in 0..=full {
        let mut builder = SymbolsBuilder::new();
        for symbol in fixture::EXAMPLE_SYMBOLS {
            builder.push(symbol).unwrap();
        }
        let result = IndexWriter::with_limit(Vec::new(), builder, max_bytes).and_then(|mut writer| {
            writer.add_series_refs(&[(1, 4), (3, 2)], &[fixture::EXAMPLE_CHUNK])?;
            writer.finish()
        });
        match result {
            Ok(_) => assert_eq!(max_bytes, full),
            Err(error) => assert_eq!(
                error.to_string(),
                format!("index would pass {max_bytes} bytes, the most the format can refer to")
            ),
        }
    }
}

#[test]
fn a_failed_write_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = IndexWriter::new(Full, SymbolsBuilder::new())
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, IndexWriteError::Write(_)));
}

#[test]
fn the_buffer_can_be_drained_between_series() {
    let series = fixture::many_series(100);
    let mut builder = SymbolsBuilder::new();
    for symbol in fixture::symbols_of(&series) {
        builder.push(&symbol).unwrap();
    }
    let mut writer = IndexWriter::new(Vec::new(), builder).unwrap();
    let mut drained = Vec::new();
    for (lset, chunks) in &series {
        writer.add_series(lset, chunks).unwrap();
        drained.append(writer.get_mut());
        assert_eq!(writer.position(), drained.len() as u64);
    }
    drained.append(&mut writer.finish().unwrap().0);
    assert_eq!(drained, fixture::write_v2(&series));
}

proptest! {
    #[test]
    fn what_is_written_is_read(series in any_series()) {
        let bytes = fixture::write_v2(&series);
        let reader = IndexReader::open(bytes.as_slice()).unwrap();
        let mut entry = SeriesEntry::default();
        let mut cursor = reader.all_series();
        let mut read = fixture::TestSeries::new();
        while let Some(series_ref) = cursor.next_into(&mut entry).unwrap() {
            read.insert(reader.labels(series_ref, &entry).unwrap(), entry.chunks.clone());
        }
        prop_assert_eq!(read, series);
    }
}
