//! Which bytes of an index hold the next selected series.

use bytes::Bytes;

use crate::refs::RefCursor;

/// How far one read of series may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartLimits {
    /// Most series.
    pub(crate) series: usize,
    /// Most bytes from the first series to the start of the last.
    pub(crate) bytes: u64,
    /// Most bytes between the starts of two neighbours that are read over.
    pub(crate) gap_bytes: u64,
    /// Read behind the start of the last series.
    pub(crate) tail_bytes: u64,
    /// No series that begins behind this.
    pub(crate) last_start: u64,
}

/// A read to do, and the series in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartPlan {
    /// First byte in the index.
    pub(crate) start: u64,
    /// The byte after the last.
    pub(crate) end: u64,
    /// Where each series begins, counted from `start`.
    pub(crate) offsets: Vec<u32>,
}

/// Takes the next references that are worth one read; `None` at the end.
pub(crate) fn next_part(
    refs: &mut RefCursor,
    offset_of: impl Fn(u32) -> u64,
    limits: PartLimits,
) -> Option<PartPlan> {
    let start = offset_of(refs.next()?);
    let mut offsets = vec![0];
    let mut last = start;
    while let Some(offset) = refs.peek().map(&offset_of) {
        let distance = offset.saturating_sub(start);
        let fits = offsets.len() < limits.series
            && distance <= limits.bytes.min(u64::from(u32::MAX))
            && offset <= limits.last_start
            && offset.saturating_sub(last) <= limits.gap_bytes;
        let Some(relative) = u32::try_from(distance).ok().filter(|_| fits) else {
            break;
        };
        offsets.push(relative);
        last = offset;
        refs.next();
    }
    Some(PartPlan {
        start,
        end: last.saturating_add(limits.tail_bytes),
        offsets,
    })
}

/// Bytes of an index with selected series in them.
#[derive(Debug)]
pub(crate) struct RawPart {
    start: u64,
    bytes: Bytes,
    offsets: Vec<u32>,
    /// The next series to decode.
    at: usize,
    /// All bytes of that series, where `bytes` end before it does.
    whole: Option<Bytes>,
    used: Used,
}

/// Series that were decoded, and the bytes of their entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) series: u64,
    pub(crate) bytes: u64,
}

impl PartPlan {
    /// Where in the index each of the series begins.
    pub(crate) fn starts(&self) -> impl Iterator<Item = u64> {
        self.offsets
            .iter()
            .map(|&offset| self.start.saturating_add(u64::from(offset)))
    }

    /// Where the last of them begins.
    pub(crate) fn last_start(&self) -> u64 {
        self.starts().last().unwrap_or(self.start)
    }
}

impl RawPart {
    /// What a read brought.
    pub(crate) fn new(plan: PartPlan, bytes: Bytes) -> Self {
        Self {
            start: plan.start,
            bytes,
            offsets: plan.offsets,
            at: 0,
            whole: None,
            used: Used::default(),
        }
    }

    /// Where in the index the next series to decode begins; `None` if all are decoded.
    pub(crate) fn next_start(&self) -> Option<u64> {
        let relative = self.offsets.get(self.at)?;
        Some(self.start.saturating_add(u64::from(*relative)))
    }

    /// The bytes from the start of the next series on.
    pub(crate) fn next_bytes(&self) -> &[u8] {
        match &self.whole {
            Some(whole) => whole,
            None => self.next_start().map_or(&[], |start| self.bytes_at(start)),
        }
    }

    /// The bytes from this place in the index on; none if it lies outside.
    pub(crate) fn bytes_at(&self, start: u64) -> &[u8] {
        let relative = start
            .checked_sub(self.start)
            .and_then(|relative| usize::try_from(relative).ok());
        relative
            .and_then(|relative| self.bytes.get(relative..))
            .unwrap_or_default()
    }

    /// Goes on to the next series; the entry of this one has so many bytes.
    pub(crate) fn advance(&mut self, entry_bytes: u64) {
        self.at += 1;
        self.whole = None;
        self.used.series += 1;
        self.used.bytes = self.used.bytes.saturating_add(entry_bytes);
    }

