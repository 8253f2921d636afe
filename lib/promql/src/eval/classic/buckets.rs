//! Classic histograms: cumulative counts by upper bound.

/// Relative differences between neighbouring counts up to this are rounding errors.
const SMALL_DIFFERENCE: f64 = 1e-12;

/// A bucket of a classic histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClassicBucket {
    pub(super) upper: f64,
    /// Observations up to `upper`.
    pub(super) count: f64,
}

/// Sorts the buckets and adds those with the same bound; says whether the last one is that of everything.
fn tidy(buckets: &mut Vec<ClassicBucket>) -> bool {
    buckets.sort_by(|a, b| a.upper.partial_cmp(&b.upper).unwrap_or(std::cmp::Ordering::Equal));
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    true
}

/// Whether two counts are the same but for rounding.
fn almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DIFFERENCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DIFFERENCE
}

/// Makes counts that fall equal to the one before; says whether one fell by more than rounding explains.
fn make_monotonic(buckets: &mut [ClassicBucket]) -> bool {
    let mut forced = false;
    let mut before = match buckets.first() {
        Some(first) => first.count,
        None => return false,
    };
    for bucket in buckets.iter_mut().skip(1) {
        if bucket.count == before {
            continue;
        }
        if almost_equal(before, bucket.count) {
            bucket.count = before;
        } else if bucket.count < before {
            bucket.count = before;
            forced = true;
        } else {
            before = bucket.count;
        }
    }
    forced
}

/// The value below which a share of `q` of the observations lies, and whether counts had to be corrected.
pub(super) fn bucket_quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    if !tidy(buckets) {
        return (f64::NAN, false);
    }
    let forced = make_monotonic(buckets);
    let [finite @ .., everything] = buckets.as_slice() else {
        return (f64::NAN, false);
    };
    let Some(highest) = finite.last().filter(|_| everything.count != 0.0) else {
        return (f64::NAN, false);
    };
    let mut rank = q * everything.count;
    let at = finite.partition_point(|bucket| bucket.count < rank || bucket.count.is_nan() || rank.is_nan());
    let Some(found) = finite.get(at) else {
        return (highest.upper, forced);
    };
    let (mut start, mut count) = (0.0, found.count);
    match at.checked_sub(1).and_then(|before| finite.get(before)) {
        None if found.upper <= 0.0 => return (found.upper, forced),
        None => {}
        Some(before) => {
            start = before.upper;
            count -= before.count;
            rank -= before.count;
        }
    }
    (start + (found.upper - start) * (rank / count), forced)
}

/// The share of the observations between two values.
pub(super) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if !tidy(buckets) {
        return f64::NAN;
    }
    let count = buckets.last().map_or(0.0, |last| last.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut start = match buckets.first() {
        Some(first) if first.upper <= 0.0 => f64::NEG_INFINITY,
        _ => 0.0,
    };
    let mut rank = 0.0;
    let mut ranks: [Option<f64>; 2] = [None, None];
    for bucket in buckets.iter() {
        for (found, value) in ranks.iter_mut().zip([lower, upper]) {
            if found.is_some() {
                continue;
            }
            if start >= value {
                *found = Some(rank);
            } else if start < value && bucket.upper > value {
                *found = Some(if start == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + (bucket.count - rank) * (value - start) / (bucket.upper - start)
                });
            }
        }
        rank = bucket.count;
        start = bucket.upper;
    }
    let [low, high] = ranks.map(|rank| rank.map_or(count, |rank| if rank > count { count } else { rank }));
    (high - low) / count
}
