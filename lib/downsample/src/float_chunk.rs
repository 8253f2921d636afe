//! An aggregate chunk of floats under construction.

use sabre_tsdb::chunk::aggregate::{Aggregate, AggregateChunk, SubChunk};
use sabre_tsdb::chunk::xor::XorAppender;
use sabre_tsdb::chunk::{AppendError, Encoding};
use sabre_tsdb::segment::SeriesChunk;

/// What the samples of one window come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FloatWindow {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) counter: f64,
}

/// Writes windows into an aggregate chunk. What was written out leaves its memory to the next chunk.
#[derive(Debug, Default)]
pub(crate) struct FloatChunk {
    count: XorAppender,
    sum: XorAppender,
    min: XorAppender,
    max: XorAppender,
    counter: XorAppender,
    mint: i64,
    maxt: i64,
}

impl FloatChunk {
    /// Puts the first raw sample in front of the counter: readers find resets between chunks with it.
    pub(crate) fn begin(&mut self, t: i64, value: f64) -> Result<(), AppendError> {
        self.counter.append(t, value)
    }

    /// Adds the window that ends at `t`.
    pub(crate) fn push(&mut self, t: i64, window: FloatWindow) -> Result<(), AppendError> {
        if self.count.num_samples() == 0 {
            self.mint = t;
        }
        self.maxt = t;
        self.count.append(t, window.count)?;
        self.sum.append(t, window.sum)?;
        self.min.append(t, window.min)?;
        self.max.append(t, window.max)?;
        self.counter.append(t, window.counter)
    }

    /// Puts the last raw value behind the counter, at the time of the last window, and ends the chunk.
    pub(crate) fn finish(&mut self, last: f64) -> Result<SeriesChunk, AppendError> {
        self.counter.append(self.maxt, last)?;
        let appenders = [
            &mut self.count,
            &mut self.sum,
            &mut self.min,
            &mut self.max,
            &mut self.counter,
        ];
        let data = appenders.map(|appender| std::mem::take(appender).finish());
        let mut chunk = AggregateChunk::default();
        for (aggregate, data) in Aggregate::ALL.into_iter().zip(&data) {
            let encoding = Encoding::Xor;
            chunk.set(aggregate, Some(SubChunk { encoding, data }));
        }
        let chunk = SeriesChunk::encode(self.mint, self.maxt, Encoding::Aggregate, &chunk.encode());
        let [count, sum, min, max, counter] = data.map(XorAppender::with_buffer);
        *self = Self {
            count,
            sum,
            min,
            max,
            counter,
            mint: 0,
            maxt: 0,
        };
        Ok(chunk)
    }
}
