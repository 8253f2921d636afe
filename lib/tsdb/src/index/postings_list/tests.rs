use proptest::prelude::*;

use super::super::fixture::{hex, put_frame};
use super::*;

fn encoded(refs: &[u32]) -> Vec<u8> {
    let mut out = vec![1, 2, 3];
    encode(refs.iter().copied(), &mut out).unwrap();
    out
}

fn sealed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, content);
    out
}

#[test]
fn the_example_decodes_and_encodes() {
    let bytes = hex("00000008 00000001 00000003 a7692ed2");
    assert_eq!(PostingsList::decode(&bytes).unwrap().to_vec(), [3]);
    assert_eq!(encoded(&[3]), bytes);
}

#[test]
fn a_slice_whose_end_is_only_bounded_may_have_padding_or_a_table_behind_the_list() {
    let mut bytes = encoded(&[3, 7]);
    let list_bytes = bytes.len();
    bytes.extend_from_slice(&[0, 0, 0, 9, 9]);
    let (list, total_bytes) = PostingsList::decode_bounded(&bytes).unwrap();
    assert_eq!((list.to_vec(), total_bytes), (vec![3, 7], list_bytes));
    let error = PostingsList::decode(&bytes).unwrap_err();
    assert_eq!(error.offset, list_bytes as u64);
}

#[test]
fn an_empty_list_is_a_list() {
    let list = encoded(&[]);
    let list = PostingsList::decode(&list).unwrap();
    assert!(list.is_empty());
    assert_eq!((list.len(), list.iter().next()), (0, None));
}

#[test]
fn references_that_do_not_ascend_are_refused() {
    for refs in [[1, 5, 5], [1, 5, 4]] {
        let error = PostingsList::decode(&encoded(&refs)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "corrupt index postings at offset 16: reference 2 is not greater than the one before"
        );
    }
}

#[test]
fn a_count_that_is_not_that_of_the_bytes_is_refused() {
    for content in [
        &hex("00000002 00000001")[..],
        &hex("00000000 00000001"),
        &hex("00000000 00"),
        &[],
    ] {
        assert!(PostingsList::decode(&sealed(content)).is_err(), "{content:?}");
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let bytes = encoded(&[1, 2, 1000]);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            PostingsList::decode(&flipped).unwrap_err().section,
            SECTION,
            "bit {bit}"
        );
    }
    for cut in 0..bytes.len() {
        assert!(PostingsList::decode(&bytes[..cut]).is_err());
    }
}

proptest! {
    #[test]
    fn lists_round_trip(refs in proptest::collection::btree_set(any::<u32>(), 0..100)) {
        let refs = Vec::from_iter(refs);
        let bytes = encoded(&refs);
        let list = PostingsList::decode(&bytes).unwrap();
        prop_assert_eq!(list.len(), refs.len());
        prop_assert_eq!(list.to_vec(), refs);
    }

    #[test]
    fn any_bytes_are_fine(content: Vec<u8>, whole: Vec<u8>) {
        crate::index::fuzz::postings_list(&sealed(&content));
        crate::index::fuzz::postings_list(&whole);
    }
}
