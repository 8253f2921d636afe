use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::fixture::put_frame;
use super::*;
use crate::encoding::put_u32;

fn sealed<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str, u64)>) -> Vec<u8> {
    let mut content = vec![0; 4];
    let mut count = 0;
    for (name, value, list_offset) in entries {
        offset_table::encode_entry(name, value, list_offset, &mut content);
        count += 1;
    }
    let mut number = Vec::new();
    put_u32(&mut number, count);
    content[..4].copy_from_slice(&number);
    let mut out = Vec::new();
    put_frame(&mut out, &content);
    out
}

#[test]
fn a_table_in_no_order_is_sorted() {
    let table = PostingsTable::parse(
        sealed([("job", "b", 3), ("", "", 1), ("job", "a", 4), ("a", "z", 5)]),
        0,
    );
    let table = table.unwrap();
    assert_eq!(table.names().collect::<Vec<_>>(), ["a", "job"]);
    assert_eq!(table.values("job").collect::<Vec<_>>(), [("a", 4), ("b", 3)]);
    assert_eq!(table.list_offset("", ""), Some(1));
    assert_eq!(table.list_offset("a", "z"), Some(5));
    assert_eq!(table.list_offset("a", "y"), None);
    assert_eq!(table.list_offset("b", ""), None);
    assert_eq!(table.values("nothing").count(), 0);
}

#[test]
fn two_entries_of_one_label_are_an_error() {
    let bytes = sealed([("a", "b", 1), ("a", "c", 2), ("a", "b", 3)]);
    let error = PostingsTable::parse(bytes, 1000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "corrupt index postings offset table at offset 1020: a second entry for a=\"b\""
    );
}

#[test]
fn a_table_without_entries_is_fine() {
    let table = PostingsTable::parse(sealed([]), 0).unwrap();
    assert_eq!(table.names().count(), 0);
    assert_eq!(table.list_offset("", ""), None);
}

proptest! {
    #[test]
    fn every_entry_is_found(
        entries in proptest::collection::hash_map(("[ab]{0,2}", "[a-c]{0,4}"), any::<u64>(), 0..100),
    ) {
        let unsorted = entries.iter().map(|((name, value), offset)| (name.as_str(), value.as_str(), *offset));
        let table = PostingsTable::parse(sealed(unsorted), 7).unwrap();
        let mut by_name: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for ((name, value), offset) in &entries {
            prop_assert_eq!(table.list_offset(name, value), Some(*offset));
            by_name.entry(name).or_default().insert(value, *offset);
        }
        for (name, values) in &by_name {
            prop_assert!(table.values(name).eq(values.iter().map(|(value, offset)| (*value, *offset))));
        }
        prop_assert!(table.names().eq(by_name.into_keys().filter(|name| !name.is_empty())));
    }

    #[test]
    fn any_bytes_are_fine(content: Vec<u8>, whole: Vec<u8>) {
        let mut framed = Vec::new();
        put_frame(&mut framed, &content);
        crate::index::fuzz::postings_table(&framed);
        crate::index::fuzz::postings_table(&whole);
    }
}
