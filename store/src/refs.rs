//! References of selected series, kept small: about one byte each where neighbours are selected.

use bytes::Bytes;

/// An ascending list of series references, stored as the differences between them. Clones share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeriesRefs {
    deltas: Bytes,
    count: usize,
    last: Option<u32>,
}

impl SeriesRefs {
    /// Stores strictly ascending references.
    pub(crate) fn from_sorted(refs: impl IntoIterator<Item = u32>) -> Self {
        let mut deltas = Vec::new();
        let mut count = 0;
        let mut last = None;
        for reference in refs {
            let delta = reference.wrapping_sub(last.unwrap_or(0));
            sabre_tsdb::encoding::put_uvarint(&mut deltas, u64::from(delta));
            last = Some(reference);
            count += 1;
        }
        deltas.shrink_to_fit();
        Self {
            deltas: Bytes::from(deltas),
            count,
            last,
        }
    }

    /// Takes differences as they were stored; `None` unless they are those of a strictly ascending list.
    pub(crate) fn from_deltas(deltas: Vec<u8>) -> Option<Self> {
        let mut refs = Self {
            deltas: Bytes::from(deltas),
            count: 0,
            last: None,
        };
        let mut cursor = refs.clone().cursor();
        while let Some((reference, position)) = cursor.read() {
            let is_minimal = position == cursor.position + 1 || refs.deltas.get(position - 1) != Some(&0);
            if refs.last.is_some_and(|last| last >= reference) || !is_minimal {
                return None;
            }
            refs.count += 1;
            refs.last = Some(reference);
            (cursor.previous, cursor.position) = (reference, position);
        }
        (cursor.position == refs.deltas.len()).then_some(refs)
    }

    /// The differences, each in as few bytes as it takes, seven bits in each.
    pub(crate) fn deltas(&self) -> &[u8] {
        &self.deltas
    }

    /// How many references there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The highest reference.
    pub(crate) fn last(&self) -> Option<u32> {
        self.last
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
            let bits = u32::from(byte & 0x7f);
            if shift > 28 || (shift == 28 && bits > 0xf) {
                return None;
            }
            value |= bits << shift;
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

    #[test]
    fn stored_differences_must_be_those_of_a_list() {
        assert_eq!(
            SeriesRefs::from_deltas(vec![5, 2, 165, 2])
                .unwrap()
                .cursor()
                .collect::<Vec<_>>(),
            [5, 7, 300]
        );
        assert_eq!(SeriesRefs::from_deltas(vec![]).unwrap().len(), 0);
        for bad in [
            &[5, 0][..],
            &[0x80],
            &[0x85, 0],
            &[1, 0xff, 0xff, 0xff, 0xff, 0x1f],
            &[9, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ] {
            assert_eq!(SeriesRefs::from_deltas(bad.to_vec()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn stored_differences_come_back(refs in proptest::collection::btree_set(any::<u32>(), 0..100)) {
            let list = SeriesRefs::from_sorted(refs);
            prop_assert_eq!(SeriesRefs::from_deltas(list.deltas().to_vec()), Some(list));
        }

        #[test]
        fn what_goes_in_comes_out(refs in proptest::collection::btree_set(any::<u32>(), 0..100)) {
            let list = SeriesRefs::from_sorted(refs.iter().copied());
            let mut cursor = list.clone().cursor();
            prop_assert_eq!(cursor.peek(), refs.first().copied());
            let out: Vec<u32> = cursor.by_ref().collect();
            prop_assert_eq!(list.last(), refs.last().copied());
            prop_assert_eq!(out, refs.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(cursor.peek(), None);
        }
    }
}
