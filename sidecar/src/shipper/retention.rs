//! When Prometheus deletes a block, as far as can be foretold.

use sabre_model::{duration::parse_model, size::parse_bytes};

/// What Prometheus keeps: `storageRetention` of its runtime information.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Blocks that end this long before the newest are deleted.
    pub time_ms: Option<i64>,
    /// The oldest blocks beyond this many bytes are deleted.
    pub size_bytes: Option<u64>,
}

/// Range and size of a local block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First millisecond.
    pub(crate) mint: i64,
    /// First millisecond after it.
    pub(crate) maxt: i64,
    /// Bytes of its files.
    pub(crate) size_bytes: u64,
}

impl Retention {
    /// Reads `15d`, `10GiB` and `15d or 10GiB`; what is not understood is no limit.
    pub fn parse(text: &str) -> Retention {
        let mut retention = Retention::default();
        for part in text.split(" or ").map(str::trim) {
            if let Ok(ms) = parse_model(part)
                && ms > 0
            {
                retention.time_ms = Some(ms);
            } else if let Ok(bytes) = parse_bytes(part)
                && bytes > 0
            {
                retention.size_bytes = Some(bytes);
            }
        }
        retention
    }

    /// Milliseconds until Prometheus may delete a block; 0 when it may at any moment, `None` when it does not tell what
    /// it keeps. `spans` are all local blocks, `position` is that of the block among them.
    ///
    /// By time the end is sure: no block is deleted earlier, some up to a block's length later. By size it is an
    /// estimate, from the bytes the blocks took in their time.
    pub(crate) fn left_ms(&self, spans: &[Span], position: usize, now_ms: i64) -> Option<i64> {
        let block = spans.get(position)?;
        let by_time = self
            .time_ms
            .map(|keep_ms| block.maxt.saturating_add(keep_ms).saturating_sub(now_ms));
        let by_size = self
            .size_bytes
            .and_then(|limit| left_by_size(limit, spans, block));
        let left = match (by_time, by_size) {
            (Some(a), Some(b)) => a.min(b),
            (one, other) => one.or(other)?,
        };
        Some(left.max(0))
    }
}

/// A block is deleted when it and all newer ones exceed the limit.
fn left_by_size(limit: u64, spans: &[Span], block: &Span) -> Option<i64> {
    let total: u64 = spans
        .iter()
        .map(|span| span.size_bytes)
        .fold(0, u64::saturating_add);
    let first = spans.iter().map(|span| span.mint).min()?;
    let last = spans.iter().map(|span| span.maxt).max()?;
    let covered_ms = last.checked_sub(first).filter(|ms| *ms > 0)?;
    let newer: u64 = spans
        .iter()
        .filter(|span| span.maxt >= block.maxt)
        .map(|span| span.size_bytes)
        .fold(0, u64::saturating_add);
    let room = limit.saturating_sub(newer);
    if total == 0 {
        return None;
    }
    // u128 holds the product of any two u64.
    let left_ms = u128::from(room) * u128::from(covered_ms.unsigned_abs()) / u128::from(total);
    Some(i64::try_from(left_ms).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn hours(mint: i64, maxt: i64, size_bytes: u64) -> Span {
        Span {
            mint: mint * HOUR,
            maxt: maxt * HOUR,
            size_bytes,
        }
    }

    #[test]
    fn what_prometheus_prints_is_read() {
        let retention = |time_ms, size_bytes| Retention { time_ms, size_bytes };
        assert_eq!(Retention::parse("15d"), retention(Some(15 * 24 * HOUR), None));
        assert_eq!(Retention::parse("10GiB"), retention(None, Some(10 << 30)));
        assert_eq!(
            Retention::parse("1d12h or 512MiB"),
            retention(Some(36 * HOUR), Some(512 << 20))
        );
        for nothing in ["", "0s", "or", "soon", "0B"] {
            assert_eq!(Retention::parse(nothing), Retention::default(), "{nothing:?}");
        }
    }

    #[test]
    fn by_time_a_block_lives_its_retention_beyond_its_end() {
        let retention = Retention::parse("1d");
        let spans = [hours(0, 2, 1), hours(2, 4, 1)];
        assert_eq!(retention.left_ms(&spans, 0, 6 * HOUR), Some(20 * HOUR));
        assert_eq!(retention.left_ms(&spans, 1, 6 * HOUR), Some(22 * HOUR));
        assert_eq!(retention.left_ms(&spans, 0, 40 * HOUR), Some(0), "at any moment");
        assert_eq!(retention.left_ms(&spans, 2, 0), None);
        assert_eq!(Retention::default().left_ms(&spans, 0, 0), None);
    }

    #[test]
    fn by_size_the_room_lasts_as_long_as_blocks_grew() {
        let retention = Retention {
            time_ms: None,
            size_bytes: Some(1000),
        };
        let spans = [hours(0, 2, 100), hours(2, 4, 100), hours(4, 6, 100)];
        assert_eq!(
            retention.left_ms(&spans, 0, 0),
            Some(14 * HOUR),
            "700 of 1000 bytes are free, at 50 an hour"
        );
        assert_eq!(retention.left_ms(&spans, 2, 0), Some(18 * HOUR));
        let full = Retention {
            time_ms: None,
            size_bytes: Some(200),
        };
        assert_eq!(full.left_ms(&spans, 0, 0), Some(0));
        assert_eq!(full.left_ms(&spans, 1, 0), Some(0));
        assert_eq!(
            retention.left_ms(&[hours(0, 0, 0)], 0, 0),
            None,
            "nothing to go by"
        );
    }

    #[test]
    fn the_sooner_of_both_counts() {
        let retention = Retention::parse("4h or 1000B");
        let spans = [hours(0, 2, 100), hours(2, 4, 100), hours(4, 6, 100)];
        assert_eq!(retention.left_ms(&spans, 0, 3 * HOUR), Some(3 * HOUR));
    }
}
