//! Series on their way from the index to the answer: keys, and which chunks to send.

/// A chunk to send, as the index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    /// Time of the first sample, in milliseconds.
    pub(crate) mint_ms: i64,
    /// Time of the last sample, in milliseconds.
    pub(crate) maxt_ms: i64,
    /// Segment and offset of the record.
    pub(crate) chunk_ref: u64,
    /// How many bytes the record takes, or is taken to.
    pub(crate) len_bytes: u32,
}

/// Series of one block in the order of the answer.
#[derive(Debug, Default)]
pub(crate) struct SeriesBatch {
    keys: Vec<u8>,
    picks: Vec<Pick>,
    ends: Vec<End>,
}

/// Where the key and the chunks of a series end.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    key: usize,
    pick: usize,
}

impl SeriesBatch {
    /// Makes room for so many series with so many bytes of labels and so many chunks.
    pub(crate) fn with_capacity(series: usize, key_bytes: usize, picks: usize) -> Self {
        Self {
            keys: Vec::with_capacity(key_bytes),
            picks: Vec::with_capacity(picks),
            ends: Vec::with_capacity(series),
        }
    }

    /// Adds a series.
    pub(crate) fn push(&mut self, key: &[u8], picks: &[Pick]) {
        self.keys.extend_from_slice(key);
        self.picks.extend_from_slice(picks);
        self.ends.push(End {
            key: self.keys.len(),
            pick: self.picks.len(),
        });
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The key of series `at`; empty behind the last one.
    pub(crate) fn key(&self, at: usize) -> &[u8] {
        let (before, end) = self.around(at);
        self.keys.get(before.key..end.key).unwrap_or_default()
    }

    /// The chunks of series `at`; none behind the last one.
    pub(crate) fn picks(&self, at: usize) -> &[Pick] {
        let (before, end) = self.around(at);
        self.picks.get(before.pick..end.pick).unwrap_or_default()
    }

    /// How much memory it takes, about.
    pub(crate) fn size_bytes(&self) -> usize {
        self.keys.len() + self.picks.len() * size_of::<Pick>() + self.ends.len() * size_of::<End>()
    }

    fn around(&self, at: usize) -> (End, End) {
        let before = at
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .copied()
            .unwrap_or_default();
        (before, self.ends.get(at).copied().unwrap_or(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_number() {
        let pick = |n| Pick {
            mint_ms: n,
            maxt_ms: n,
            chunk_ref: 0,
            len_bytes: 1,
        };
        let mut batch = SeriesBatch::default();
        batch.push(b"a", &[pick(1), pick(2)]);
        batch.push(b"bb", &[]);
        batch.push(b"c", &[pick(3)]);
        assert_eq!(
            (batch.key(0), batch.picks(0)),
            (&b"a"[..], &[pick(1), pick(2)][..])
        );
        assert_eq!((batch.key(1), batch.picks(1)), (&b"bb"[..], &[][..]));
        assert_eq!((batch.key(2), batch.picks(2)), (&b"c"[..], &[pick(3)][..]));
        assert_eq!((batch.key(3), batch.len()), (&b""[..], 3));
    }
}
