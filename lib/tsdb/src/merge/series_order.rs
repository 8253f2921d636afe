//! Which of several blocks have the next series.

use super::heap::Heap;

/// Labels of a series as symbol numbers of the merged table, so that they order as the texts do.
type LabelRefs = Vec<(u32, u32)>;

/// Merges the series of several sources in the order of their labels.
///
/// The caller answers [`wanted`](Self::wanted) with [`push`](Self::push), takes the next labels by
/// [`pop`](Self::pop), deals with the series, and begins anew. At most one series of each source is held.
#[derive(Debug)]
pub struct SeriesOrder {
    heap: Heap<Head>,
    /// By source: the labels it gave last.
    last: Vec<LabelRefs>,
    /// Sources whose next series has yet to be given, in the order in which it has to be.
    wanted: Vec<usize>,
    /// How many of `wanted` were answered.
    answered: usize,
}

/// The next series of a source.
#[derive(Debug)]
struct Head {
    labels: LabelRefs,
    source: usize,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.labels == other.labels
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.labels.partial_cmp(&other.labels)
    }
}

/// A source that does not keep to the order of an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesOrderError {
    /// A series is not greater than the one before.
    #[error("the series of source {source_index} are not in order: one is not greater than that before it")]
    Unsorted {
        /// The source.
        source_index: usize,
    },
    /// A series was given that was not asked for.
    #[error("a series of source {source_index} was not asked for")]
    Unasked {
        /// The source.
        source_index: usize,
    },
}

impl SeriesOrder {
    /// Merges the sources 0 to `sources` − 1.
    pub fn new(sources: usize) -> Self {
        Self {
            heap: Heap::default(),
            last: vec![LabelRefs::new(); sources],
            wanted: (0..sources).collect(),
            answered: 0,
        }
    }

    /// The source whose next series is to be given now; `None` when it is time to pop.
    pub fn wanted(&self) -> Option<usize> {
        self.wanted.get(self.answered).copied()
    }

    /// Gives the labels of the next series of the source that is wanted; `None` if it has no more.
    pub fn push(&mut self, source: usize, labels: Option<LabelRefs>) -> Result<(), SeriesOrderError> {
        let source_index = source;
        if self.wanted() != Some(source) {
            return Err(SeriesOrderError::Unasked { source_index });
        }
        self.answered += 1;
        let Some(labels) = labels else { return Ok(()) };
        let last = self
            .last
            .get_mut(source)
            .ok_or(SeriesOrderError::Unasked { source_index })?;
        if !last.is_empty() && *last >= labels {
            return Err(SeriesOrderError::Unsorted { source_index });
        }
        last.clone_from(&labels);
        self.heap.push(Head { labels, source });
        Ok(())
    }

    /// The smallest labels, and into `sources` those that have them, in the order in which their chunks are to
    /// be merged. `None` at the end, or when a source has not been given what it is wanted for.
    pub fn pop(&mut self, sources: &mut Vec<usize>) -> Option<LabelRefs> {
        sources.clear();
        if self.wanted().is_some() {
            return None;
        }
        let first = self.heap.pop()?;
        sources.push(first.source);
        while self.heap.peek() == Some(&first) {
            sources.extend(self.heap.pop().map(|head| head.source));
        }
        self.wanted.clone_from(sources);
        self.answered = 0;
        Some(first.labels)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(number: u32) -> LabelRefs {
        vec![(1, number / 4), (2, number % 4)]
    }

    /// Merges sources of numbers, and returns each with the sources that had it.
    fn merge(sources: &[Vec<u32>]) -> Vec<(LabelRefs, Vec<usize>)> {
        let mut order = SeriesOrder::new(sources.len());
        let mut next = vec![0; sources.len()];
        let (mut merged, mut having) = (Vec::new(), Vec::new());
        loop {
            while let Some(source) = order.wanted() {
                let number = sources[source].get(next[source]).copied();
                next[source] += 1;
                order.push(source, number.map(labels)).unwrap();
            }
            match order.pop(&mut having) {
                Some(labels) => merged.push((labels, having.clone())),
                None => return merged,
            }
        }
    }

    #[test]
    fn a_source_that_comes_late_to_a_series_comes_last() {
        // Source 0 was advanced after source 1 stood at label 2 already.
        let merged = merge(&[vec![1, 2], vec![2], vec![]]);
        assert_eq!(merged, [(labels(1), vec![0]), (labels(2), vec![1, 0])]);
    }

    #[test]
    fn disorder_is_refused() {
        let mut order = SeriesOrder::new(2);
        assert_eq!(
            order.push(1, None),
            Err(SeriesOrderError::Unasked { source_index: 1 })
        );
        order.push(0, Some(labels(5))).unwrap();
        assert_eq!(order.pop(&mut Vec::new()), None, "source 1 is still wanted");
        order.push(1, None).unwrap();
        assert_eq!(order.pop(&mut Vec::new()), Some(labels(5)));
        let again = order.push(0, Some(labels(5)));
        assert_eq!(again, Err(SeriesOrderError::Unsorted { source_index: 0 }));
    }

    proptest! {
        #[test]
        fn all_series_come_once_in_order(
            sources in proptest::collection::vec(proptest::collection::btree_set(0u32..40, 0..20), 0..6),
        ) {
            let sources: Vec<Vec<u32>> = sources.into_iter().map(|set| set.into_iter().collect()).collect();
            let merged = merge(&sources);
            prop_assert!(merged.is_sorted_by(|one, other| one.0 < other.0));
            for (source, numbers) in sources.iter().enumerate() {
                let seen = merged.iter().filter(|(_, having)| having.contains(&source));
                prop_assert!(seen.map(|(seen, _)| seen.clone()).eq(numbers.iter().copied().map(labels)));
            }
        }
    }
}
