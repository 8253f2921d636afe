use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::fixture::{self, hex, put_frame};
use super::*;
use crate::encoding::put_u32;

/// Symbols section of the worked example.
const EXAMPLE: &str = "00000017 00000005 00 08 5f5f6e616d655f5f 0161 036a6f62 027570 3c59a292";

fn built(symbols: &[impl AsRef<str>]) -> Symbols {
    let mut builder = SymbolsBuilder::new();
    for (number, symbol) in symbols.iter().enumerate() {
        assert_eq!(builder.push(symbol.as_ref()), Some(number as u32));
    }
    builder.build(5).unwrap()
}

fn section(symbols: &[&[u8]], count: u32) -> Vec<u8> {
    let mut content = Vec::new();
    put_u32(&mut content, count);
    for symbol in symbols {
        put_uvarint_bytes(&mut content, symbol);
    }
    let mut out = Vec::new();
    put_frame(&mut out, &content);
    out
}

#[test]
fn the_example_is_built_and_read_to_the_byte() {
    let symbols = built(&fixture::EXAMPLE_SYMBOLS);
    assert_eq!(symbols.section(), hex(EXAMPLE));
    let symbols = Symbols::parse(hex(EXAMPLE), 5, Version::V2).unwrap();
    assert_eq!(symbols.len(), 5);
    assert_eq!(symbols.get(1), Ok("__name__"));
    assert_eq!(symbols.find("up"), Some(4));
}

#[test]
fn references_of_version_1_are_offsets_in_the_file() {
    let symbols = Symbols::parse(hex(EXAMPLE), 5, Version::V1).unwrap();
    let all: Vec<_> = symbols.iter().collect();
    assert_eq!(
        all,
        [(13, ""), (14, "__name__"), (23, "a"), (25, "job"), (29, "up")]
    );
    for (reference, symbol) in all {
        assert_eq!(symbols.get(reference), Ok(symbol));
        assert_eq!(symbols.find(symbol), Some(reference));
    }
    for between in [0, 5, 12, 15, 22, 24, 30, 32, u32::MAX] {
        assert!(symbols.get(between).is_err(), "{between}");
    }
}

#[test]
fn references_of_version_1_reach_four_gibibytes() {
    let at = u64::from(u32::MAX) - 100;
    let symbols = Symbols::parse(hex(EXAMPLE), at, Version::V1).unwrap();
    assert_eq!(symbols.get(u32::MAX - 91), Ok("__name__"));
    assert!(Symbols::parse(hex(EXAMPLE), at + 90, Version::V1).is_err());
    assert!(Symbols::parse(hex(EXAMPLE), u64::MAX, Version::V2).is_ok());
}

#[test]
fn an_unknown_reference_is_an_error_with_place() {
    let symbols = built(&["a"]);
    assert_eq!(
        symbols.get(1).unwrap_err().to_string(),
        "corrupt index symbols at offset 5: reference 1 to none of the 1 symbols"
    );
    assert_eq!(built(&[] as &[&str]).find("a"), None);
    assert!(built(&[] as &[&str]).get(0).is_err());
}

#[test]
fn symbols_that_do_not_ascend_are_refused() {
    let mut builder = SymbolsBuilder::new();
    assert_eq!(builder.push("b"), Some(0));
    assert_eq!(builder.push("b"), None);
    assert_eq!(builder.push("a"), None);
    assert_eq!(builder.push("c"), Some(1), "a refused symbol changes nothing");
    for symbols in [[b"b", b"a"], [b"a", b"a"]] {
        let symbols = symbols.map(|symbol| &symbol[..]);
        let error = Symbols::parse(section(&symbols, 2), 100, Version::V2).unwrap_err();
        assert_eq!((error.section, error.offset), (SECTION, 110));
    }
}

#[test]
fn counts_that_do_not_fit_and_broken_text_are_refused() {
    for (symbols, count) in [
        (&[&b"a"[..]][..], 2),
        (&[b"a", b"b"], 1),
        (&[], u32::MAX),
        (&[b"\xff"], 1),
    ] {
        let error = Symbols::parse(section(symbols, count), 5, Version::V2).unwrap_err();
        assert_eq!(error.section, SECTION);
    }
}

#[test]
fn every_flipped_bit_is_found() {
    for bit in 0..hex(EXAMPLE).len() * 8 {
        let mut bytes = hex(EXAMPLE);
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Symbols::parse(bytes, 5, Version::V2).is_err(), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn all_symbols_are_found_again(texts in proptest::collection::btree_set("[a-f]{0,4}", 0..200), v1: bool) {
        let texts: Vec<String> = texts.into_iter().collect();
        let version = if v1 { Version::V1 } else { Version::V2 };
        let section = built(&texts).section().to_vec();
        let symbols = Symbols::parse(&section, 5, version).unwrap();
        prop_assert_eq!(symbols.iter().map(|(_, symbol)| symbol).collect::<Vec<_>>(), texts.clone());
        let known: BTreeSet<&str> = texts.iter().map(String::as_str).collect();
        for (reference, symbol) in symbols.iter() {
            prop_assert_eq!(symbols.get(reference), Ok(symbol));
            prop_assert_eq!(symbols.find(symbol), Some(reference));
            let other = format!("{symbol}0");
            prop_assert_eq!(symbols.find(&other).is_some(), known.contains(other.as_str()));
        }
    }
}
