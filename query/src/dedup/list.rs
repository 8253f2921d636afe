//! The samples of chunks that do not overlap, one at a time or many.

use std::sync::Arc;

use sabre_promql::source::{AggregateChoice, ChunkSource, SampleBuffer, SampleSource, SourceError};

use super::chunk::Chunks;
use super::{SampleOptions, Samples};

/// A list of chunks, cut to the times of the query.
pub(super) struct List {
    source: ChunkSource<Chunks>,
    /// The samples of the present chunk: floats or histograms.
    decoded: SampleBuffer,
    /// The number of them that are passed, with the present one.
    passed: usize,
    /// Whether what comes behind the present chunk is too late for the query.
    is_last: bool,
    state: State,
    t: i64,
    float: f64,
    times: (i64, i64),
    is_counter: bool,
    /// Whether a sample is what it is whatever came before it, so that chunks can be passed unread.
    may_skip: bool,
    /// What was added to lift the counter.
    lifted: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    Float,
    Histogram,
    Behind,
}

impl List {
    /// Starts before the first sample.
    pub(super) fn new(source: ChunkSource<Chunks>, options: &SampleOptions) -> List {
        List {
            source,
            decoded: SampleBuffer::default(),
            passed: 0,
            is_last: false,
            state: State::Before,
            t: i64::MIN,
            float: 0.0,
            times: options.times,
            is_counter: options.is_counter,
            may_skip: !options.is_counter && options.choice != AggregateChoice::Counter,
            lifted: 0.0,
        }
    }

    /// The float, lifted if it is one of a counter: adding nothing would still make a stale marker any NaN.
    #[inline]
    fn value(&self) -> f64 {
        if self.is_counter {
            self.float + self.lifted
        } else {
            self.float
        }
    }

    /// Moves on within the present chunk; false behind its end.
    #[inline]
    fn step(&mut self) -> bool {
        let at = self.passed;
        if let (Some(t), Some(value)) = (self.decoded.timestamps.get(at), self.decoded.values.get(at)) {
            (self.t, self.float, self.state) = (*t, *value, State::Float);
        } else if let Some((t, _)) = self.decoded.histograms.get(at) {
            (self.t, self.state) = (*t, State::Histogram);
        } else {
            return false;
        }
        self.passed += 1;
        true
    }

    /// Decodes the next chunk and cuts it at the end of the query; behind the last one there is nothing.
    fn load(&mut self) -> Result<(), SourceError> {
        self.decoded.clear();
        self.passed = 0;
        if self.is_last || !self.source.next_into(&mut self.decoded)? {
            self.state = State::Behind;
            return Ok(());
        }
        let end = self.times.1;
        let SampleBuffer {
            timestamps,
            values,
            histograms,
            ..
        } = &mut self.decoded;
        if let Some(at) = timestamps.iter().position(|t| *t > end) {
            timestamps.truncate(at);
            values.truncate(at);
            self.is_last = true;
        }
        if let Some(at) = histograms.iter().position(|(t, _)| *t > end) {
            histograms.truncate(at);
            self.is_last = true;
        }
        Ok(())
    }
}

impl Samples for List {
    #[inline]
    fn is_alive(&self) -> bool {
        matches!(self.state, State::Float | State::Histogram)
    }

    #[inline]
    fn t(&self) -> i64 {
        self.t
    }

    #[inline]
    fn float(&self) -> Option<f64> {
        (self.state == State::Float).then(|| self.value())
    }

    #[inline]
    fn push_to(&self, buffer: &mut SampleBuffer) {
        match self.state {
            State::Float => buffer.push(self.t, self.value()),
            State::Histogram => {
                let histogram = self
                    .passed
                    .checked_sub(1)
                    .and_then(|at| self.decoded.histograms.get(at));
                buffer
                    .histograms
                    .extend(histogram.map(|(t, histogram)| (*t, Arc::clone(histogram))));
            }
            State::Before | State::Behind => {}
        }
    }

    #[inline]
    fn advance(&mut self) -> Result<(), SourceError> {
        while self.state != State::Behind {
            if !self.step() {
                self.load()?;
            } else if self.t >= self.times.0 {
                break;
            }
        }
        Ok(())
    }

    fn seek(&mut self, t: i64) -> Result<(), SourceError> {
        if !self.is_alive() || self.t >= t {
            return Ok(());
        }
        let rest = self.decoded.timestamps.get(self.passed..).unwrap_or_default();
        self.passed += rest.iter().take_while(|next_t| **next_t < t).count();
        if self.may_skip {
            self.source.chunks_mut().skip_before(t);
        }
        self.advance()?;
        while self.is_alive() && self.t < t {
            self.advance()?;
        }
        Ok(())
    }

    fn lift(&mut self, before: f64) -> Result<(), SourceError> {
        if self.is_counter
            && let Some(value) = self.float()
            && before > value
        {
            self.lifted += before - value;
        }
        Ok(())
    }

    #[inline]
    fn upcoming(&self) -> &[i64] {
        self.decoded.timestamps.get(self.passed..).unwrap_or_default()
    }

    fn give(&mut self, count: usize, buffer: &mut SampleBuffer) {
        let end = self.passed.saturating_add(count);
        let (Some(timestamps), Some(values)) = (
            self.decoded.timestamps.get(self.passed..end),
            self.decoded.values.get(self.passed..end),
        ) else {
            return;
        };
        let (Some(t), Some(float)) = (timestamps.last(), values.last()) else {
            return;
        };
        buffer.timestamps.extend_from_slice(timestamps);
        if self.is_counter {
            buffer
                .values
                .extend(values.iter().map(|value| value + self.lifted));
        } else {
            buffer.values.extend_from_slice(values);
        }
        (self.t, self.float, self.state, self.passed) = (*t, *float, State::Float, end);
    }
}
