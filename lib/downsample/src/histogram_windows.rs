//! The windows of a batch of histograms.

use std::sync::Arc;

use sabre_tsdb::chunk::histogram::HistogramSample;
use sabre_tsdb::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Layout};

use crate::delta_sums::DeltaSums;
use crate::histogram::{MixedBuckets, Sign, add, is_plain, is_reset, joined_hint, reduced};

/// Adds up the histograms of a batch.
#[derive(Debug, Clone)]
pub(crate) struct HistogramWindows {
    /// The coarsest schema of the batch, which all are brought to.
    schema: i32,
    /// Increase since the batch began; `None` before its first histogram.
    counter: Option<FloatHistogram>,
    /// The last histogram.
    previous: FloatHistogram,
    /// Increase of the last histogram: kept for its memory.
    increase: FloatHistogram,
    /// Sum of the window, if it has a histogram.
    sum: FloatHistogram,
    pub(crate) count: u64,
    /// Whether all counts of the batch were integers.
    integral: bool,
    /// Whether what comes next may go to `deltas`.
    armed: bool,
    /// Histograms whose buckets are not yet in `counter`, `sum` and `previous`, all else of them is.
    deltas: DeltaSums,
}

impl HistogramWindows {
    pub(crate) fn new(schema: i32) -> Self {
        Self {
            schema,
            counter: None,
            previous: FloatHistogram::default(),
            increase: FloatHistogram::default(),
            sum: FloatHistogram::default(),
            count: 0,
            integral: true,
            armed: false,
            deltas: DeltaSums::default(),
        }
    }

    /// The schema that all are brought to.
    pub(crate) fn schema(&self) -> i32 {
        self.schema
    }

    /// Opens the next window. The last one has been settled.
    pub(crate) fn open(&mut self) {
        self.count = 0;
        self.armed = false;
    }

    /// Increase since the batch began, and sum of the window, if there is a histogram in it. They have been settled.
    pub(crate) fn parts(&mut self) -> Option<(&mut FloatHistogram, &mut FloatHistogram)> {
        // Who writes them may lay them out anew.
        self.armed = false;
        let counter = self.counter.as_mut()?;
        (self.count > 0).then_some((counter, &mut self.sum))
    }

    /// Adds a histogram to the window, and leaves an earlier one in its place. What came before has been settled.
    pub(crate) fn add(
        &mut self,
        original: &mut FloatHistogram,
        is_integral: bool,
    ) -> Result<(), MixedBuckets> {
        self.armed = false;
        self.integral &= is_integral;
        let finer = original.layout.schema > self.schema;
        if finer && self.schema == CUSTOM_BUCKETS_SCHEMA {
            return Err(MixedBuckets);
        }
        // A finer schema than that of the last one counts as a reset, so it is the original that is asked.
        let coarse = finer.then(|| reduced(original, self.schema));
        let histogram = coarse.as_ref().unwrap_or(original);
        match &mut self.counter {
            None => self.counter = Some(histogram.clone()),
            Some(counter) => {
                let gauge = histogram.hint == CounterResetHint::Gauge;
                if !gauge && is_reset(original, &self.previous) {
                    add(counter, histogram, Sign::Plus)?;
                } else {
                    self.increase.copy_from(histogram);
                    add(&mut self.increase, &self.previous, Sign::Minus)?;
                    add(counter, &self.increase, Sign::Plus)?;
                }
            }
        }
        match self.count {
            0 => self.sum.copy_from(histogram),
            _ => add(&mut self.sum, histogram, Sign::Plus)?,
        }
        // A sum may be smaller than that before: as a counter it would begin a new chunk.
        self.sum.hint = CounterResetHint::Gauge;
        self.count += 1;
        match coarse {
            Some(coarse) => self.previous = coarse,
            None => std::mem::swap(&mut self.previous, original),
        }
        Ok(())
    }

    /// Does what [`Self::add`] does, if that comes to adding integers in the buckets of the sample before; else nothing,
    /// and false. Until [`Self::settle`] is called the buckets lag behind.
    pub(crate) fn add_integers(&mut self, sample: HistogramSample<'_>) -> bool {
        if sample.is_first() || !self.armed && !self.arm(sample.layout()) {
            return false;
        }
        let Some(counter) = &mut self.counter else {
            return false;
        };
        if !self.deltas.add(sample.deltas()) {
            return false;
        }
        let (previous, sum) = (&mut self.previous, &mut self.sum);
        let (count, zero_count) = (sample.count() as f64, sample.zero_count() as f64);
        let increase_hint = joined_hint(sample.hint(), previous.hint);
        counter.hint = joined_hint(counter.hint, increase_hint);
        counter.count += count - previous.count;
        counter.zero_count += zero_count - previous.zero_count;
        counter.sum += sample.sum() - previous.sum;
        if self.count == 0 {
            (sum.count, sum.zero_count, sum.sum) = (count, zero_count, sample.sum());
        } else {
            sum.count += count;
            sum.zero_count += zero_count;
            sum.sum += sample.sum();
        }
        sum.hint = CounterResetHint::Gauge;
        previous.hint = sample.hint();
        (previous.count, previous.zero_count, previous.sum) = (count, zero_count, sample.sum());
        self.count += 1;
        true
    }

    /// Brings the buckets up to date; `last` is the last histogram that was added.
    pub(crate) fn settle(&mut self, last: (impl Iterator<Item = i64>, impl Iterator<Item = i64>)) {
        self.armed = false;
        let (Some(counter), false) = (&mut self.counter, self.deltas.is_empty()) else {
            return;
        };
        let (sum, previous) = (&mut self.sum, &mut self.previous);
        if self.deltas.len() == self.count {
            // The window has no others.
            sum.layout.clone_from(&previous.layout);
            for (sums, counts) in [
                (&mut sum.positive, &previous.positive),
                (&mut sum.negative, &previous.negative),
            ] {
                sums.clear();
                sums.resize(counts.len(), 0.0);
            }
        }
        self.deltas.give((&mut sum.positive, &mut sum.negative));
        increase(&mut counter.positive, &mut previous.positive, last.0);
        increase(&mut counter.negative, &mut previous.negative, last.1);
    }

    /// Whether a histogram of a chunk of this layout, not the first of it, may be added as integers.
    fn arm(&mut self, layout: &Arc<Layout>) -> bool {
        let (Some(counter), true) = (&self.counter, self.integral) else {
            return false;
        };
        let sum = (self.count > 0).then_some(&self.sum);
        let is_alike = Arc::ptr_eq(&self.previous.layout, layout)
            && layout.schema == self.schema
            && is_plain(layout)
            && [Some(counter), sum]
                .into_iter()
                .flatten()
                .all(|histogram| has_layout(histogram, layout));
        if is_alike {
            self.deltas.begin(&self.previous, [Some(counter), sum]);
        }
        self.armed = is_alike;
        is_alike
    }
}

fn has_layout(histogram: &FloatHistogram, layout: &Arc<Layout>) -> bool {
    Arc::ptr_eq(&histogram.layout, layout) || histogram.layout.is_same(layout)
}

/// Adds to a counter what its buckets have more than `previous`, which becomes them.
fn increase(counter: &mut [f64], previous: &mut [f64], deltas: impl Iterator<Item = i64>) {
    let mut count = 0i64;
    for ((counter, previous), delta) in counter.iter_mut().zip(previous).zip(deltas) {
        count = count.wrapping_add(delta);
        let now = count as f64;
        *counter += now - *previous;
        *previous = now;
    }
}
