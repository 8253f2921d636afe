//! An aggregate chunk of histograms under construction.

use sabre_tsdb::chunk::aggregate::{Aggregate, AggregateChunk, SubChunk};
use sabre_tsdb::chunk::histogram::{Appended, HistogramAppender};
use sabre_tsdb::chunk::xor::XorAppender;
use sabre_tsdb::chunk::{AppendError, Encoding};
use sabre_tsdb::histogram::{CounterResetHint, FloatHistogram};
use sabre_tsdb::segment::SeriesChunk;

/// Writes windows into an aggregate chunk.
#[derive(Debug, Default)]
pub(crate) struct HistogramChunk {
    pub(crate) count: XorAppender,
    counter: Option<HistogramAppender<f64>>,
    sum: Option<HistogramAppender<f64>>,
    range: Option<(i64, i64)>,
}

impl HistogramChunk {
    /// Adds the window that ends at `t` to the counter.
    pub(crate) fn push_counter(&mut self, t: i64, counter: &mut FloatHistogram) -> Result<(), AppendError> {
        self.cover(t);
        push(&mut self.counter, t, counter)
    }

    /// Adds the window that ends at `t` to the sum.
    pub(crate) fn push_sum(&mut self, t: i64, sum: &mut FloatHistogram) -> Result<(), AppendError> {
        self.cover(t);
        push(&mut self.sum, t, sum)
    }

    /// Adds the window that ends at `t` to the count.
    pub(crate) fn push_count(&mut self, t: i64, count: f64) -> Result<(), AppendError> {
        self.cover(t);
        self.count.append(t, count)
    }

    /// Ends the chunk; `None` if it has no window.
    pub(crate) fn finish(self) -> Option<SeriesChunk> {
        let (mint, maxt) = self.range?;
        let count = self.count.finish();
        let histograms = |chunk: Option<HistogramAppender<f64>>| chunk.map(HistogramAppender::finish);
        let (counter, sum) = (histograms(self.counter), histograms(self.sum));
        let part = |data| SubChunk {
            encoding: Encoding::FloatHistogram,
            data,
        };
        let mut chunk = AggregateChunk::default();
        chunk.set(
            Aggregate::Count,
            Some(SubChunk {
                encoding: Encoding::Xor,
                data: &count,
            }),
        );
        chunk.set(Aggregate::Sum, sum.as_deref().map(part));
        chunk.set(Aggregate::Counter, counter.as_deref().map(part));
        Some(SeriesChunk::encode(
            mint,
            maxt,
            Encoding::Aggregate,
            &chunk.encode(),
        ))
    }

    fn cover(&mut self, t: i64) {
        let (mint, maxt) = self.range.unwrap_or((t, t));
        self.range = Some((mint.min(t), maxt.max(t)));
    }
}

/// Appends a histogram. Where it has to begin a new chunk, that takes the place of the one before: what was in it
/// is lost, as in Thanos.
fn push(
    chunk: &mut Option<HistogramAppender<f64>>,
    t: i64,
    histogram: &mut FloatHistogram,
) -> Result<(), AppendError> {
    let Some(appender) = chunk else {
        // The chunk is taken to follow itself, so that nothing unknown is left.
        let flag = match histogram.hint {
            CounterResetHint::Gauge | CounterResetHint::CounterReset => histogram.hint,
            CounterResetHint::Unknown | CounterResetHint::NotCounterReset => {
                CounterResetHint::NotCounterReset
            }
        };
        *chunk = Some(HistogramAppender::begin_with_flag(flag, t, histogram)?);
        return Ok(());
    };
    if appender.num_samples() == u16::MAX {
        return Err(AppendError::Full);
    }
    if let Appended::NewChunk(flag) = appender.append(t, histogram)? {
        *appender = HistogramAppender::begin_with_flag(flag, t, histogram)?;
    }
    Ok(())
}
