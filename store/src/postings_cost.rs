//! Which postings lists are worth their bytes.
//!
//! A list that is long and narrows the selection little costs more to read than the series entries it saves. Then it is
//! left out, and its matchers are tried on the labels of the series instead: the answer is the same.

/// When lists are left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostRule {
    /// Lists of one label with fewer bytes than this together are always read.
    pub always_below_bytes: u64,
    /// Lists are read that have fewer bytes than this share of the series entries they are expected to save.
    pub worth: f64,
    /// Lists of a label with more values than this many for each series that is selected without them are left out
    /// whatever their size; 0 for no such limit.
    pub most_values_per_series: f64,
}

/// What is known of the lists of one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupCost {
    /// How many series they have together.
    pub(crate) series: u64,
    /// How many lists there are.
    pub(crate) lists: u64,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
    /// They name series to leave out.
    pub(crate) is_negative: bool,
}

/// Of the series that are selected without a label's lists, this share is expected to pass them: nothing tells.
const EXPECTED_SHARE: f64 = 0.5;

impl Default for CostRule {
    /// As measured by others: reading lists below 64 KiB is never the larger cost.
    fn default() -> Self {
        Self {
            always_below_bytes: 64 << 10,
            worth: 0.75,
            most_values_per_series: 100.0,
        }
    }
}

impl CostRule {
    /// Which of the groups are left out, by their number. `series_bytes` is what an entry takes. The group with the
    /// fewest series is always read; negative ones alone never select anything, so with nothing else none is left out.
    pub(crate) fn left_out(&self, groups: &[GroupCost], series_bytes: u64) -> Vec<bool> {
        let mut left_out = vec![false; groups.len()];
        let mut order: Vec<usize> = (0..groups.len()).collect();
        let cost = |at: &usize| {
            groups
                .get(*at)
                .map(|group| (group.is_negative, group.series, group.lists))
        };
        order.sort_by_key(cost);
        let mut numbers = order.into_iter();
        let first = numbers
            .next()
            .and_then(|at| groups.get(at))
            .filter(|group| !group.is_negative);
        let Some(first) = first else { return left_out };
        let mut expected = first.series as f64;
        for at in numbers {
            let (Some(group), Some(flag)) = (groups.get(at), left_out.get_mut(at)) else {
                continue;
            };
            let saved_bytes = expected * (1.0 - EXPECTED_SHARE) * series_bytes as f64;
            let has_too_many_values = self.most_values_per_series > 0.0
                && group.lists as f64 > self.most_values_per_series * expected.max(1.0);
            let is_worth_it =
                group.bytes < self.always_below_bytes || group.bytes as f64 <= self.worth * saved_bytes;
            *flag = has_too_many_values || !is_worth_it;
            if !*flag {
                expected *= EXPECTED_SHARE;
            }
        }
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(series: u64, lists: u64) -> GroupCost {
        GroupCost {
            series,
            lists,
            bytes: series * 4 + lists * 12,
            is_negative: false,
        }
    }

    fn left_out(groups: &[GroupCost]) -> Vec<bool> {
        CostRule::default().left_out(groups, 200)
    }

    #[test]
    fn small_lists_are_always_read() {
        assert_eq!(left_out(&[group(10, 1), group(16_000, 1)]), [false, false]);
        assert_eq!(left_out(&[group(10, 1), group(17_000, 1)]), [false, true]);
    }

    #[test]
    fn large_lists_are_read_where_they_save_more() {
        // 100,000 series of 200 bytes, half of which a list of 400 kB is expected to spare.
        assert_eq!(
            left_out(&[group(100_000, 1), group(1_000_000, 1)]),
            [false, false]
        );
        assert_eq!(left_out(&[group(10_000, 1), group(1_000_000, 1)]), [false, true]);
        assert_eq!(
            left_out(&[group(1_000_000, 1), group(10_000, 1)]),
            [true, false],
            "whatever the order"
        );
    }

    #[test]
    fn too_many_values_are_left_out() {
        assert_eq!(left_out(&[group(10, 1), group(2000, 2000)]), [false, true]);
        assert_eq!(left_out(&[group(100, 1), group(2000, 2000)]), [false, false]);
    }

    #[test]
    fn negative_lists_come_last_and_never_alone() {
        let negative = GroupCost {
            is_negative: true,
            ..group(1_000_000, 1)
        };
        assert_eq!(left_out(&[negative, group(10, 1)]), [true, false]);
        assert_eq!(left_out(&[negative, negative]), [false, false]);
        assert_eq!(left_out(&[]), [] as [bool; 0]);
    }
}
