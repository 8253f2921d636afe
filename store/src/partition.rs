//! Which byte ranges to fetch by one request.

use std::ops::Range;

/// Ranges closer than this are fetched together: the bytes between cost less than a further request.
pub(crate) const GAP_BYTES: u64 = 512 << 10;

/// No request asks for more than this, unless a single range is longer.
pub(crate) const PART_BYTES: u64 = 8 << 20;

/// One request: a byte range of an object and the wanted ranges inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// First byte.
    pub(crate) start: u64,
    /// The byte after the last.
    pub(crate) end: u64,
    /// Which of the ranges given to [`partition`] lie in it.
    pub(crate) members: Range<usize>,
}

/// Joins `ranges` (start, end), sorted by start, that lie at most `gap_bytes` apart, in parts of at most `part_bytes`.
///
/// Ranges may overlap. A part is only ever cut between two ranges, so every range lies whole in its part.
pub(crate) fn partition(
    ranges: impl IntoIterator<Item = (u64, u64)>,
    gap_bytes: u64,
    part_bytes: u64,
) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (i, (start, end)) in ranges.into_iter().enumerate() {
        let end = end.max(start);
        match parts.last_mut() {
            Some(part) if joins(part, start, end, gap_bytes, part_bytes) => {
                part.end = part.end.max(end);
                part.members.end = i + 1;
            }
            _ => parts.push(Part {
                start,
                end,
                members: i..i + 1,
            }),
        }
    }
    parts
}

fn joins(part: &Part, start: u64, end: u64, gap_bytes: u64, part_bytes: u64) -> bool {
    let inside = start >= part.start && end <= part.end;
    let near = start >= part.start && start <= part.end.saturating_add(gap_bytes);
    inside || (near && end.saturating_sub(part.start) <= part_bytes)
}

/// How many more bytes are fetched for the range `start..end` when the last one of the same object ended at
/// `previous_end`: its own bytes, and those of the gap if it will be bridged.
pub(crate) fn cost_bytes(previous_end: Option<u64>, start: u64, end: u64, gap_bytes: u64) -> u64 {
    match previous_end {
        Some(previous) if start <= previous.saturating_add(gap_bytes) => end.saturating_sub(previous),
        _ => end.saturating_sub(start),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(start: u64, end: u64, members: Range<usize>) -> Part {
        Part { start, end, members }
    }

    #[test]
    fn ranges_at_most_a_gap_apart_are_joined() {
        let ranges = [(0, 10), (20, 30), (41, 50)];
        assert_eq!(
            partition(ranges, 10, 1000),
            [part(0, 30, 0..2), part(41, 50, 2..3)]
        );
    }

    #[test]
    fn overlapping_and_contained_ranges_are_joined() {
        assert_eq!(
            partition([(0, 100), (10, 20), (90, 120)], 0, 1000),
            [part(0, 120, 0..3)]
        );
    }

    #[test]
    fn large_parts_are_cut_between_ranges() {
        assert_eq!(
            partition([(0, 60), (60, 120), (120, 130)], 10, 100),
            [part(0, 60, 0..1), part(60, 130, 1..3)]
        );
    }

    #[test]
    fn a_single_range_may_be_larger_than_a_part() {
        assert_eq!(partition([(5, 500)], 10, 100), [part(5, 500, 0..1)]);
    }

    #[test]
    fn a_bridged_gap_is_paid_for() {
        assert_eq!(cost_bytes(None, 100, 110, 50), 10);
        assert_eq!(cost_bytes(Some(80), 100, 110, 50), 30);
        assert_eq!(cost_bytes(Some(10), 100, 110, 50), 10);
        assert_eq!(cost_bytes(Some(105), 100, 110, 50), 5);
        assert_eq!(cost_bytes(Some(200), 100, 110, 50), 0);
    }

    proptest! {
        #[test]
        fn every_range_lies_in_its_part_and_parts_are_apart(
            mut ranges in proptest::collection::vec((0u64..10_000, 0u64..300), 0..60),
            gap in 0u64..200, limit in 1u64..2000,
        ) {
            ranges.sort();
            let ranges: Vec<_> = ranges.into_iter().map(|(start, len)| (start, start + len)).collect();
            let parts = partition(ranges.iter().copied(), gap, limit);
            let mut next = 0;
            for part in &parts {
                prop_assert_eq!(part.members.start, next);
                next = part.members.end;
                for &(start, end) in &ranges[part.members.clone()] {
                    prop_assert!(start >= part.start && end <= part.end);
                }
                let len = part.end - part.start;
                let first = ranges[part.members.start];
                prop_assert!(len <= limit || len == first.1 - first.0, "too large and not for one range: {:?}", part);
            }
            prop_assert_eq!(next, ranges.len());
            for pair in parts.windows(2) {
                let joined = pair[1].start <= pair[0].end + gap && ranges[pair[1].members.start].1 - pair[0].start <= limit;
                prop_assert!(!joined, "parts that could be one: {:?}", pair);
            }
        }
    }
}
