//! Which series belong to a shard of a request.
//!
//! A querier may ask each of its workers for a share of the series; all stores must cut alike.

use xxhash_rust::xxh64::xxh64;

/// Ends every name and value in the input of the hash.
const SEPARATOR: u8 = 0xff;

/// One shard of a request.
#[derive(Clone, Debug)]
pub struct Shard {
    index: u64,
    total: u64,
    /// Whether the labels in the list are the ones that count, or all the others.
    by: bool,
    labels: Vec<String>,
}

impl Shard {
    /// The shard a request asks for; `None` if it asks for all series.
    pub fn new(index: i64, total: i64, by: bool, labels: Vec<String>) -> Option<Self> {
        let total = u64::try_from(total).ok().filter(|&total| total > 0)?;
        // A negative index belongs to no series.
        let index = u64::try_from(index).unwrap_or(u64::MAX);
        Some(Self {
            index,
            total,
            by,
            labels,
        })
    }

    /// Whether the series with these labels, in their order, belongs to the shard. `scratch` is a buffer to work in.
    pub fn holds<T: AsRef<[u8]>>(
        &self,
        labels: impl IntoIterator<Item = (T, T)>,
        scratch: &mut Vec<u8>,
    ) -> bool {
        scratch.clear();
        for (name, value) in labels {
            if self.counts(name.as_ref()) {
                scratch.extend_from_slice(name.as_ref());
                scratch.push(SEPARATOR);
                scratch.extend_from_slice(value.as_ref());
                scratch.push(SEPARATOR);
            }
        }
        xxh64(scratch, 0).checked_rem(self.total) == Some(self.index)
    }

    fn counts(&self, name: &[u8]) -> bool {
        self.labels.iter().any(|label| label.as_bytes() == name) == self.by
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Labels;

    fn holds(shard: &Shard, pairs: &[(&str, &str)]) -> bool {
        shard.holds(pairs.iter().copied(), &mut Vec::new())
    }

    #[test]
    fn every_series_is_in_exactly_one_shard() {
        for n in 0..50 {
            let value = n.to_string();
            let series = [("__name__", "up"), ("pod", value.as_str())];
            let shards = (0..4).filter(|&i| holds(&Shard::new(i, 4, false, Vec::new()).unwrap(), &series));
            assert_eq!(shards.count(), 1);
        }
    }

    #[test]
    fn without_a_list_all_labels_count_and_the_hash_is_that_of_labels() {
        let series = [("a", "1"), ("b", "2")];
        let hash = Labels::from_pairs(series).unwrap().hash();
        assert!(holds(
            &Shard::new((hash % 7) as i64, 7, false, Vec::new()).unwrap(),
            &series
        ));
    }

    #[test]
    fn by_and_without_are_opposites() {
        let shard = |by, labels: &[&str], pairs: &[(&str, &str)]| {
            let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
            (0..16).find(|&i| holds(&Shard::new(i, 16, by, labels.clone()).unwrap(), pairs))
        };
        let (one, two) = ([("a", "1"), ("b", "2")], [("a", "1"), ("b", "3")]);
        assert_eq!(shard(true, &["a"], &one), shard(true, &["a"], &two));
        assert_eq!(shard(false, &["b"], &one), shard(true, &["a"], &two));
        assert_eq!(shard(true, &[], &one), shard(true, &[], &two));
    }

    #[test]
    fn no_shards_are_no_sharding() {
        assert!(Shard::new(0, 0, true, Vec::new()).is_none());
        assert!(Shard::new(0, -1, true, Vec::new()).is_none());
        assert!(!holds(&Shard::new(-1, 3, true, Vec::new()).unwrap(), &[]));
    }
}