    /// Goes back over so many series that were decoded last.
    pub(crate) fn step_back(&mut self, given_up: Used) {
        let series = usize::try_from(given_up.series).unwrap_or(usize::MAX);
        self.at = self.at.saturating_sub(series);
        if series > 0 {
            self.whole = None;
        }
        self.used.series = self.used.series.saturating_sub(given_up.series);
        self.used.bytes = self.used.bytes.saturating_sub(given_up.bytes);
    }

    /// What was decoded since the last call.
    pub(crate) fn take_used(&mut self) -> Used {
        std::mem::take(&mut self.used)
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// How many series are decoded.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Goes back to a series, and takes other bytes for all of them from there on.
    pub(crate) fn restart(&mut self, position: usize, bytes: Bytes) {
        self.at = position;
        self.whole = None;
        self.bytes = bytes;
        // It will be decoded again.
        self.used = Used::default();
    }

    /// Where the first series begins, where the last one does, and the bytes from the first on.
    pub(crate) fn extent(&self) -> (u64, u64, Bytes) {
        let last = self.offsets.last().copied().unwrap_or(0);
        (
            self.start,
            self.start.saturating_add(u64::from(last)),
            self.bytes.clone(),
        )
    }

    /// Supplies all bytes of the next series.
    pub(crate) fn supply(&mut self, whole: Bytes) {
        self.whole = Some(whole);
    }

    /// Whether all series are decoded.
    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.offsets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refs::SeriesRefs;

    const LIMITS: PartLimits = PartLimits {
        series: 10,
        bytes: 1000,
        gap_bytes: 100,
        tail_bytes: 50,
        last_start: u64::MAX,
    };

    fn parts(refs: &[u32], limits: PartLimits) -> Vec<(u64, u64, usize)> {
        let mut cursor = SeriesRefs::from_sorted(refs.iter().copied()).cursor();
        let mut out = Vec::new();
        while let Some(part) = next_part(&mut cursor, |reference| u64::from(reference) * 16, limits) {
            out.push((part.start, part.end, part.offsets.len()));
        }
        out
    }

    #[test]
    fn neighbours_are_read_together() {
        assert_eq!(parts(&[1, 2, 6], LIMITS), [(16, 146, 3)]);
    }

    #[test]
    fn gaps_bytes_and_series_end_a_part() {
        assert_eq!(parts(&[1, 8], LIMITS), [(16, 66, 1), (128, 178, 1)]);
        assert_eq!(
            parts(&[1, 2, 3], PartLimits { series: 2, ..LIMITS }),
            [(16, 82, 2), (48, 98, 1)]
        );
        assert_eq!(
            parts(
                &[1, 2, 3],
                PartLimits {
                    last_start: 32,
                    ..LIMITS
                }
            ),
            [(16, 82, 2), (48, 98, 1)]
        );
        assert_eq!(
            parts(&[1, 2, 3], PartLimits { bytes: 16, ..LIMITS }),
            [(16, 82, 2), (48, 98, 1)]
        );
    }

    #[test]
    fn a_series_is_always_taken() {
        let none = PartLimits {
            series: 0,
            bytes: 0,
            gap_bytes: 0,
            tail_bytes: 0,
            last_start: 0,
        };
        assert_eq!(
            parts(&[u32::MAX], none),
            [(u64::from(u32::MAX) * 16, u64::from(u32::MAX) * 16, 1)]
        );
    }

    #[test]
    fn a_series_that_is_cut_off_can_be_supplied() {
        let mut cursor = SeriesRefs::from_sorted([1, 2]).cursor();
        let plan = next_part(&mut cursor, u64::from, LIMITS).unwrap();
        let mut part = RawPart::new(plan, Bytes::from_static(b"abc"));
        assert_eq!((part.next_start(), part.next_bytes()), (Some(1), &b"abc"[..]));
        part.advance(1);
        assert_eq!((part.next_start(), part.next_bytes()), (Some(2), &b"bc"[..]));
        part.supply(Bytes::from_static(b"bcdef"));
        assert_eq!(part.next_bytes(), b"bcdef");
        assert_eq!(
            (part.bytes_at(3), part.bytes_at(9), part.bytes_at(0)),
            (&b"c"[..], &b""[..], &b""[..])
        );
        part.advance(5);
        assert!(part.is_done());
        assert_eq!(part.take_used(), Used { series: 2, bytes: 6 });
        assert_eq!(part.take_used(), Used::default());
    }
}
