//! Where a run of samples is cut into the batches that become one chunk each.

use crate::Resolution;

/// Cuts samples into batches of a given size, each extended to the end of its last window.
///
/// It also learns what the size should have been: that depends on the number of all samples, which is known at the
/// end only.
#[derive(Debug, Clone)]
pub(crate) struct Batching {
    resolution: Resolution,
    size: u64,
    /// Samples of the batch, but for those of the window that is open.
    kept: u64,
    /// End of the window of the last sample.
    window_end: i64,
    /// Every size above this one and up to `at_most` gives the same batches.
    more_than: u64,
    at_most: u64,
    /// Samples of batches that are closed.
    closed: u64,
    first_t: Option<i64>,
    pub(crate) last_t: i64,
}

/// What a run of samples was, and how it should be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measured {
    /// The size of batches.
    pub(crate) size: u64,
    /// Whether the batches made are those of this size.
    pub(crate) as_made: bool,
}

impl Batching {
    pub(crate) fn new(resolution: Resolution, size: u64) -> Self {
        Self {
            resolution,
            size,
            kept: 0,
            window_end: i64::MIN,
            more_than: 0,
            at_most: u64::MAX,
            closed: 0,
            first_t: None,
            last_t: 0,
        }
    }

    /// The size of the batches of `count` samples.
    pub(crate) fn size_for(resolution: Resolution, mint: i64, maxt: i64, count: u64) -> u64 {
        count / resolution.chunk_count(mint, maxt, count) + 1
    }

    /// End of the window of the last sample that went to [`window`](Self::window).
    pub(crate) fn window_end(&self) -> i64 {
        self.window_end
    }

    /// Adds samples to the batch whose window is closed, or that have none.
    pub(crate) fn keep(&mut self, samples: u64) {
        self.kept = self.kept.saturating_add(samples);
    }

    /// Comes to the sample at `t`; true if it begins a new batch. `open` samples are in the window that is open;
    /// the caller has not passed them to [`keep`](Self::keep) and does not if the batch ends.
    pub(crate) fn window(&mut self, t: i64, open: u64) -> bool {
        if t <= self.window_end {
            return false;
        }
        self.window_end = self.resolution.window_end(t);
        self.first_t.get_or_insert(t);
        let count = self.kept.saturating_add(open);
        if count < self.size {
            self.more_than = self.more_than.max(count);
            return false;
        }
        self.at_most = self.at_most.min(count);
        self.closed = self.closed.saturating_add(count);
        self.kept = 0;
        true
    }

    /// Ends the run; `open` as before.
    pub(crate) fn finish(&self, open: u64) -> Measured {
        let count = self.closed.saturating_add(self.kept).saturating_add(open);
        let mint = self.first_t.unwrap_or_default();
        let size = Self::size_for(self.resolution, mint, self.last_t, count);
        let as_made = count == 0 || size > self.more_than && size <= self.at_most;
        Measured { size, as_made }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Cuts by the rule as it is written: so many samples, and all that follow in the window of the last.
    fn cut(times: &[i64], size: usize) -> Vec<usize> {
        let (mut ends, mut start) = (Vec::new(), 0);
        while start < times.len() {
            let mut end = (start + size).min(times.len());
            let window_end = Resolution::FiveMinutes.window_end(times[end - 1]);
            while end < times.len() && times[end] <= window_end {
                end += 1;
            }
            ends.push(end);
            start = end;
        }
        ends
    }

    proptest! {
        #[test]
        fn batches_are_cut_by_the_rule(
            steps in proptest::collection::vec(0i64..200_000, 1..200),
            size in 1u64..60,
        ) {
            let times: Vec<i64> = steps
                .iter()
                .scan(0, |t, step| { *t += step; Some(*t) })
                .collect();
            let mut batching = Batching::new(Resolution::FiveMinutes, size);
            let mut ends = Vec::new();
            for (i, &t) in times.iter().enumerate() {
                if batching.window(t, 0) {
                    ends.push(i);
                }
                batching.keep(1);
                batching.last_t = t;
            }
            ends.push(times.len());
            prop_assert_eq!(&ends, &cut(&times, size as usize));
            let measured = batching.finish(0);
            let mint_maxt = (times[0], times[times.len() - 1]);
            let right = Batching::size_for(Resolution::FiveMinutes, mint_maxt.0, mint_maxt.1, times.len() as u64);
            prop_assert_eq!(measured.size, right);
            prop_assert_eq!(measured.as_made, cut(&times, right as usize) == ends);
        }
    }
}
