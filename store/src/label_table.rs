//! The labels of one block: every pair of symbols is looked up once.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use sabre_block::{
    BlockError,
    index_header::{IndexHeader, TooLong},
};

use crate::{
    key,
    overlay::{Overlay, Place},
};

/// A name and a value, each a symbol reference of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair(u64);

/// Key pieces by pair of symbols.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownLabels {
    slots: HashMap<Pair, Slot, BuildHasherDefault<PairHasher>>,
    /// The key pieces of all labels, one after the other.
    pieces: Vec<u8>,
}

/// What a request knows of the labels of a block: what earlier ones knew, and what it learnt itself.
#[derive(Debug)]
pub(crate) struct LabelTable {
    overlay: Arc<Overlay>,
    earlier: Arc<KnownLabels>,
    /// Its pieces count on from those of `earlier`.
    own: KnownLabels,
    /// What `own` may take.
    capacity_bytes: usize,
}

/// What became of pairs that were looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learnt {
    /// They are known.
    All,
    /// None is known: their texts take so many bytes.
    TooLong { bytes: u64 },
}

/// Where the key piece of a label is, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    start: u32,
    end: u32,
    pub(crate) place: Place,
}

impl Slot {
    /// Stands for a pair that nothing is known of yet.
    pub(crate) const UNKNOWN: Self = Self {
        start: u32::MAX,
        end: 0,
        place: Place {
            added_before: 0,
            is_dropped: false,
        },
    };

    /// The length of the key piece.
    pub(crate) fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether this is [`Slot::UNKNOWN`].
    pub(crate) fn is_unknown(self) -> bool {
        self.start > self.end
    }
}

impl Pair {
    pub(crate) fn new((name, value): (u32, u32)) -> Self {
        Self(u64::from(name) << 32 | u64::from(value))
    }

    pub(crate) fn name(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(u32::MAX)
    }

    fn value(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }
}

impl KnownLabels {
    /// Memory it takes, about.
    pub(crate) fn size_bytes(&self) -> usize {
        self.pieces.capacity() + self.slots.capacity() * (size_of::<(Pair, Slot)>() + 1)
    }

    /// How many labels are known.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

impl LabelTable {
    /// A table that knows what `earlier` does, which was made under the same overlay; see also
    /// [`LabelTable::set_capacity`].
    pub(crate) fn new(overlay: Arc<Overlay>, earlier: Arc<KnownLabels>) -> Self {
        Self {
            overlay,
            earlier,
            own: KnownLabels::default(),
            capacity_bytes: 0,
        }
    }

    /// What the labels go under.
    pub(crate) fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Lets the table take about so much memory: the labels of one run of series may come on top.
    pub(crate) fn set_capacity(&mut self, capacity_bytes: usize) {
        self.capacity_bytes = capacity_bytes;
    }

    /// Whether the table takes as much as it may.
    pub(crate) fn is_full(&self) -> bool {
        self.own.size_bytes() > self.capacity_bytes
    }

    /// Forgets what it learnt itself.
    pub(crate) fn clear(&mut self) {
        self.own = KnownLabels::default();
    }

    /// Looks pairs up in the index-header, which may read the disk; none of them if their texts are longer than
    /// `most_bytes` together.
    pub(crate) fn learn(
        &mut self,
        header: &IndexHeader,
        mut pairs: Vec<Pair>,
        most_bytes: u64,
    ) -> Result<Learnt, BlockError> {
        pairs.sort_unstable_by_key(|pair| pair.0);
        pairs.dedup();
        let refs = pairs.iter().flat_map(|pair| [pair.name(), pair.value()]);
        let symbols = match header.symbols(refs.collect(), most_bytes)? {
            Ok(symbols) => symbols,
            Err(TooLong { bytes }) => return Ok(Learnt::TooLong { bytes }),
        };
        let texts = |pair: Pair| {
            let text = |reference| symbols.get(reference).unwrap_or_default();
            (text(pair.name()), text(pair.value()))
        };
        // A long name comes once with the symbols, and again with each of its values.
        let lens = pairs.iter().map(|&pair| {
            let (name, value) = texts(pair);
            (name.len() + value.len()) as u64
        });
        let bytes = lens.sum();
        if bytes > most_bytes {
            return Ok(Learnt::TooLong { bytes });
        }
        self.own.slots.reserve(pairs.len());
        for pair in pairs {
            let (name, value) = texts(pair);
            self.insert(pair, name, value);
        }
        Ok(Learnt::All)
    }

    /// What is known of a pair.
    pub(crate) fn slot(&self, pair: Pair) -> Option<Slot> {
        self.earlier
            .slots
            .get(&pair)
            .or_else(|| self.own.slots.get(&pair))
            .copied()
    }

    /// The key piece of a slot.
    pub(crate) fn piece(&self, slot: Slot) -> &[u8] {
        let (start, end) = (slot.start as usize, slot.end as usize);
        let earlier = self.earlier.pieces.len();
        match start.checked_sub(earlier) {
            Some(start) => self.own.pieces.get(start..end.saturating_sub(earlier)),
            None => self.earlier.pieces.get(start..end),
        }
        .unwrap_or_default()
    }

    /// All that is known now, for later requests; `None` if that is not worth keeping: little more than before, or
    /// more than `most_bytes`.
    pub(crate) fn into_known(self, most_bytes: usize) -> Option<KnownLabels> {
        let Self { earlier, own, .. } = self;
        let is_worth_it = own.len() > earlier.len() / 8;
        if !is_worth_it || own.size_bytes() + earlier.size_bytes() > most_bytes {
            return None;
        }
        if earlier.len() == 0 {
            return Some(own);
        }
        let mut all = KnownLabels::clone(&earlier);
        all.pieces.extend_from_slice(&own.pieces);
        all.slots.extend(own.slots);
        Some(all)
    }

    #[cfg(test)]
    pub(crate) fn insert_for_test(&mut self, pair: Pair, name: &str, value: &str) {
        self.insert(pair, name, value);
    }

    fn insert(&mut self, pair: Pair, name: &str, value: &str) {
        let base = self.earlier.pieces.len();
        let start = base + self.own.pieces.len();
        key::push_label(&mut self.own.pieces, name.as_bytes(), value.as_bytes());
        // Tables are bounded far below 4 GiB; should that ever fail the piece is empty rather than another's.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let end = place(base + self.own.pieces.len());
        let slot = Slot {
            start: place(start).min(end),
            end,
            place: self.overlay.place(name),
        };
        self.own.slots.insert(pair, slot);
    }
}

/// Mixes one number; the keys come from a block and the table is small.
#[derive(Debug, Default)]
pub(crate) struct PairHasher(u64);

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
