//! References of selected series, kept small: about one byte each where neighbours are selected.

/// An ascending list of series references, stored as the differences between them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesRefs {
    deltas: Vec<u8>,
    count: usize,
}

impl SeriesRefs {
    /// Stores strictly ascending references.
    pub(crate) fn from_sorted(refs: impl IntoIterator<Item = u32>) -> Self {
        let mut deltas = Vec::new();
        let mut count = 0;
        let mut previous = 0u32;
        for reference in refs {
            let delta = reference.wrapping_sub(previous);
            sabre_tsdb::encoding::put_uvarint(&mut deltas, u64::from(delta));
            previous = reference;
            count += 1;
        }
        deltas.shrink_to_fit();
        Self { deltas, count }
    }

    /// How many references there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// How much memory they take.
    pub(crate) fn size_bytes(&self) -> usize {
        self.deltas.len()
    }

    /// Reads from the first reference on.
    pub(crate) fn cursor(self) -> RefCursor {
        RefCursor {
            refs: self,
            position: 0,
            previous: 0,
        }
    }
}

/// Reads references one after the other.
#[derive(Debug)]
pub(crate) struct RefCursor {
    refs: SeriesRefs,
    position: usize,
    previous: u32,
}

impl RefCursor {
    /// The next reference, which stays the next one.
    pub(crate) fn peek(&self) -> Option<u32> {
        self.read().map(|(reference, _)| reference)
    }

    fn read(&self) -> Option<(u32, usize)> {
        let mut value = 0u32;
        let mut shift = 0;
        let mut position = self.position;
        loop {
            let byte = *self.refs.deltas.get(position)?;
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            position += 1;
            shift += 7;
            if byte < 0x80 {
                return Some((self.previous.wrapping_add(value), position));
            }
        }
    }
}

impl Iterator for RefCursor {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (reference, position) = self.read()?;
        self.previous = reference;
        self.position = position;
        Some(reference)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_take_a_byte_each() {
        let refs = SeriesRefs::from_sorted((0..1000).map(|i| 5000 + i * 12));
        assert!(refs.size_bytes() < 1010);
        assert_eq!(refs.len(), 1000);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(refs in proptest::collection::btree_set(any::<u32>(), 0..100)) {
            let mut cursor = SeriesRefs::from_sorted(refs.iter().copied()).cursor();
            prop_assert_eq!(cursor.peek(), refs.first().copied());
            let out: Vec<u32> = cursor.by_ref().collect();
            prop_assert_eq!(out, refs.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(cursor.peek(), None);
        }
    }
}
