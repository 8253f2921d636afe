use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

fn slices(lists: &[Vec<u32>]) -> Vec<&[u32]> {
    lists.iter().map(Vec::as_slice).collect()
}

/// Dense small sets, sparse large ones and everything between, so that lengths differ by orders of magnitude.
fn list() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        btree_set(0u32..50, 0..40),
        btree_set(0u32..2000, 0..300),
        btree_set(any::<u32>(), 0..5),
    ]
    .prop_map(|set| set.into_iter().collect())
}

#[test]
fn nothing_of_nothing() {
    assert!(intersect::<u32>(&[]).is_empty());
    assert!(union::<u32>(&[]).is_empty());
    assert!(subtract::<u32>(&[], &[1]).is_empty());
    assert!(intersect::<u32>(&[&[1, 2], &[]]).is_empty());
}

#[test]
fn one_list_is_itself() {
    assert_eq!(intersect(&[&[1u64, u64::MAX][..]]), [1, u64::MAX]);
    assert_eq!(union(&[&[1u64, u64::MAX][..]]), [1, u64::MAX]);
    assert_eq!(subtract(&[1u64, u64::MAX], &[]), [1, u64::MAX]);
}

#[test]
fn galloping_finds_every_position() {
    let list: Vec<u32> = (0..200).map(|i| i * 2).collect();
    for start in 0..list.len() {
        for bound in 0..402 {
            let rest = skip_below(&list[start..], bound);
            let expected: Vec<u32> = list[start..].iter().copied().filter(|x| *x >= bound).collect();
            assert_eq!(rest, expected);
        }
    }
}

#[test]
fn disorder_does_not_hang_or_panic() {
    let disorder = [5u32, 1, 5, 9, 0, 5];
    intersect(&[&disorder, &[5, 5, 1][..]]);
    union(&[&disorder, &[5, 5, 1][..], &[3][..]]);
    subtract(&disorder, &[5, 5, 1]);
}

proptest! {
    #[test]
    fn intersection_is_that_of_sets(lists in vec(list(), 1..6)) {
        let sets: Vec<BTreeSet<u32>> = lists.iter().map(|list| list.iter().copied().collect()).collect();
        let expected = sets.iter().skip(1).fold(sets[0].clone(), |common, set| &common & set);
        prop_assert_eq!(intersect(&slices(&lists)), Vec::from_iter(expected));
    }

    #[test]
    fn union_is_that_of_sets(lists in vec(list(), 0..6)) {
        let expected: BTreeSet<u32> = lists.iter().flatten().copied().collect();
        prop_assert_eq!(union(&slices(&lists)), Vec::from_iter(expected));
    }

    #[test]
    fn difference_is_that_of_sets(from in list(), without in list()) {
        let [a, b]: [BTreeSet<u32>; 2] = [&from, &without].map(|list| list.iter().copied().collect());
        prop_assert_eq!(subtract(&from, &without), Vec::from_iter(&a - &b));
    }
}
