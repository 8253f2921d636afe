//! How far an answer got, so that another attempt can go on where one broke off.

use std::sync::Arc;

use crate::{merged::MergedBatch, request::SeriesQuery};

/// What the caller has received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The key of the last series that was sent.
    after: Option<Vec<u8>>,
    /// How many series were sent.
    series: u64,
    /// How many of the batch that is being sent.
    of_batch: usize,
    /// The last series was not sent whole.
    is_cut: bool,
}

impl Progress {
    /// Notes that the first `until` series of `batch` went out; at its end the next one comes.
    pub(crate) fn sent(&mut self, batch: &MergedBatch, until: usize, is_end: bool) {
        let Some(last) = until.checked_sub(1) else { return };
        let mut new = until.saturating_sub(self.of_batch) as u64;
        let goes_on = self.of_batch == 0 && self.after.as_deref() == Some(batch.key(0));
        if goes_on {
            new = new.saturating_sub(1);
        }
        self.series = self.series.saturating_add(new);
        self.of_batch = if is_end { 0 } else { until };
        self.is_cut = is_end && batch.is_cut();
        self.after = Some(batch.key(last).to_vec());
    }

    /// Whether what is missing can be sent without sending anything twice.
    pub(crate) fn can_resume(&self) -> bool {
        !self.is_cut
    }

    /// What is left to ask for; `None` if nothing is.
    pub(crate) fn rest_of(&mut self, query: &SeriesQuery) -> Option<SeriesQuery> {
        self.of_batch = 0;
        let limit = match query.limit {
            0 => 0,
            limit => limit.checked_sub(self.series).filter(|left| *left > 0)?,
        };
        Some(SeriesQuery {
            limit,
            after: self.after.as_deref().map(Arc::from),
            ..query.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        merged::{MergeLimits, Merger, Stop},
        picks::{Pick, SeriesBatch},
    };

    fn batch(merger: &mut Merger, fetch_bytes: u64) -> (MergedBatch, Stop) {
        let mut out = MergedBatch::default();
        let limits = MergeLimits {
            series: 10,
            fetch_bytes,
            memory_bytes: usize::MAX,
            steps: usize::MAX,
        };
        let mut stop = merger.fill(&mut out, limits);
        while let Stop::Need(stream) = stop {
            merger.supply(stream, None);
            stop = merger.fill(&mut out, limits);
        }
        (out, stop)
    }

    fn series(merger: &mut Merger, keys: &[&[u8]], chunks: u64) {
        let mut series = SeriesBatch::default();
        for key in keys {
            let picks: Vec<Pick> = (0..chunks)
                .map(|n| Pick {
                    mint_ms: 0,
                    maxt_ms: 0,
                    chunk_ref: 8 + n * 100,
                    len_bytes: 100,
                })
                .collect();
            series.push(key, &picks);
        }
        merger.supply(0, Some(series));
    }

    #[test]
    fn what_was_sent_is_not_asked_for_again() {
        let mut merger = Merger::new(1, 0);
        series(&mut merger, &[b"a", b"b", b"c"], 1);
        let (batch, _) = batch(&mut merger, u64::MAX);
        let query = SeriesQuery {
            limit: 3,
            ..SeriesQuery::default()
        };
        let mut progress = Progress::default();
        progress.sent(&batch, 0, false);
        assert_eq!(progress.rest_of(&query).unwrap().after, None);
        progress.sent(&batch, 2, false);
        let rest = progress.rest_of(&query).unwrap();
        assert_eq!((rest.limit, rest.after.as_deref()), (1, Some(&b"b"[..])));
    }

    #[test]
    fn a_limit_that_is_reached_leaves_nothing() {
        let mut merger = Merger::new(1, 0);
        series(&mut merger, &[b"a", b"b"], 1);
        let (batch, _) = batch(&mut merger, u64::MAX);
        let query = SeriesQuery {
            limit: 2,
            ..SeriesQuery::default()
        };
        let mut progress = Progress::default();
        progress.sent(&batch, 1, false);
        progress.sent(&batch, 2, true);
        assert!(progress.rest_of(&query).is_none() && progress.can_resume());
    }

    #[test]
    fn a_series_that_was_sent_in_part_cannot_be_gone_on_with() {
        let mut merger = Merger::new(1, 0);
        series(&mut merger, &[b"a"], 10);
        let (first, stop) = batch(&mut merger, 500);
        assert_eq!(stop, Stop::Full);
        let mut progress = Progress::default();
        progress.sent(&first, 1, true);
        assert!(!progress.can_resume());
        let (rest, _) = batch(&mut merger, u64::MAX);
        progress.sent(&rest, 1, true);
        assert!(progress.can_resume());
        assert_eq!(progress.series, 1, "it is one series");
    }
}
