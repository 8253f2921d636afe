//! The order of a block's series after external labels were added, without sorting them.
//!
//! A block lists its series in label order. Adding the same labels to all of them keeps that order but for one case:
//! series A is a strict prefix of the later series B, and B's next label name is smaller than the greatest name added.
//! Then A's added label stands against B's next one, and B comes first. So A waits on a stack while such series
//! follow; the stack never holds more series than a series has labels.

/// Series that wait because later ones may have to go first.
#[derive(Debug)]
pub struct PrefixStack<T> {
    held: Vec<T>,
}

impl<T> Default for PrefixStack<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> PrefixStack<T> {
    /// An empty stack.
    pub fn new() -> Self {
        Self { held: Vec::new() }
    }

    /// Takes the next series of the block and hands out, in their final order, those that nothing can overtake now.
    ///
    /// `overtakes(next, held)` says whether `next` goes before `held`, see [`overtakes`].
    pub fn push(&mut self, next: T, overtakes: impl Fn(&T, &T) -> bool, mut emit: impl FnMut(T)) {
        while let Some(top) = self.held.pop() {
            if overtakes(&next, &top) {
                self.held.push(top);
                break;
            }
            emit(top);
        }
        self.held.push(next);
    }

    /// Hands out what is left, after the last series of the block.
    pub fn finish(&mut self, mut emit: impl FnMut(T)) {
        while let Some(top) = self.held.pop() {
            emit(top);
        }
    }

    /// How many series wait.
    #[cfg(test)]
    fn depth(&self) -> usize {
        self.held.len()
    }
}

/// Whether `next`, a later series of the same block, goes before `held` once labels are added.
///
/// Both are the labels as the block has them; `below_added(label)` says whether a label's name is smaller than the
/// greatest name that is added.
pub fn overtakes<L: Eq>(next: &[L], held: &[L], below_added: impl Fn(&L) -> bool) -> bool {
    match next.get(held.len()) {
        Some(label) => below_added(label) && next.starts_with(held),
        None => false,
    }
}

/// Whether the stack is not enough: some series of the block has a label that is replaced or removed, so that the
/// order may change anywhere.
pub fn needs_sort<'a>(
    mut block_label_names: impl Iterator<Item = &'a str>,
    replaced_or_removed: impl Fn(&str) -> bool,
) -> bool {
    block_label_names.any(replaced_or_removed)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    type Series = Vec<(String, String)>;

    fn with_added(series: &Series, added: &Series) -> Series {
        let mut all: Series = series.iter().chain(added).cloned().collect();
        all.sort();
        all
    }

    fn reordered(block: &[Series], added: &Series) -> (Vec<Series>, usize) {
        let greatest = added.iter().map(|(name, _)| name.clone()).max();
        let mut stack = PrefixStack::new();
        let (mut out, mut depth) = (Vec::new(), 0);
        for series in block {
            stack.push(
                series.clone(),
                |next, held| overtakes(next, held, |(name, _)| Some(name) < greatest.as_ref()),
                |series| out.push(series),
            );
            depth = depth.max(stack.depth());
        }
        stack.finish(|series| out.push(series));
        (
            out.iter().map(|series| with_added(series, added)).collect(),
            depth,
        )
    }

    fn labels(text: &str) -> Series {
        text.split_whitespace()
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn a_longer_series_goes_first_when_its_next_name_is_below_an_added_one() {
        let block = [
            labels("a=1"),
            labels("a=1 b=2"),
            labels("a=1 b=2 c=3"),
            labels("a=2"),
        ];
        let (out, depth) = reordered(&block, &labels("replica=x"));
        assert_eq!(depth, 3);
        assert_eq!(out[0], labels("a=1 b=2 c=3 replica=x"));
        assert_eq!(out[2], labels("a=1 replica=x"));
    }

    #[test]
    fn a_longer_series_stays_behind_when_its_next_name_is_above_all_added_ones() {
        let block = [labels("a=1"), labels("a=1 z=2")];
        let (out, depth) = reordered(&block, &labels("replica=x"));
        assert_eq!(depth, 1);
        assert_eq!(out[1], labels("a=1 replica=x z=2"));
    }

    #[test]
    fn without_added_labels_nothing_waits() {
        let block = [labels("a=1"), labels("a=1 b=2")];
        assert_eq!(reordered(&block, &Vec::new()).1, 1);
    }

    #[test]
    fn a_label_that_is_replaced_or_removed_asks_for_a_sort() {
        assert!(needs_sort(["a", "replica"].into_iter(), |name| name == "replica"));
        assert!(!needs_sort(["a", "b"].into_iter(), |name| name == "replica"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn the_order_is_that_of_a_full_sort(
            block in proptest::collection::btree_set(
                proptest::collection::btree_map("[abdf]", "[xy]", 0..5), 0..30),
            added in proptest::collection::btree_map("[ceg]", "[xy]", 0..3),
        ) {
            let series = |labels: BTreeMap<String, String>| labels.into_iter().collect::<Series>();
            let block: Vec<Series> = block.into_iter().map(series).collect::<BTreeSet<_>>().into_iter().collect();
            let added = series(added);
            let (out, depth) = reordered(&block, &added);
            let mut sorted: Vec<Series> = block.iter().map(|series| with_added(series, &added)).collect();
            sorted.sort();
            prop_assert_eq!(out, sorted);
            prop_assert!(depth <= 5);
        }
    }
}
