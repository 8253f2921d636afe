//! The labels of one block during one request: every pair of symbols is looked up once.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use sabre_block::{BlockError, index_header::IndexHeader};

use crate::{
    key,
    overlay::{Overlay, Place},
};

/// A name and a value, each a symbol reference of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair(u64);

/// Key pieces by pair of symbols.
#[derive(Debug)]
pub(crate) struct LabelTable {
    overlay: Arc<Overlay>,
    slots: HashMap<Pair, Slot, BuildHasherDefault<PairHasher>>,
    /// The key pieces of all labels, one after the other.
    pieces: Vec<u8>,
    capacity_bytes: usize,
}

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

impl LabelTable {
    /// An empty table; see [`LabelTable::set_capacity`].
    pub(crate) fn new(overlay: Arc<Overlay>) -> Self {
        Self {
            overlay,
            slots: HashMap::default(),
            pieces: Vec::new(),
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
        self.pieces.len() + self.slots.len() * 2 * size_of::<(Pair, Slot)>() > self.capacity_bytes
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.slots = HashMap::default();
        self.pieces = Vec::new();
    }

    /// Looks pairs up in the index-header, which may read the disk.
    pub(crate) fn learn(&mut self, header: &IndexHeader, mut pairs: Vec<Pair>) -> Result<(), BlockError> {
        pairs.sort_unstable_by_key(|pair| pair.0);
        pairs.dedup();
        let symbols = header.symbols(
            pairs
                .iter()
                .flat_map(|pair| [pair.name(), pair.value()])
                .collect(),
        )?;
        for pair in pairs {
            let name = symbols.get(pair.name()).unwrap_or_default();
            let value = symbols.get(pair.value()).unwrap_or_default();
            self.insert(pair, name, value);
        }
        Ok(())
    }

    /// What is known of a pair that was learnt.
    pub(crate) fn slot(&self, pair: Pair) -> Option<Slot> {
        self.slots.get(&pair).copied()
    }

    /// The key piece of a slot.
    pub(crate) fn piece(&self, slot: Slot) -> &[u8] {
        self.pieces
            .get(slot.start as usize..slot.end as usize)
            .unwrap_or_default()
    }

    fn insert(&mut self, pair: Pair, name: &str, value: &str) {
        let start = self.pieces.len();
        key::push_label(&mut self.pieces, name.as_bytes(), value.as_bytes());
        // A batch is bounded far below 4 GiB; should that ever fail the piece is empty rather than another's.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let slot = Slot {
            start: place(start),
            end: place(self.pieces.len()),
            place: self.overlay.place(name),
        };
        self.slots.insert(pair, slot);
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
