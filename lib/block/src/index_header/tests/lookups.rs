//! What is looked up is what is there.

use proptest::prelude::*;
use sabre_tsdb::index::Version;

use super::{
    super::*,
    fixture::{all_values, assert_equal, expected_header, index_v1, index_v2, many_series, open},
};

#[test]
fn every_symbol_and_list_of_an_index_is_found() {
    for count in [1, 2, 31, 32, 33, 64, 65, 1000] {
        let index = index_v2(&many_series(count));
        assert_equal(&open(expected_header(&index)).unwrap(), &index);
    }
}

#[test]
fn an_index_without_series_has_no_labels() {
    let index = index_v2(&[]);
    let header = open(expected_header(&index)).unwrap();
    assert_eq!(header.label_names().count(), 0);
    assert_eq!(header.postings_range("job", "node").unwrap(), None);
    assert_eq!(header.label_value_count("job"), 0);
}

#[test]
fn any_sampling_finds_the_same() {
    let index = index_v2(&many_series(300));
    for value_sampling in [0, 1, 2, 7, 1000] {
        let bytes = Bytes::from(expected_header(&index));
        let header =
            IndexHeader::from_bytes(super::fixture::block(), bytes, HeaderOptions { value_sampling });
        assert_equal(&header.unwrap(), &index);
    }
}

#[test]
fn of_so_many_values_one_position_is_kept_in_memory() {
    let bytes = Bytes::from(expected_header(&index_v2(&many_series(3_000))));
    let kept = |value_sampling| {
        let options = HeaderOptions { value_sampling };
        let header = IndexHeader::from_bytes(super::fixture::block(), bytes.clone(), options).unwrap();
        header.memory_bytes()
    };
    // A position has four bytes, and `instance` as many values as there are series.
    assert!(kept(1) >= kept(10) + 2_600 * 4, "{} {}", kept(1), kept(10));
    assert!(kept(10) >= kept(1_000) + 250 * 4, "{} {}", kept(10), kept(1_000));
}

#[test]
fn version_1_is_found_although_its_table_is_in_no_order() {
    let labels: Vec<_> = (0..100).map(|n| ("instance", format!("host-{n}"))).collect();
    let mut labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    labels.push(("job", "node"));
    let index = index_v1(&labels);
    let header = open(expected_header(&index)).unwrap();
    assert_eq!(header.index_version(), Version::V1);
    assert_equal(&header, &index);
    assert_eq!(header.label_value_count("instance"), 100);
    assert_eq!(values_with_prefix(&header, "instance", "host-9").len(), 11);
    assert!(
        header.symbol(5).is_err(),
        "there is the length of the section, not a symbol"
    );
    assert!(header.symbol(u32::MAX).is_err());
}

#[test]
fn what_is_not_there_is_not_found() {
    let header = open(expected_header(&index_v2(&many_series(1000)))).unwrap();
    for (name, value) in [
        ("", "a"),
        ("job", ""),
        ("job", "a"),
        ("job", "z"),
        ("jo", "node"),
        ("joc", "node"),
        ("zz", ""),
    ] {
        assert_eq!(
            header.postings_range(name, value).unwrap(),
            None,
            "{name}={value}"
        );
    }
    let ranges = header
        .postings_ranges("instance", ["", "10.0.0.1:9100", "10.0.0.1:9101", "~"])
        .unwrap();
    let found: Vec<_> = ranges.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, true, false, false]);
    assert!(header.symbol(1_000_000).is_err());
    let error = header.symbols(vec![0, u32::MAX], u64::MAX).unwrap_err();
    assert!(error.is_corrupt(), "{error}");
}

#[test]
fn all_postings_are_under_the_empty_name_which_is_no_label() {
    let index = index_v2(&many_series(10));
    let header = open(expected_header(&index)).unwrap();
    let all = header.all_postings_range().unwrap().unwrap();
    assert_eq!((all.end - all.start - 12) / 4, 10);
    assert!(header.label_names().all(|name| !name.is_empty()));
    assert_eq!(all_values(&header, "").len(), 1);
}

