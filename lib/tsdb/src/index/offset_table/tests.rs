use super::super::fixture::{hex, put_frame};
use super::*;
use crate::encoding::put_u32;

/// The table of the worked example, which lies at 0x74.
const EXAMPLE: &str = "0000001e 00000003 02000044 02085f5f6e616d655f5f02757054 02036a6f62016164 ba2e155b";

fn sealed(count: u32, entries: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    put_u32(&mut content, count);
    content.extend_from_slice(entries);
    let mut out = Vec::new();
    put_frame(&mut out, &content);
    out
}

#[test]
fn the_example_is_read_entry_by_entry() {
    let bytes = hex(EXAMPLE);
    let table = OffsetTable::open(&bytes, 0x74).unwrap();
    assert_eq!(table.left(), 3);
    let entries: Vec<_> = table.map(Result::unwrap).collect();
    let entry = |name, value, list_offset, position| OffsetEntry {
        name,
        value,
        list_offset,
        position,
    };
    let expected = [
        entry("", "", 0x44, 0x7c),
        entry("__name__", "up", 0x54, 0x80),
        entry("job", "a", 0x64, 0x8e),
    ];
    assert_eq!(entries, expected);
    let mut written = Vec::new();
    for entry in entries {
        encode_entry(entry.name, entry.value, entry.list_offset, &mut written);
    }
    assert_eq!(sealed(3, &written), bytes);
}

#[test]
fn reading_ends_after_an_error() {
    let entries = hex("02000044 03 0000 00 02000044");
    let bytes = sealed(3, &entries);
    let mut table = OffsetTable::open(&bytes, 100).unwrap();
    assert!(table.next().unwrap().is_ok());
    assert_eq!(
        table.next().unwrap().unwrap_err().to_string(),
        "corrupt index postings offset table at offset 112: an entry of 3 texts instead of 2"
    );
    assert_eq!(table.next(), None);
}

#[test]
fn counts_that_do_not_fit_are_refused() {
    assert!(OffsetTable::open(&sealed(2, &hex("02000044")), 0).is_err());
    assert!(OffsetTable::open(&sealed(u32::MAX, &[]), 0).is_err());
    let bytes = sealed(1, &hex("02000044 02000044"));
    let mut table = OffsetTable::open(&bytes, 0).unwrap();
    assert!(table.next().unwrap().is_ok());
    assert_eq!(
        table.next().unwrap().unwrap_err().offset,
        12,
        "a second entry of one"
    );
    assert_eq!(table.next(), None);
}

#[test]
fn every_flipped_bit_is_found() {
    for bit in 0..hex(EXAMPLE).len() * 8 {
        let mut bytes = hex(EXAMPLE);
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            OffsetTable::open(&bytes, 0).unwrap_err().section,
            SECTION,
            "bit {bit}"
        );
    }
}
