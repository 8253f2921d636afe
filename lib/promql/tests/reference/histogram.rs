//! Native histograms as maps from indexes to counts.

use std::collections::BTreeMap;

use sabre_promql::histogram::{CounterResetHint, FloatHistogram};
use sabre_tsdb::histogram::bucket_indexes;

type Side = BTreeMap<i64, f64>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    pub(crate) hint: CounterResetHint,
    pub(crate) schema: i32,
    pub(crate) threshold: f64,
    pub(crate) custom: Vec<f64>,
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) zero: f64,
    pub(crate) positive: Side,
    pub(crate) negative: Side,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

pub(crate) const CUSTOM: i32 = -53;

impl Histogram {
    pub(crate) fn of(h: &FloatHistogram) -> Histogram {
        let side = |spans, counts: &[f64]| bucket_indexes(spans).zip(counts.iter().copied()).collect();
        Histogram {
            hint: h.hint,
            schema: h.layout.schema,
            threshold: h.layout.zero_threshold,
            custom: h.layout.custom_bounds.clone(),
            count: h.count,
            sum: h.sum,
            zero: h.zero_count,
            positive: side(&h.layout.positive_spans, &h.positive),
            negative: side(&h.layout.negative_spans, &h.negative),
        }
    }

    /// The upper bound of a bucket: roots of two, each the product of a coarser bound and a root.
    fn bound(&self, index: i64) -> f64 {
        if self.schema == CUSTOM {
            return match index {
                index if index < 0 => f64::NEG_INFINITY,
                index => self.custom.get(index as usize).copied().unwrap_or(f64::INFINITY),
            };
        }
        if self.schema <= 0 {
            return 2f64.powi((index << -self.schema) as i32);
        }
        let parts = 1i64 << self.schema;
        let (whole, mut part) = (index.div_euclid(parts), index.rem_euclid(parts));
        let mut roots = Vec::new();
        let mut root = 2f64;
        for _ in 0..self.schema {
            root = root.sqrt();
            roots.push(root);
        }
        let mut fraction = 1.0;
        for (level, root) in roots.iter().enumerate() {
            let half = 1i64 << (self.schema as usize - 1 - level);
            if part >= half {
                part -= half;
                // The first root was rounded the other way round.
                fraction = if level == 0 { 2.0 / root } else { fraction * root };
            }
        }
        fraction * 2f64.powi(whole as i32)
    }

    fn each(&mut self, f: impl Fn(f64) -> f64) {
        self.count = f(self.count);
        self.sum = f(self.sum);
        self.zero = f(self.zero);
        for count in self.positive.values_mut().chain(self.negative.values_mut()) {
            *count = f(*count);
        }
    }

    pub(crate) fn scaled(mut self, factor: f64) -> Histogram {
        self.each(|count| count * factor);
        if factor < 0.0 {
            self.hint = CounterResetHint::Gauge;
        }
        self
    }

    pub(crate) fn divided(mut self, divisor: f64) -> Histogram {
        self.each(|count| count / divisor);
        if divisor == 0.0 {
            self.positive.clear();
            self.negative.clear();
        } else if divisor < 0.0 {
            self.hint = CounterResetHint::Gauge;
        }
        self
    }

    pub(crate) fn compacted(mut self) -> Histogram {
        self.positive.retain(|_, count| *count != 0.0);
        self.negative.retain(|_, count| *count != 0.0);
        self
    }

    pub(crate) fn in_schema(mut self, schema: i32) -> Histogram {
        if self.schema == CUSTOM || schema == self.schema {
            return self;
        }
        let shift = self.schema - schema;
        for side in [&mut self.positive, &mut self.negative] {
            let mut coarse = Side::new();
            for (index, count) in std::mem::take(side) {
                let index = ((index - 1) >> shift) + 1;
                coarse
                    .entry(index)
                    .and_modify(|sum| *sum += count)
                    .or_insert(count);
            }
            *side = coarse;
        }
        self.schema = schema;
        self
    }

    /// Count and threshold of a zero bucket that reaches to `threshold` or, where that is within a filled bucket, on to
    /// the end of that.
    fn widened(&self, mut threshold: f64) -> (f64, f64) {
        if threshold == self.threshold {
            return (self.zero, threshold);
        }
        loop {
            let before = threshold;
            let mut count = self.zero;
            for side in [&self.positive, &self.negative] {
                for (index, observed) in side {
                    if self.bound(index - 1) >= threshold {
                        break;
                    }
                    count += observed;
                    if self.bound(*index) > threshold {
                        if *observed != 0.0 {
                            threshold = self.bound(*index);
                        }
                        break;
                    }
                }
            }
            if threshold == before {
                return (count, threshold);
            }
        }
    }

