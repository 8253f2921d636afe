//! The samples of a series that a step looks at, moved along the steps.

use std::sync::Arc;

use sabre_tsdb::stale::is_stale;

use crate::budget::Reservation;
use crate::error::Evaluated;
use crate::histogram::FloatHistogram;
use crate::source::{SampleBuffer, SampleSource};

/// So many samples behind the window are kept before they are thrown away.
const KEPT_BEHIND: usize = 1024;

/// The same of histograms, which are large, and of which those thrown away are used again.
const HISTOGRAMS_KEPT_BEHIND: usize = 64;

/// A moving window over the samples of a series. It reads as far as it has to and forgets what lies behind.
pub(crate) struct Window<'s, 'b> {
    source: Box<dyn SampleSource + Send + 's>,
    store: &'s mut Store<'b>,
    exhausted: bool,
    /// Whether markers of the end of the series are left out.
    skips_stale: bool,
    /// The window among the floats.
    floats: Bounds,
    /// The window among the histograms.
    histograms: Bounds,
    /// The number of floats thrown away.
    forgotten: u64,
}

/// What windows use one after the other.
#[derive(Debug)]
pub(crate) struct Store<'b> {
    buffer: SampleBuffer,
    reserved: Reservation<'b>,
}

impl<'b> Store<'b> {
    pub(crate) fn new(reserved: Reservation<'b>) -> Store<'b> {
        Store {
            buffer: SampleBuffer::default(),
            reserved,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    low: usize,
    high: usize,
}

/// The samples in the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'w> {
    pub(crate) timestamps: &'w [i64],
    pub(crate) values: &'w [f64],
    pub(crate) histograms: &'w [(i64, Arc<FloatHistogram>)],
    /// How many floats came before the first one here.
    pub(crate) first: u64,
}

impl<'s, 'b> Window<'s, 'b> {
    pub(crate) fn new(
        source: Box<dyn SampleSource + Send + 's>,
        skips_stale: bool,
        store: &'s mut Store<'b>,
    ) -> Window<'s, 'b> {
        store.buffer.clear();
        Window {
            source,
            store,
            exhausted: false,
            skips_stale,
            floats: Bounds::default(),
            histograms: Bounds::default(),
            forgotten: 0,
        }
    }

    /// Moves the window to the samples after `mint` up to `maxt`; neither may go back.
    pub(crate) fn advance(&mut self, mint: i64, maxt: i64) -> Evaluated<()> {
        while !self.exhausted && self.newest().is_none_or(|newest| newest < maxt) {
            self.pull(mint)?;
        }
        self.floats
            .advance(&self.store.buffer.timestamps, |t| *t, mint, maxt);
        self.histograms
            .advance(&self.store.buffer.histograms, |(t, _)| *t, mint, maxt);
        self.forget();
        Ok(())
    }

    pub(crate) fn view(&self) -> View<'_> {
        let Bounds { low, high } = self.floats;
        View {
            timestamps: self.store.buffer.timestamps.get(low..high).unwrap_or_default(),
            values: self.store.buffer.values.get(low..high).unwrap_or_default(),
            histograms: self
                .store
                .buffer
                .histograms
                .get(self.histograms.low..self.histograms.high)
                .unwrap_or_default(),
            first: self.forgotten + low as u64,
        }
    }

    fn newest(&self) -> Option<i64> {
        let float = self.store.buffer.timestamps.last().copied();
        float.max(self.store.buffer.histograms.last().map(|(t, _)| *t))
    }

    fn pull(&mut self, mint: i64) -> Evaluated<()> {
        if self.newest().is_some_and(|newest| newest <= mint) {
            // Nothing of what is there will be looked at.
            self.forgotten += self.store.buffer.timestamps.len() as u64;
            self.store.buffer.clear();
            self.floats = Bounds::default();
            self.histograms = Bounds::default();
        }
        let (floats, histograms) = (
            self.store.buffer.timestamps.len(),
            self.store.buffer.histograms.len(),
        );
        if !self.source.next_into(&mut self.store.buffer)? {
            self.exhausted = true;
        }
        if self.skips_stale {
            self.skip_stale(floats, histograms);
        }
        let memory_bytes = self.store.buffer.memory_bytes();
        Ok(self.store.reserved.set(memory_bytes)?)
    }

    /// Throws away stale markers among the samples from `floats` and `histograms` on.
    fn skip_stale(&mut self, floats: usize, histograms: usize) {
        let new = self.store.buffer.values.get(floats..).unwrap_or_default();
        if new.iter().any(|value| is_stale(*value)) {
            let mut kept = floats;
            for at in floats..self.store.buffer.values.len() {
                let value = self.store.buffer.values.get(at).copied().unwrap_or_default();
                if !is_stale(value) {
                    self.store.buffer.values.swap(kept, at);
                    self.store.buffer.timestamps.swap(kept, at);
                    kept += 1;
                }
            }
            self.store.buffer.values.truncate(kept);
            self.store.buffer.timestamps.truncate(kept);
        }
        let new = self.store.buffer.histograms.get(histograms..).unwrap_or_default();
        if new.iter().any(|(_, histogram)| histogram.is_stale()) {
            let tail = self.store.buffer.histograms.split_off(histograms);
            let kept = tail.into_iter().filter(|(_, histogram)| !histogram.is_stale());
            self.store.buffer.histograms.extend(kept);
        }
    }

    fn forget(&mut self) {
        if self.floats.low > KEPT_BEHIND && self.floats.low * 2 > self.store.buffer.timestamps.len() {
            let gone = self.floats.low;
            self.store.buffer.timestamps.drain(..gone);
            self.store.buffer.values.drain(..gone);
            self.floats.high -= gone;
            self.floats.low = 0;
            self.forgotten += gone as u64;
        }
        let gone = self.histograms.low;
        if gone > HISTOGRAMS_KEPT_BEHIND && gone * 2 > self.store.buffer.histograms.len() {
            self.store.buffer.forget_histograms(gone);
            self.histograms.high -= gone;
            self.histograms.low = 0;
        }
    }
}

impl Bounds {
    #[inline]
    fn advance<T>(&mut self, samples: &[T], time: impl Fn(&T) -> i64, mint: i64, maxt: i64) {
        while samples.get(self.high).is_some_and(|sample| time(sample) <= maxt) {
            self.high += 1;
        }
        while self.low < self.high && samples.get(self.low).is_some_and(|sample| time(sample) <= mint) {
            self.low += 1;
        }
    }
}
