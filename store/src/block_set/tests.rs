use proptest::prelude::*;
use sabre_model::MatchKind;

use super::*;

fn id(n: u8) -> BlockId {
    BlockId::from_parts(1, [n; 10])
}

fn block(n: u8, resolution_ms: i64, mint_ms: i64, maxt_ms: i64) -> BlockSpan {
    BlockSpan {
        id: id(n),
        mint_ms,
        maxt_ms,
        resolution_ms,
    }
}

fn set(blocks: &[BlockSpan]) -> BlockSet {
    let mut set = BlockSet::default();
    for block in blocks {
        set.insert(*block);
    }
    set
}

fn selected(set: &BlockSet, mint_ms: i64, maxt_ms: i64, max_resolution_ms: i64) -> Vec<BlockId> {
    set.select(mint_ms, maxt_ms, max_resolution_ms, &|_| true)
        .iter()
        .map(|block| block.id)
        .collect()
}

const FIVE_MIN: i64 = 300_000;
const HOUR: i64 = 3_600_000;

#[test]
fn raw_only_when_no_coarser_resolution_is_allowed() {
    let set = set(&[block(1, 0, 0, 100), block(2, FIVE_MIN, 0, 100)]);
    assert_eq!(selected(&set, 0, 99, 0), [id(1)]);
    assert_eq!(selected(&set, 0, 99, FIVE_MIN - 1), [id(1)]);
    assert_eq!(selected(&set, 0, 99, FIVE_MIN), [id(2)]);
}

#[test]
fn gaps_of_the_coarse_level_are_filled_with_the_next_finer_one() {
    let set = set(&[
        block(1, 0, 0, 100),
        block(2, 0, 100, 200),
        block(3, 0, 200, 300),
        block(4, FIVE_MIN, 100, 200),
        block(5, HOUR, 0, 100),
    ]);
    assert_eq!(selected(&set, 0, 299, HOUR), [id(5), id(4), id(3)]);
}

#[test]
fn a_fine_block_that_reaches_into_two_gaps_is_taken_once() {
    let set = set(&[block(1, 0, 0, 300), block(2, FIVE_MIN, 100, 200)]);
    assert_eq!(selected(&set, 0, 299, FIVE_MIN), [id(1), id(2)]);
}

#[test]
fn block_ranges_are_half_open_and_requests_closed() {
    let set = set(&[block(1, 0, 0, 100), block(2, 0, 100, 200)]);
    assert_eq!(selected(&set, 0, 99, 0), [id(1)]);
    assert_eq!(selected(&set, 0, 100, 0), [id(1), id(2)]);
    assert_eq!(selected(&set, 100, 150, 0), [id(2)]);
    assert_eq!(selected(&set, 200, 250, 0), []);
}

#[test]
fn a_block_that_is_not_wanted_still_covers_its_range() {
    let set = set(&[block(1, 0, 0, 100), block(2, FIVE_MIN, 0, 100)]);
    assert!(set.select(0, 99, FIVE_MIN, &|block| block.id != id(2)).is_empty());
}

#[test]
fn extreme_times_do_not_overflow() {
    let set = set(&[block(1, 0, i64::MIN, i64::MAX), block(2, FIVE_MIN, i64::MIN, 5)]);
    assert_eq!(selected(&set, i64::MIN, i64::MAX, FIVE_MIN), [id(2), id(1)]);
}

#[test]
fn external_labels_consume_their_matchers() {
    let external = Labels::from_pairs([("cluster", "eu1"), ("empty", "")]).unwrap();
    let matcher = |kind, name, value| Matcher::new(kind, name, value).unwrap();
    let up = matcher(MatchKind::Eq, "__name__", "up");
    let left = match_external(
        &external,
        &[matcher(MatchKind::Re, "cluster", "eu.*"), up.clone()],
    )
    .unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].name(), "__name__");
    assert!(match_external(&external, &[matcher(MatchKind::Neq, "cluster", "eu1"), up]).is_none());
    let empty = matcher(MatchKind::Eq, "empty", "x");
    assert_eq!(
        match_external(&external, &[empty]).unwrap().len(),
        1,
        "a label without a value is absent"
    );
}

proptest! {
    #[test]
    fn the_whole_range_is_covered_as_well_as_the_blocks_allow(
        blocks in proptest::collection::vec((0usize..3, 0i64..20, 1i64..6), 0..14),
        mint in 0i64..20, len in 0i64..10, max in 0usize..3,
    ) {
        let resolutions = [0, FIVE_MIN, HOUR];
        let blocks: Vec<BlockSpan> = blocks.iter().enumerate()
            .map(|(n, &(r, start, len))| block(n as u8, resolutions[r], start, start + len)).collect();
        let out = set(&blocks).select(mint, mint + len, resolutions[max], &|_| true);
        for t in mint..=mint + len {
            let holds = |b: &&BlockSpan| b.mint_ms <= t && t < b.maxt_ms && b.resolution_ms <= resolutions[max];
            let best = blocks.iter().filter(holds).map(|b| b.resolution_ms).max();
            let got = out.iter().filter(holds).map(|b| b.resolution_ms).max();
            prop_assert_eq!(best, got, "at {}", t);
        }
        let mut ids: Vec<_> = out.iter().map(|b| b.id).collect();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), out.len());
    }
}
