//! Decoding histograms.

use std::sync::Arc;

use bytes::Bytes;

use super::codec::Codec;
use super::header::header_flag;
use super::layout::read_layout;
use super::sample::HistogramSample;
use super::state::State;
use super::{HEADER_BYTES, SECTION};
use crate::bits::{BitReader, Field};
use crate::chunk::header_count;
use crate::error::Corruption;
use crate::histogram::{CounterResetHint, FloatHistogram, Layout, NativeHistogram};

/// Decodes a chunk sample by sample: `HistogramIter::<i64>` or `HistogramIter::<f64>`.
///
/// The hint of a histogram is that readers give: gauge if the chunk says so, else unknown for the first one,
/// whatever the header says, and not reset for the others. A stale histogram is empty and its hint unknown.
#[derive(Debug, Clone)]
pub struct HistogramIter<'a, B: Codec> {
    reader: BitReader<'a>,
    progress: Progress<B>,
}

/// [`HistogramIter`] that owns a share of its data.
#[derive(Debug, Clone)]
pub struct SharedHistogramIter<B: Codec> {
    data: Bytes,
    /// How far it is read, in bits.
    position: usize,
    progress: Progress<B>,
}

/// What is known of a chunk that is being read, apart from its data.
#[derive(Debug, Clone)]
pub(super) struct Progress<B: Codec> {
    flag: CounterResetHint,
    pub(super) layout: Arc<Layout>,
    pub(super) state: Option<State<B>>,
    total: u16,
    pub(super) read: u16,
}

impl<'a, B: Codec> HistogramIter<'a, B> {
    /// Reads header and layout of the chunk `data`.
    pub fn new(data: &'a [u8]) -> Result<Self, Corruption> {
        let total = header_count(SECTION, data)?;
        let flag = header_flag(data)?;
        let mut reader = BitReader::new(SECTION, data, HEADER_BYTES);
        let layout = if total == 0 {
            Layout::empty()
        } else {
            Arc::new(read_layout(&mut reader)?)
        };
        let progress = Progress {
            flag,
            layout,
            state: None,
            total,
            read: 0,
        };
        Ok(Self { reader, progress })
    }

    /// Number of samples the header announces.
    pub fn num_samples(&self) -> u16 {
        self.progress.total
    }

    /// The flag of the header.
    pub fn flag(&self) -> CounterResetHint {
        self.progress.flag
    }

    /// The buckets of all histograms of the chunk that are not stale.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.progress.layout
    }

    /// Gives the histograms a layout that is there already instead of one of their own, if the two are equal; else
    /// `known` becomes their own.
    ///
    /// The chunks of a series, and those of many series, mostly have the same layout: who compares histograms sees at
    /// once then that their buckets are the same.
    pub fn share_layout(&mut self, known: &mut Arc<Layout>) {
        if known.is_same(&self.progress.layout) {
            self.progress.layout = Arc::clone(known);
        } else {
            *known = Arc::clone(&self.progress.layout);
        }
    }

    /// Decodes the next histogram into one that is there already, and returns its timestamp.
    ///
    /// After an error, or behind the last sample, there is nothing more.
    pub fn next_into(&mut self, histogram: &mut NativeHistogram<B>) -> Result<Option<i64>, Corruption> {
        self.progress.next_into(&mut self.reader, histogram)
    }
}

impl HistogramIter<'_, i64> {
    /// Reads the next sample; `None` behind the last.
    ///
    /// After an error there is nothing more.
    #[inline]
    pub fn advance(&mut self) -> Result<Option<HistogramSample<'_>>, Corruption> {
        Ok(match self.progress.step(&mut self.reader)? {
            Some(_) => HistogramSample::of(&self.progress),
            None => None,
        })
    }

    /// The sample that was read last; `None` before the first.
    pub fn last_read(&self) -> Option<HistogramSample<'_>> {
        HistogramSample::of(&self.progress)
    }

    /// Decodes the next histogram as [`Histogram::to_float`](crate::histogram::Histogram::to_float)
    /// would make it into one that is there already, and returns
    /// its timestamp.
    ///
    /// After an error, or behind the last sample, there is nothing more.
    pub fn next_float_into(&mut self, histogram: &mut FloatHistogram) -> Result<Option<i64>, Corruption> {
        Ok(self.advance()?.map(|sample| {
            sample.to_float_into(histogram);
            sample.t()
        }))
    }
}

