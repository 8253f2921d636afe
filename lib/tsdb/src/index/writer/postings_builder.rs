//! Collects which series have which label while series are written, and gives it back by label.

use std::collections::BTreeMap;

/// The postings of an index that is being written.
///
/// All of them are in memory: four bytes for each series and eight for each of its labels. Whoever makes this
/// spill to disk does it here: [`PostingsBuilder::add_series`] would write sorted runs, and
/// [`PostingsBuilder::for_each_list`] merge them.
#[derive(Debug, Default)]
pub(super) struct PostingsBuilder {
    all_series: Vec<u32>,
    /// For each name, in the order of series: the value in the upper half, the series in the lower.
    by_name: BTreeMap<u32, Vec<u64>>,
}

impl PostingsBuilder {
    /// Adds a series with a greater reference than all before.
    pub(super) fn add_series(&mut self, series_ref: u32, labels: &[(u32, u32)]) {
        self.all_series.push(series_ref);
        for (name, value) in labels {
            let pair = u64::from(*value) << 32 | u64::from(series_ref);
            self.by_name.entry(*name).or_default().push(pair);
        }
    }

    /// The references of all series.
    pub(super) fn all_series(&self) -> impl ExactSizeIterator<Item = u32> {
        self.all_series.iter().copied()
    }

    /// Calls `visit` for each name and value, in order, with the references of the series that have them.
    pub(super) fn for_each_list<E>(
        self,
        mut visit: impl FnMut((u32, u32), ListRefs<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (name, mut pairs) in self.by_name {
            pairs.sort_unstable();
            for list in pairs.chunk_by(|a, b| value_of(*a) == value_of(*b)) {
                let Some(first) = list.first() else { continue };
                visit((name, value_of(*first)), ListRefs(list.iter()))?;
            }
        }
        Ok(())
    }
}

/// The references of one list, ascending.
pub(super) struct ListRefs<'a>(std::slice::Iter<'a, u64>);

impl Iterator for ListRefs<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        // The lower half is the reference.
        self.0.next().map(|pair| *pair as u32)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for ListRefs<'_> {}

fn value_of(pair: u64) -> u32 {
    (pair >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_by_name_and_value_with_ascending_references() {
        let mut builder = PostingsBuilder::default();
        builder.add_series(3, &[(1, 9), (5, 2)]);
        builder.add_series(4, &[(1, 8), (5, 2)]);
        builder.add_series(6, &[(1, 9)]);
        assert_eq!(builder.all_series().collect::<Vec<_>>(), [3, 4, 6]);
        let mut lists = Vec::new();
        builder
            .for_each_list(|key, refs| {
                lists.push((key, refs.collect::<Vec<_>>()));
                Ok::<_, ()>(())
            })
            .unwrap();
        let expected = [((1, 8), vec![4]), ((1, 9), vec![3, 6]), ((5, 2), vec![3, 4])];
        assert_eq!(lists, expected);
    }
}
