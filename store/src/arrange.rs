//! Brings the series of one block into the order of the answer.

use std::cell::Cell;

use sabre_model::series_order::{PrefixStack, overtakes};

use crate::{
    label_table::Pair,
    picks::{Pick, SeriesBatch},
};

/// How large the pieces are in which sorted series come out.
const SORTED_BATCH_BYTES: usize = 64 << 10;

/// Memory of a series that takes more is not kept for another one.
const SPARE_BYTES: usize = 4 << 10;

/// A series that waits for its turn.
#[derive(Debug, Default)]
struct Held {
    pairs: Vec<Pair>,
    key: Vec<u8>,
    picks: Vec<Pick>,
}

/// A series that comes next in the order of the block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arriving<'a> {
    /// Its labels, as the block has them.
    pub(crate) pairs: &'a [Pair],
    /// Its labels, as the answer has them.
    pub(crate) key: &'a [u8],
    /// Its chunks.
    pub(crate) picks: &'a [Pick],
    /// Whether a later series may begin with all of its labels; only such a one may have to go first.
    pub(crate) may_go_on: bool,
}

/// Series on their way from the order of the block to that of the answer.
#[derive(Debug)]
pub(crate) struct Arranger {
    order: Order,
    /// Memory of series that went out.
    spare: Vec<Held>,
}

#[derive(Debug)]
enum Order {
    /// They nearly have it.
    Stack {
        stack: PrefixStack<Held>,
        /// How many are on it.
        waiting: usize,
        /// What they take.
        bytes: usize,
    },
    /// All must be known first.
    Sort { all: Vec<Held>, bytes: usize },
}

impl Arranger {
    /// For series that adding labels may move, but only behind longer ones.
    pub(crate) fn nearly_sorted() -> Self {
        Self {
            order: Order::Stack {
                stack: PrefixStack::new(),
                waiting: 0,
                bytes: 0,
            },
            spare: Vec::new(),
        }
    }

    /// For series some of whose labels are replaced or removed.
    pub(crate) fn unsorted() -> Self {
        Self {
            order: Order::Sort {
                all: Vec::new(),
                bytes: 0,
            },
            spare: Vec::new(),
        }
    }

    /// Takes the next series of the block. Those that nothing can overtake any more go to `out`.
    ///
    /// `adds_behind(n)` says whether a label is added behind the one of the series that is number `n`.
    pub(crate) fn put(
        &mut self,
        series: Arriving<'_>,
        adds_behind: impl Fn(usize) -> bool,
        out: &mut SeriesBatch,
    ) {
        let Self { order, spare } = self;
        match order {
            Order::Sort { all, bytes } => {
                let held = Held::default().filled(series);
                *bytes += held.size_bytes();
                all.push(held);
            }
            // Nearly all series are so: nothing waits, and nothing can overtake them.
            Order::Stack { waiting: 0, .. } if !series.may_go_on => out.push(series.key, series.picks),
            Order::Stack {
                stack,
                waiting,
                bytes,
            } => {
                let held = spare.pop().unwrap_or_default().filled(series);
                let left = Cell::new(waiting.saturating_add(1));
                let left_bytes = Cell::new(bytes.saturating_add(held.size_bytes()));
                let mut emit = |held: Held| {
                    out.push(&held.key, &held.picks);
                    left.set(left.get().saturating_sub(1));
                    left_bytes.set(left_bytes.get().saturating_sub(held.size_bytes()));
                    if held.size_bytes() <= SPARE_BYTES {
                        spare.push(held);
                    }
                };
                stack.push(
                    held,
                    |next, top| overtakes(&next.pairs, &top.pairs, |_| adds_behind(top.pairs.len())),
                    &mut emit,
                );
                if left.get() == 1 && !series.may_go_on {
                    stack.finish(&mut emit);
                }
                *waiting = left.get();
                *bytes = left_bytes.get();
            }
        }
    }

    /// Hands out what waited, after the last series of the block.
    pub(crate) fn finish(&mut self) -> Vec<SeriesBatch> {
        let mut out = vec![SeriesBatch::default()];
        let mut push = |held: Held| {
            if out
                .last()
                .is_none_or(|batch| batch.size_bytes() > SORTED_BATCH_BYTES)
            {
                out.push(SeriesBatch::default());
            }
            if let Some(batch) = out.last_mut() {
                batch.push(&held.key, &held.picks);
            }
        };
        match &mut self.order {
            Order::Stack {
                stack,
                waiting,
                bytes,
            } => {
                (*waiting, *bytes) = (0, 0);
                stack.finish(&mut push);
            }
            Order::Sort { all, bytes } => {
                *bytes = 0;
                let mut all = std::mem::take(all);
                all.sort_by(|a, b| a.key.cmp(&b.key));
                all.into_iter().for_each(push);
            }
        }
        out
    }

    /// Memory of the series that wait for others.
    pub(crate) fn waiting_bytes(&self) -> usize {
        match &self.order {
            Order::Stack { bytes, .. } | Order::Sort { bytes, .. } => *bytes,
        }
    }

