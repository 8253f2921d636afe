//! What becomes of a block's labels in an answer: external labels on top, replica labels gone.

use sabre_model::Labels;

use crate::key;

/// The external labels of a block as an answer has them, and the names that leave it.
#[derive(Debug)]
pub(crate) struct Overlay {
    /// Name and key piece of every label that is added, sorted by name.
    added: Vec<(String, Vec<u8>)>,
    removed: Vec<String>,
    /// The key pieces together.
    pieces_bytes: usize,
}

/// Where a label of a series goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// How many of the added labels come before it.
    pub(crate) added_before: u16,
    /// Whether it is replaced by an added label, or removed.
    pub(crate) is_dropped: bool,
}

impl Overlay {
    /// Adds `external` but for the `removed` names, which also leave the series themselves.
    pub(crate) fn new(external: &Labels, removed: &[String]) -> Self {
        let added: Vec<(String, Vec<u8>)> = external
            .without(removed)
            .iter()
            .map(|(name, value)| (name.to_owned(), key::from_labels([(name, value)].into_iter())))
            .collect();
        Self {
            pieces_bytes: added.iter().map(|(_, piece)| piece.len()).sum(),
            added,
            removed: removed.to_vec(),
        }
    }

    /// The key pieces of the added labels in order.
    pub(crate) fn pieces(&self) -> &[(String, Vec<u8>)] {
        &self.added
    }

    /// How many bytes they have together.
    pub(crate) fn pieces_bytes(&self) -> usize {
        self.pieces_bytes
    }

    /// Whether some label of the block is replaced or removed, so that its series are no longer in order.
    pub(crate) fn disorders<'a>(&self, mut block_label_names: impl Iterator<Item = &'a str>) -> bool {
        block_label_names.any(|name| self.place(name).is_dropped)
    }

    /// Where the label `name` of a series goes.
    pub(crate) fn place(&self, name: &str) -> Place {
        let at = self.added.partition_point(|(added, _)| added.as_str() < name);
        let is_replaced = self.added.get(at).is_some_and(|(added, _)| added == name);
        Place {
            added_before: u16::try_from(at).unwrap_or(u16::MAX),
            is_dropped: is_replaced || self.removed.iter().any(|removed| removed == name),
        }
    }

    /// Whether an added label comes behind a label in this place: then a longer series may overtake a shorter one.
    pub(crate) fn adds_behind(&self, place: Place) -> bool {
        usize::from(place.added_before) < self.added.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_know_how_many_added_ones_come_first() {
        let external = Labels::from_pairs([("b", "1"), ("d", "2"), ("replica", "x")]).unwrap();
        let overlay = Overlay::new(&external, &["replica".to_owned()]);
        assert_eq!(overlay.pieces().len(), 2);
        assert_eq!(
            overlay.place("a"),
            Place {
                added_before: 0,
                is_dropped: false
            }
        );
        assert_eq!(
            overlay.place("c"),
            Place {
                added_before: 1,
                is_dropped: false
            }
        );
        assert_eq!(
            overlay.place("d"),
            Place {
                added_before: 1,
                is_dropped: true
            }
        );
        assert_eq!(
            overlay.place("replica"),
            Place {
                added_before: 2,
                is_dropped: true
            }
        );
        assert!(overlay.adds_behind(overlay.place("c")));
        assert!(!overlay.adds_behind(overlay.place("e")));
        assert!(!overlay.disorders(["a", "c", "e"].into_iter()));
        assert!(overlay.disorders(["a", "replica"].into_iter()));
    }
}
