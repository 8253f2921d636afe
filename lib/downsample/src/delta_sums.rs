//! Integer histograms with the same buckets, added up as they are decoded.

use sabre_tsdb::histogram::FloatHistogram;

/// Floats hold all integers up to here, and sums of them that stay within are exact in any order.
const EXACT: u64 = 1 << 53;

/// Sums of histograms whose buckets are given as differences to the bucket before.
///
/// What comes of them is what adding the histograms one by one gives, with float counts, to the bit: it takes no
/// histogram with which a float might be rounded on the way.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeltaSums {
    positive: Vec<i64>,
    negative: Vec<i64>,
    samples: u64,
    /// The largest count that they are added to, or a little more.
    largest: u64,
    /// Has all bits that a difference has.
    magnitude: u64,
}

impl DeltaSums {
    /// Begins with no histogram, for those that have as many buckets as `like`; the sums are to be added to `targets`.
    pub(crate) fn begin(&mut self, like: &FloatHistogram, targets: [Option<&FloatHistogram>; 2]) {
        self.samples = 0;
        self.magnitude = 0;
        for (sums, counts) in [
            (&mut self.positive, &like.positive),
            (&mut self.negative, &like.negative),
        ] {
            sums.clear();
            sums.resize(counts.len(), 0);
        }
        let counts =
            |histogram: &FloatHistogram| largest(&histogram.positive).max(largest(&histogram.negative));
        let largest = targets.into_iter().flatten().map(counts).fold(0.0, f64::max);
        // What is beyond any integer is at the end of the range then.
        self.largest = largest as u64;
    }

    /// Adds a histogram; false if that is not sure to be exact, and nothing is done then.
    #[inline]
    pub(crate) fn add<P, N>(&mut self, deltas: (P, N)) -> bool
    where
        P: Iterator<Item = i64> + Clone,
        N: Iterator<Item = i64> + Clone,
    {
        let undo = deltas.clone();
        let magnitude =
            self.magnitude | add(&mut self.positive, deltas.0) | add(&mut self.negative, deltas.1);
        let buckets = self.positive.len().max(self.negative.len()) as u64;
        // No count is larger than all differences before it together, and an increase is that of two of them.
        let largest_count = magnitude.saturating_add(1).saturating_mul(buckets);
        let largest_sum = largest_count.saturating_mul(self.samples.saturating_add(3));
        if largest_sum.saturating_add(self.largest) > EXACT {
            take_back(&mut self.positive, undo.0);
            take_back(&mut self.negative, undo.1);
            return false;
        }
        self.magnitude = magnitude;
        self.samples += 1;
        true
    }

    /// Number of histograms.
    pub(crate) fn len(&self) -> u64 {
        self.samples
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Adds the sums to the buckets of the positive side and of the negative side, and forgets them.
    pub(crate) fn give(&mut self, (positive, negative): (&mut [f64], &mut [f64])) {
        give(&mut self.positive, positive);
        give(&mut self.negative, negative);
        self.samples = 0;
    }
}

fn largest(counts: &[f64]) -> f64 {
    let mut largest: f64 = 0.0;
    for count in counts {
        let count = count.abs();
        largest = if count > largest { count } else { largest };
    }
    largest
}

/// Adds differences, and returns a number that has all bits that one of them has.
#[inline(always)]
fn add(sums: &mut [i64], deltas: impl Iterator<Item = i64>) -> u64 {
    let mut magnitude = 0;
    for (sum, delta) in sums.iter_mut().zip(deltas) {
        *sum = sum.wrapping_add(delta);
        magnitude |= delta ^ (delta >> 63);
    }
    magnitude.cast_unsigned()
}

#[cold]
fn take_back(sums: &mut [i64], deltas: impl Iterator<Item = i64>) {
    for (sum, delta) in sums.iter_mut().zip(deltas) {
        *sum = sum.wrapping_sub(delta);
    }
}

fn give(sums: &mut [i64], counts: &mut [f64]) {
    let mut count = 0i64;
    for (sum, total) in sums.iter_mut().zip(counts) {
        count = count.wrapping_add(*sum);
        *total += count as f64;
        *sum = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(positive: &[f64]) -> FloatHistogram {
        FloatHistogram {
            positive: positive.to_vec(),
            ..FloatHistogram::default()
        }
    }

    fn none() -> std::iter::Empty<i64> {
        std::iter::empty()
    }

    #[test]
    fn sums_are_those_of_the_counts() {
        let mut sums = DeltaSums::default();
        sums.begin(&histogram(&[0.0; 3]), [None, None]);
        for deltas in [[5, -2, 4], [6, -2, 4]] {
            assert!(sums.add((deltas.into_iter(), none())));
        }
        assert_eq!(sums.len(), 2);
        let mut counts = [100.0, 0.0, 0.5];
        sums.give((&mut counts, &mut []));
        assert_eq!(counts, [111.0, 7.0, 15.5]);
        assert!(sums.is_empty());
    }

    #[test]
    fn what_a_float_might_round_is_not_taken() {
        let mut sums = DeltaSums::default();
        sums.begin(&histogram(&[0.0; 2]), [None, None]);
        assert!(sums.add(([3, 4].into_iter(), none())));
        for large in [1 << 51, -(1 << 51), i64::MIN, i64::MAX] {
            assert!(!sums.add(([large, 1].into_iter(), none())), "{large}");
        }
        let mut counts = [0.0; 2];
        sums.give((&mut counts, &mut []));
        assert_eq!(counts, [3.0, 7.0], "as if they had not been there");
    }

    #[test]
    fn nothing_is_added_to_counts_that_are_rounded_already() {
        for largest in [EXACT as f64, -1e300, f64::INFINITY] {
            let target = histogram(&[largest]);
            let mut sums = DeltaSums::default();
            sums.begin(&target, [None, Some(&target)]);
            assert!(!sums.add(([1].into_iter(), none())), "{largest}");
        }
    }

    #[test]
    fn many_small_ones_are_taken_only_as_long_as_their_sum_is_exact() {
        let mut sums = DeltaSums::default();
        sums.begin(&histogram(&[0.0]), [None, None]);
        let taken = (0..100)
            .take_while(|_| sums.add(([1 << 49].into_iter(), none())))
            .count();
        assert!((1..16).contains(&taken), "{taken}");
    }
}
