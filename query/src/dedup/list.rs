//! The samples of chunks that do not overlap, one at a time.

use std::sync::Arc;

use sabre_promql::source::{ChunkSource, SampleBuffer, SampleSource, SourceError};

use super::{Chunks, SampleOptions, Samples};

/// A list of chunks, cut to the times of the query.
pub(super) struct List {
    source: ChunkSource<Chunks>,
    /// The samples of the present chunk: floats or histograms.
    decoded: SampleBuffer,
    /// The number of them that are passed, with the present one.
    passed: usize,
    state: State,
    t: i64,
    float: f64,
    times: (i64, i64),
    is_counter: bool,
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
            state: State::Before,
            t: i64::MIN,
            float: 0.0,
            times: options.times,
            is_counter: options.is_counter,
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
        loop {
            if self.state == State::Behind {
                return Ok(());
            }
            if !self.step() {
                self.decoded.clear();
                self.passed = 0;
                if !self.source.next_into(&mut self.decoded)? {
                    self.state = State::Behind;
                }
                continue;
            }
            if self.t > self.times.1 {
                self.state = State::Behind;
            } else if self.t >= self.times.0 {
                return Ok(());
            }
        }
    }

    #[inline]
    fn seek(&mut self, t: i64) -> Result<(), SourceError> {
        if !self.is_alive() || self.t >= t {
            return Ok(());
        }
        // Mostly it is one of the next few floats of the chunk.
        while let Some(next_t) = self.decoded.timestamps.get(self.passed) {
            if *next_t >= t {
                self.step();
                if self.t > self.times.1 {
                    self.state = State::Behind;
                }
                return Ok(());
            }
            self.passed += 1;
        }
        while self.is_alive() && self.t < t {
            self.advance()?;
        }
        Ok(())
    }

    fn lift(&mut self, before: f64) {
        if self.is_counter
            && let Some(value) = self.float()
            && before > value
        {
            self.lifted += before - value;
        }
    }
}