#[test]
fn values_are_shown_from_a_prefix_on_and_until_told_to_stop() {
    let header = open(expected_header(&index_v2(&many_series(1000)))).unwrap();
    let all: Vec<_> = all_values(&header, "instance")
        .into_iter()
        .map(|(value, _)| value)
        .collect();
    for prefix in ["", "1", "10.0.1", "10.0.3.249:9100", "10.0.3.249:9100x", "0", "2"] {
        let expected: Vec<_> = all
            .iter()
            .filter(|value| value.starts_with(prefix))
            .cloned()
            .collect();
        assert_eq!(
            values_with_prefix(&header, "instance", prefix),
            expected,
            "{prefix}"
        );
    }
    let mut seen = 0;
    let stop_at_40 = |_: &str, _| {
        seen += 1;
        if seen == 40 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    header.for_each_value("instance", "", stop_at_40).unwrap();
    assert_eq!(seen, 40);
}

#[test]
fn memory_is_a_fraction_of_the_header() {
    let bytes = expected_header(&index_v2(&many_series(20_000)));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index-header");
    std::fs::write(&path, &bytes).unwrap();
    let pages = PageCache::new(1 << 20);
    let header = IndexHeader::open(super::fixture::block(), &path, &pages, HeaderOptions::default()).unwrap();
    assert_eq!(header.size_bytes(), bytes.len() as u64);
    assert!(
        header.memory_bytes() < bytes.len() / 50,
        "{} of {}",
        header.memory_bytes(),
        bytes.len()
    );
    assert_eq!(pages.size_bytes(), 0, "opening reads past the cache");
    assert!(open(bytes.clone()).unwrap().memory_bytes() > bytes.len());
}

fn values_with_prefix(header: &IndexHeader, name: &str, prefix: &str) -> Vec<String> {
    let mut values = Vec::new();
    let visit = |value: &str, _| {
        values.push(value.to_owned());
        ControlFlow::Continue(())
    };
    header.for_each_value(name, prefix, visit).unwrap();
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// From a file, through a cache too small for it, in any order, with repetitions and strangers.
    #[test]
    fn random_access_finds_what_a_scan_finds(
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 1..60),
        symbols in proptest::collection::vec(0u32..2000, 1..60),
        strangers in proptest::collection::vec("[a-z0-9.:]{0,12}", 0..10),
        value_sampling in 1u32..40,
        cache_bytes in prop::sample::select(vec![1u64, 40_000, 1 << 20]),
    ) {
        let index = index_v2(&many_series(1500));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index-header");
        std::fs::write(&path, expected_header(&index)).unwrap();
        let pages = PageCache::new(cache_bytes);
        let options = HeaderOptions { value_sampling };
        let header = IndexHeader::open(super::fixture::block(), &path, &pages, options).unwrap();

        let all = all_values(&header, "instance");
        let mut wanted: Vec<&str> = picks.iter().map(|pick| pick.get(&all).0.as_str()).collect();
        wanted.extend(strangers.iter().map(String::as_str));
        let ranges = header.postings_ranges("instance", wanted.iter().copied()).unwrap();
        for (value, range) in wanted.into_iter().zip(ranges) {
            let expected = all.iter().find(|(other, _)| other == value).map(|(_, range)| range.clone());
            prop_assert_eq!(range, expected, "{}", value);
        }

        let reader = sabre_tsdb::index::IndexReader::open(&index[..]).unwrap();
        let known: Vec<_> = symbols.into_iter().filter(|symbol| *symbol < reader.symbols().len()).collect();
        let mut found = Vec::new();
        header.for_each_symbol(&known, |reference, text| found.push((reference, text.to_owned()))).unwrap();
        let expected: Vec<_> =
            known.iter().map(|&symbol| (symbol, reader.symbols().get(symbol).unwrap().to_owned())).collect();
        prop_assert_eq!(found, expected);

        let distinct: std::collections::BTreeSet<u32> = known.iter().copied().collect();
        let bytes = distinct.iter().map(|&symbol| reader.symbols().get(symbol).unwrap().len() as u64).sum();
        prop_assert_eq!(header.symbols(known.clone(), bytes).unwrap().map(|map| map.len()), Ok(distinct.len()));
        if let Some(less) = bytes.checked_sub(1) {
            prop_assert_eq!(header.symbols(known, less).unwrap().err(), Some(TooLong { bytes }));
        }
    }
}
