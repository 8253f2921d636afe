//! Brings the series of one block into the order of the answer.

use sabre_model::series_order::{PrefixStack, overtakes};

use crate::{
    label_table::Pair,
    picks::{Pick, SeriesBatch},
};

/// How large the pieces are in which sorted series come out.
const SORTED_BATCH_BYTES: usize = 64 << 10;

/// A series that waits for its turn.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Its labels, as the block has them.
    pub(crate) pairs: Vec<Pair>,
    /// Its labels, as the answer has them.
    pub(crate) key: Vec<u8>,
    /// Its chunks.
    pub(crate) picks: Vec<Pick>,
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
    Stack(PrefixStack<Held>),
    /// All must be known first.
    Sort { all: Vec<Held>, bytes: usize },
}

impl Arranger {
    /// For series that adding labels may move, but only behind longer ones.
    pub(crate) fn nearly_sorted() -> Self {
        Self {
            order: Order::Stack(PrefixStack::new()),
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

    /// Memory for a series, its content left over from another.
    pub(crate) fn spare(&mut self) -> Held {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes memory back.
    pub(crate) fn give_back(&mut self, held: Held) {
        self.spare.push(held);
    }

    /// Takes the next series of the block. Those that nothing can overtake any more go to `out`.
    ///
    /// `adds_behind(n)` says whether a label is added behind the one of the series that is number `n`.
    pub(crate) fn put(&mut self, held: Held, adds_behind: impl Fn(usize) -> bool, out: &mut SeriesBatch) {
        let Self { order, spare } = self;
        match order {
            Order::Sort { all, bytes } => {
                *bytes += held.size_bytes();
                all.push(held);
            }
            Order::Stack(stack) => stack.push(
                held,
                |next, top| overtakes(&next.pairs, &top.pairs, |_| adds_behind(top.pairs.len())),
                |held| {
                    out.push(&held.key, &held.picks);
                    spare.push(held);
                },
            ),
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
            Order::Stack(stack) => stack.finish(&mut push),
            Order::Sort { all, bytes } => {
                *bytes = 0;
                let mut all = std::mem::take(all);
                all.sort_by(|a, b| a.key.cmp(&b.key));
                all.into_iter().for_each(push);
            }
        }
        out
    }

    /// Memory of the series that wait to be sorted.
    pub(crate) fn sorting_bytes(&self) -> usize {
        match &self.order {
            Order::Stack(_) => 0,
            Order::Sort { bytes, .. } => *bytes,
        }
    }
}

impl Held {
    fn size_bytes(&self) -> usize {
        size_of::<Self>()
            + self.key.capacity()
            + self.picks.capacity() * size_of::<Pick>()
            + self.pairs.capacity() * size_of::<Pair>()
    }
}