    /// `self` plus `sign` times `other`, and whether hints collide; `None` where the kinds of buckets differ.
    pub(crate) fn plus(mut self, other: &Histogram, sign: f64) -> Option<(Histogram, bool)> {
        use CounterResetHint::{Gauge, Unknown};
        if (self.schema == CUSTOM) != (other.schema == CUSTOM) {
            return None;
        }
        let mut collision = false;
        self.hint = match (self.hint, other.hint) {
            (a, b) if a == b => a,
            (Gauge, _) | (_, Gauge) => Gauge,
            (Unknown, _) | (_, Unknown) => Unknown,
            _ => {
                collision = true;
                Unknown
            }
        };
        let (mut zero, mut threshold) = (other.zero, other.threshold);
        while threshold != self.threshold {
            if self.threshold > threshold {
                (zero, threshold) = other.widened(self.threshold);
            } else {
                (self.zero, self.threshold) = self.widened(threshold);
                let lower = |h: &Histogram, index: i64| h.bound(index - 1);
                let copy = self.clone();
                self.positive
                    .retain(|index, _| lower(&copy, *index) >= copy.threshold);
                self.negative
                    .retain(|index, _| lower(&copy, *index) >= copy.threshold);
                self = self.compacted();
            }
        }
        if self.schema != CUSTOM {
            self.zero += sign * zero;
        }
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        if self.schema == CUSTOM && self.custom != other.custom {
            return Some((self.plus_mapped(other, sign), collision));
        }
        let schema = self.schema.min(other.schema);
        let mut sum = self.in_schema(schema);
        let other = other.clone().in_schema(schema);
        let skip = |own: &mut Side, others: &Side, reach: &dyn Fn(i64) -> bool| {
            for (index, count) in others.iter().skip_while(|(index, _)| reach(**index)) {
                own.entry(*index)
                    .and_modify(|own| *own += sign * count)
                    .or_insert(sign * count);
            }
        };
        let copy = sum.clone();
        let reach = |index: i64| copy.schema != CUSTOM && copy.bound(index) <= copy.threshold;
        skip(&mut sum.positive, &other.positive, &reach);
        skip(&mut sum.negative, &other.negative, &reach);
        Some((sum, collision))
    }

    /// Of custom bounds that differ those are left that both have.
    fn plus_mapped(mut self, other: &Histogram, sign: f64) -> Histogram {
        let common: Vec<f64> = self
            .custom
            .iter()
            .copied()
            .filter(|bound| other.custom.contains(bound))
            .collect();
        let mut sum = Side::new();
        for (h, sign) in [(&self, 1.0), (other, sign)] {
            for (index, count) in &h.positive {
                let upper = h.bound(*index);
                let at = common
                    .iter()
                    .position(|bound| *bound >= upper)
                    .unwrap_or(common.len());
                *sum.entry(at as i64).or_insert(0.0) += sign * count;
            }
        }
        sum.retain(|_, count| *count != 0.0);
        self.positive = sum;
        self.custom = common;
        self
    }

    /// Whether counts began anew since `previous`.
    pub(crate) fn is_reset(&self, previous: &Histogram) -> bool {
        match self.hint {
            CounterResetHint::CounterReset => return true,
            CounterResetHint::NotCounterReset => return false,
            _ => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.schema == CUSTOM && previous.schema != CUSTOM {
            return true;
        }
        if self.schema == CUSTOM && self.custom != previous.custom {
            let between = |h: &Histogram, from: f64, to: f64| -> f64 {
                let within = |(index, _): &(&i64, &f64)| (h.bound(**index) > from) && h.bound(**index) <= to;
                h.positive
                    .iter()
                    .filter(within)
                    .fold(0.0, |sum, (_, count)| sum + count)
            };
            let common = self
                .custom
                .iter()
                .copied()
                .filter(|bound| previous.custom.contains(bound));
            let mut from = f64::NEG_INFINITY;
            for to in common.chain([f64::INFINITY]) {
                if between(self, from, to) < between(previous, from, to) {
                    return true;
                }
                from = to;
            }
            return false;
        }
        if self.schema > previous.schema || self.threshold < previous.threshold {
            return true;
        }
        let (zero, threshold) = previous.widened(self.threshold);
        if threshold != self.threshold || self.zero < zero {
            return true;
        }
        let previous = previous.clone().in_schema(self.schema);
        let visible = |index: i64| self.schema == CUSTOM || self.bound(index) > self.threshold;
        [
            (&self.positive, &previous.positive),
            (&self.negative, &previous.negative),
        ]
        .into_iter()
        .any(|(now, before)| {
            before
                .iter()
                .filter(|(index, _)| visible(**index))
                .any(|(index, count)| match now.get(index) {
                    Some(left) => left < count,
                    None => *count != 0.0,
                })
        })
    }

    /// The buckets from the lowest to the highest.
    pub(crate) fn buckets(&self) -> Vec<Bucket> {
        let mut all: Vec<Bucket> = Vec::new();
        for (index, count) in self.negative.iter().rev() {
            let upper = -self.bound(index - 1);
            let cut = upper < 0.0 && upper > -self.threshold;
            all.push(Bucket {
                lower: -self.bound(*index),
                upper: if cut { -self.threshold } else { upper },
                count: *count,
            });
        }
        if self.zero > 0.0 && self.schema != CUSTOM {
            all.push(Bucket {
                lower: -self.threshold,
                upper: self.threshold,
                count: self.zero,
            });
        }
        for (index, count) in &self.positive {
            let lower = self.bound(index - 1);
            let cut = lower > 0.0 && lower < self.threshold;
            all.push(Bucket {
                lower: if cut { self.threshold } else { lower },
                upper: self.bound(*index),
                count: *count,
            });
        }
        all
    }

    pub(crate) fn equals(&self, other: &Histogram) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let side = |a: &Side, b: &Side| {
            a.len() == b.len() && a.iter().zip(b).all(|((i, x), (j, y))| i == j && same(*x, *y))
        };
        self.schema == other.schema
            && self.threshold == other.threshold
            && self.custom == other.custom
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && same(self.zero, other.zero)
            && side(&self.positive, &other.positive)
            && side(&self.negative, &other.negative)
    }

    /// The mean of `count` histograms, of which `self` is the mean of all but `other`.
    pub(crate) fn mean_with(self, other: &Histogram, count: f64) -> Option<Histogram> {
        let change = other
            .clone()
            .divided(count)
            .plus(&self.clone().divided(count), -1.0)?
            .0;
        Some(self.plus(&change, 1.0)?.0)
    }
}