    /// Whether all series wait to be sorted, which takes its time.
    pub(crate) fn sorts(&self) -> bool {
        matches!(self.order, Order::Sort { .. })
    }
}

impl Held {
    /// Its memory with another series in it.
    fn filled(mut self, series: Arriving<'_>) -> Self {
        self.pairs.clear();
        self.pairs.extend_from_slice(series.pairs);
        self.key.clear();
        self.key.extend_from_slice(series.key);
        self.picks.clear();
        self.picks.extend_from_slice(series.picks);
        self
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>()
            + self.key.capacity()
            + self.picks.capacity() * size_of::<Pick>()
            + self.pairs.capacity() * size_of::<Pair>()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use proptest::prelude::*;
    use sabre_model::Labels;

    use super::*;
    use crate::{
        key_writer::KeyWriter,
        label_table::{LabelTable, Slot},
        overlay::Overlay,
    };

    const NAMES: [&str; 4] = ["a", "c", "e", "g"];
    const VALUES: [&str; 2] = ["x", "y"];

    fn table(added: &BTreeMap<String, String>) -> LabelTable {
        let external = Labels::from_pairs(added.iter().map(|(n, v)| (n.as_str(), v.as_str()))).unwrap();
        let mut table = LabelTable::new(Arc::new(Overlay::new(&external, &[])), Arc::default());
        for (name, text) in (0u32..).zip(NAMES) {
            for (value, of_value) in (10u32..).zip(VALUES) {
                table.insert_for_test(Pair::new((name, value)), text, of_value);
            }
        }
        table
    }

    fn pick(number: usize) -> Pick {
        Pick {
            mint_ms: 0,
            maxt_ms: 0,
            chunk_ref: number as u64,
            len_bytes: 1,
        }
    }

    #[test]
    fn what_waits_is_counted_until_it_goes_out() {
        let mut arranger = Arranger::nearly_sorted();
        let pairs: Vec<Pair> = (0..3).map(|name| Pair::new((name, 10))).collect();
        let mut out = SeriesBatch::default();
        for labels in 1..=3 {
            let (before, key) = (arranger.waiting_bytes(), vec![1; 10_000 * labels]);
            let series = Arriving {
                pairs: &pairs[..labels],
                key: &key,
                picks: &[],
                may_go_on: true,
            };
            arranger.put(series, |_| true, &mut out);
            assert!(arranger.waiting_bytes() >= before + key.len());
        }
        assert_eq!((out.len(), arranger.finish()[0].len()), (0, 3));
        assert_eq!(arranger.waiting_bytes(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn series_come_out_in_the_order_of_the_answer(
            block in proptest::collection::btree_set(
                proptest::collection::btree_map(0u32..4, 10u32..12, 0..5)
                    .prop_map(|labels| labels.into_iter().collect::<Vec<_>>()), 0..30),
            added in proptest::collection::btree_map("[bdfh]", "[xy]", 0..3),
            unknown in proptest::collection::vec(any::<bool>(), 30),
        ) {
            let block: Vec<Vec<(u32, u32)>> = block.into_iter().collect();
            let (table, mut keys) = (table(&added), KeyWriter::default());
            let (mut arranger, mut out) = (Arranger::nearly_sorted(), SeriesBatch::default());
            let mut expected = Vec::new();
            for (number, labels) in block.iter().enumerate() {
                let pairs: Vec<Pair> = labels.iter().map(|&pair| Pair::new(pair)).collect();
                let slots: Vec<Slot> = pairs.iter().map(|pair| table.slot(*pair).unwrap()).collect();
                let goes_on = block.get(number + 1).is_some_and(|next| next.starts_with(labels));
                let key = keys.write(0, &table, &slots);
                expected.push((key.to_vec(), number as u64));
                let series = Arriving { pairs: &pairs, key, picks: &[pick(number)], may_go_on: goes_on || unknown[number] };
                let adds_behind = |label: usize| slots.get(label).is_some_and(|slot| table.overlay().adds_behind(slot.place));
                arranger.put(series, adds_behind, &mut out);
            }
            expected.sort();
            let mut got = Vec::new();
            for batch in std::iter::once(out).chain(arranger.finish()) {
                got.extend((0..batch.len()).map(|at| (batch.key(at).to_vec(), batch.picks(at)[0].chunk_ref)));
            }
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_series_that_nothing_can_overtake_does_not_wait() {
        let table = table(&BTreeMap::from([("h".to_owned(), "1".to_owned())]));
        let (mut arranger, mut out) = (Arranger::nearly_sorted(), SeriesBatch::default());
        let mut put = |value: u32, may_go_on: bool| {
            let pairs = [Pair::new((0, value))];
            let series = Arriving {
                pairs: &pairs,
                key: &[u8::try_from(value).unwrap()],
                picks: &[],
                may_go_on,
            };
            arranger.put(series, |_| table.slot(pairs[0]).is_some(), &mut out);
            out.len()
        };
        assert_eq!(
            [put(10, false), put(11, true), put(12, false), put(13, false)],
            [1, 1, 3, 4]
        );
    }
}