impl<B: Codec> SharedHistogramIter<B> {
    /// Reads header and layout of the chunk `data`.
    pub fn new(data: Bytes) -> Result<Self, Corruption> {
        let HistogramIter { reader, progress } = HistogramIter::new(&data)?;
        let position = reader.position();
        Ok(Self {
            data,
            position,
            progress,
        })
    }

    /// Number of bytes of the data.
    pub fn len_bytes(&self) -> usize {
        self.data.len()
    }

    /// As [`HistogramIter::next_into`].
    pub fn next_into(&mut self, histogram: &mut NativeHistogram<B>) -> Result<Option<i64>, Corruption> {
        let mut reader = BitReader::resume(SECTION, &self.data, self.position);
        let result = self.progress.next_into(&mut reader, histogram);
        self.position = reader.position();
        result
    }
}

impl<B: Codec> Progress<B> {
    fn next_into(
        &mut self,
        reader: &mut BitReader<'_>,
        histogram: &mut NativeHistogram<B>,
    ) -> Result<Option<i64>, Corruption> {
        let Some(first) = self.step(reader)? else {
            return Ok(None);
        };
        Ok(self.state.as_ref().map(|state| {
            self.fill(state, first, histogram);
            state.t
        }))
    }

    /// Reads the next sample; `None` behind the last one, else whether it is the first.
    fn step(&mut self, reader: &mut BitReader<'_>) -> Result<Option<bool>, Corruption> {
        if self.read >= self.total {
            return Ok(None);
        }
        match self.advance(reader) {
            Ok(()) => {
                let first = self.read == 0;
                self.read += 1;
                Ok(Some(first))
            }
            Err(corruption) => {
                self.read = self.total;
                Err(corruption)
            }
        }
    }

    fn advance(&mut self, reader: &mut BitReader<'_>) -> Result<(), Corruption> {
        match &mut self.state {
            Some(state) => state.read_next(reader)?,
            None => self.state = Some(State::read_first(reader, &self.layout)?),
        }
        Ok(())
    }

    pub(super) fn fill(&self, state: &State<B>, first: bool, histogram: &mut NativeHistogram<B>) {
        if !self.prepare(state.sum.value(), first, histogram) {
            return;
        }
        histogram.count = state.count.value();
        histogram.zero_count = state.zero_count.value();
        histogram.positive.extend(state.positive.iter().map(Field::value));
        histogram.negative.extend(state.negative.iter().map(Field::value));
    }

    /// Sets what does not depend on the type of the buckets, and empties them; false if the sample is a stale marker,
    /// of which that is all.
    #[inline]
    fn prepare<T: Codec>(&self, sum: f64, first: bool, histogram: &mut NativeHistogram<T>) -> bool {
        histogram.sum = sum;
        histogram.positive.clear();
        histogram.negative.clear();
        if histogram.is_stale() {
            histogram.hint = CounterResetHint::Unknown;
            histogram.layout = Layout::empty();
            histogram.count = T::Count::default();
            histogram.zero_count = T::Count::default();
            return false;
        }
        histogram.hint = self.hint(first);
        if !Arc::ptr_eq(&histogram.layout, &self.layout) {
            histogram.layout = Arc::clone(&self.layout);
        }
        true
    }

    pub(super) fn hint(&self, first: bool) -> CounterResetHint {
        match self.flag {
            CounterResetHint::Gauge => CounterResetHint::Gauge,
            _ if first => CounterResetHint::Unknown,
            _ => CounterResetHint::NotCounterReset,
        }
    }
}

impl Progress<i64> {
    pub(super) fn fill_floats(&self, state: &State<i64>, first: bool, histogram: &mut FloatHistogram) {
        if !self.prepare(state.sum.value(), first, histogram) {
            return;
        }
        histogram.count = state.count.value() as f64;
        histogram.zero_count = state.zero_count.value() as f64;
        for (counts, buckets) in [
            (&mut histogram.positive, &state.positive),
            (&mut histogram.negative, &state.negative),
        ] {
            let mut count = 0i64;
            counts.extend(buckets.iter().map(|bucket| {
                count = count.wrapping_add(bucket.value());
                count as f64
            }));
        }
    }
}

impl<B: Codec> Iterator for HistogramIter<'_, B> {
    type Item = Result<(i64, NativeHistogram<B>), Corruption>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut histogram = NativeHistogram {
            layout: Arc::clone(&self.progress.layout),
            ..NativeHistogram::default()
        };
        let t = self.next_into(&mut histogram).transpose()?;
        Some(t.map(|t| (t, histogram)))
    }
}
