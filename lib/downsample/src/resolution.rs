//! How wide windows are, and how many chunks a series becomes.

const MINUTE_MS: i64 = 60_000;
const FIVE_MINUTES_MS: i64 = 5 * MINUTE_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// The most windows a chunk has on average.
const WINDOWS_PER_CHUNK: u64 = 140;

/// The width of the windows of a downsampled block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resolution {
    /// 5 minutes, made from raw samples.
    FiveMinutes,
    /// 1 hour, made from windows of 5 minutes.
    OneHour,
}

impl Resolution {
    /// The width in milliseconds, as `meta.json` gives it.
    pub fn millis(self) -> i64 {
        match self {
            Self::FiveMinutes => FIVE_MINUTES_MS,
            Self::OneHour => HOUR_MS,
        }
    }

    /// The width that the source is taken to have; of raw samples nobody knows.
    fn source_millis(self) -> i64 {
        match self {
            Self::FiveMinutes => MINUTE_MS,
            Self::OneHour => FIVE_MINUTES_MS,
        }
    }

    /// The last millisecond of the window that `t` is in.
    pub(crate) fn window_end(self, t: i64) -> i64 {
        let width = self.millis();
        t.saturating_sub(t % width).saturating_add(width - 1)
    }

    /// How many chunks `count` samples from `mint` to `maxt` are cut into, as Thanos estimates it.
    pub(crate) fn chunk_count(self, mint: i64, maxt: i64, count: u64) -> u64 {
        let range = maxt.saturating_sub(mint);
        let windows = (range / self.millis()) as f64;
        let fullness = count as f64 / (range as f64 / self.source_millis() as f64);
        let expected = windows * if fullness > 1.0 { 1.0 } else { fullness };
        // Without a range this is 0 × ∞; the conversion makes 0 of it.
        let expected = (expected as u64).saturating_add(1);
        // The smallest number that makes chunks small enough: expected div x <= 140.
        expected / (WINDOWS_PER_CHUNK + 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_end_before_the_next_begins() {
        let five = Resolution::FiveMinutes;
        assert_eq!(five.window_end(0), 299_999);
        assert_eq!(five.window_end(299_999), 299_999);
        assert_eq!(five.window_end(300_000), 599_999);
        assert_eq!(Resolution::OneHour.window_end(3_599_999), 3_599_999);
        assert_eq!(five.window_end(i64::MAX), i64::MAX);
    }

    /// The rule as it is written: count up until the chunks are small enough.
    fn counted(expected: u64) -> u64 {
        (1..).find(|x| expected / x <= 140).unwrap()
    }

    #[test]
    fn the_number_of_chunks_is_the_smallest_that_fits() {
        for windows in (0..3000).chain([100_000, 1_000_000]) {
            let range = windows * FIVE_MINUTES_MS;
            let full = Resolution::FiveMinutes.chunk_count(0, range, u64::MAX);
            assert_eq!(full, counted(windows as u64 + 1), "{windows} windows");
        }
    }

    #[test]
    fn gaps_make_fewer_chunks() {
        let day = 24 * HOUR_MS;
        assert_eq!(Resolution::FiveMinutes.chunk_count(0, 2 * day, 2880), 5);
        assert_eq!(Resolution::FiveMinutes.chunk_count(0, 2 * day, 1440), 3);
        assert_eq!(Resolution::OneHour.chunk_count(0, 14 * day, 14 * 288), 3);
        assert_eq!(Resolution::FiveMinutes.chunk_count(5, 5, 1), 1);
    }
}
