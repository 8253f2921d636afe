//! Puts the keys of neighbouring series together: what a key begins with stays where it is for the next one.

use crate::label_table::{LabelTable, Slot};

/// Writes one key after the other into the same memory.
#[derive(Debug, Default)]
pub(crate) struct KeyWriter {
    key: Vec<u8>,
    /// Behind each label of the block: where the key was, and how many of the added labels were in it.
    marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    key_bytes: usize,
    added: usize,
}

impl KeyWriter {
    /// Puts the labels of a series and those that are added in order. Its first `shared` labels are those of the series
    /// before, as far as that had so many.
    pub(crate) fn write(&mut self, shared: usize, table: &LabelTable, slots: &[Slot]) -> &[u8] {
        let added = table.overlay().pieces();
        self.marks.truncate(shared.min(slots.len()));
        let known = self.marks.last().copied().unwrap_or_default();
        let mut done = known.added;
        self.key.truncate(known.key_bytes);
        for &slot in slots.get(self.marks.len()..).unwrap_or_default() {
            let until = usize::from(slot.place.added_before);
            while let Some((_, piece)) = added.get(done).filter(|_| done < until) {
                self.key.extend_from_slice(piece);
                done += 1;
            }
            if !slot.place.is_dropped {
                self.key.extend_from_slice(table.piece(slot));
            }
            self.marks.push(Mark {
                key_bytes: self.key.len(),
                added: done,
            });
        }
        for (_, piece) in added.get(done..).unwrap_or_default() {
            self.key.extend_from_slice(piece);
        }
        &self.key
    }

    /// Forgets the series before: the next one shares nothing with it.
    pub(crate) fn clear(&mut self) {
        self.marks.clear();
    }

    /// What was written last.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use sabre_model::Labels;

    use super::*;
    use crate::{key, label_table::Pair, overlay::Overlay};

    /// Names and values by symbol: the names in order, then values.
    const SYMBOLS: [&str; 8] = ["a", "c", "e", "g", "1", "22", "\u{1}", ""];

    fn table() -> LabelTable {
        let external = Labels::from_pairs([("b", "x"), ("e", "over"), ("z", "y")]).unwrap();
        let overlay = Arc::new(Overlay::new(&external, &["g".to_owned()]));
        let mut table = LabelTable::new(overlay, Arc::default());
        for name in 0..4u32 {
            for value in 4..8u32 {
                let text = |symbol: u32| SYMBOLS[symbol as usize];
                table.insert_for_test(Pair::new((name, value)), text(name), text(value));
            }
        }
        table
    }

    /// What the labels become, put together from nothing.
    fn expected(series: &[(u32, u32)]) -> Vec<u8> {
        let own = series.iter().map(|&(name, value)| {
            let text = |symbol: u32| SYMBOLS[symbol as usize];
            (text(name), text(value))
        });
        let mut labels: Vec<(&str, &str)> = own.filter(|(name, _)| !["e", "g"].contains(name)).collect();
        labels.extend([("b", "x"), ("e", "over"), ("z", "y")]);
        labels.sort_unstable();
        key::from_labels(labels.into_iter())
    }

    fn series() -> impl Strategy<Value = Vec<(u32, u32)>> {
        let labels = proptest::collection::btree_map(0..4u32, 4..8u32, 0..5);
        labels.prop_map(|labels| labels.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_key_is_the_same_whatever_was_written_before(
            all in proptest::collection::vec((series(), any::<usize>()), 1..8),
        ) {
            let (table, mut writer) = (table(), KeyWriter::default());
            let mut before: Vec<(u32, u32)> = Vec::new();
            for (series, some) in all {
                let same = series.iter().zip(&before).take_while(|(a, b)| a == b).count();
                // Less than what is shared may be said to be.
                let shared = some % (same + 1);
                let slots: Vec<Slot> = series.iter().map(|&pair| table.slot(Pair::new(pair)).unwrap()).collect();
                let written = writer.write(shared, &table, &slots).to_vec();
                prop_assert_eq!(&written, &expected(&series));
                prop_assert_eq!(writer.key(), written.as_slice());
                before = series;
            }
        }
    }

    #[test]
    fn nothing_is_shared_with_what_is_forgotten() {
        let (table, mut writer) = (table(), KeyWriter::default());
        let slots = |series: &[(u32, u32)]| -> Vec<Slot> {
            let slot = |pair: &(u32, u32)| table.slot(Pair::new(*pair)).unwrap();
            series.iter().map(slot).collect()
        };
        writer.write(0, &table, &slots(&[(0, 4), (1, 5)]));
        writer.clear();
        let other = [(0, 5), (1, 5)];
        assert_eq!(writer.write(2, &table, &slots(&other)), expected(&other));
    }
}
