//! Quantiles and fractions of histograms, classic and native.

use sabre_promql::ast::Call;
use sabre_promql::function::Function;

use super::histogram::{Bucket, CUSTOM};
use super::{Cell, Histogram, Labels, Reference, Result, Row, merge, unnamed};

impl Reference<'_> {
    pub(crate) fn classic(&self, call: &Call, scalars: &[Vec<f64>], times: &[i64]) -> Result<Vec<Row>> {
        let rows = self.vector(call.args.last().unwrap(), times)?;
        let mut out: Vec<Row> = Vec::new();
        for step in 0..times.len() {
            // Buckets of classic histograms by the other labels, in the order in which they come.
            let mut classic: Vec<(Labels, Vec<(f64, f64)>)> = Vec::new();
            let mut native: Vec<(Labels, Histogram)> = Vec::new();
            for row in &rows {
                match &row.cells[step] {
                    Some(Cell::Histogram(h)) => native.push((row.labels.clone(), h.clone())),
                    Some(Cell::Float(count)) => {
                        let Some(bound) = row.labels.get("le").and_then(|le| bound(le)) else {
                            continue;
                        };
                        let mut labels = row.labels.clone();
                        labels.remove("le");
                        match classic.iter_mut().find(|(group, _)| *group == labels) {
                            Some((_, buckets)) => buckets.push((bound, *count)),
                            None => classic.push((labels, vec![(bound, *count)])),
                        }
                    }
                    None => {}
                }
            }
            let clash = |labels: &Labels| {
                classic.iter().any(|(other, _)| other == labels)
                    && native.iter().any(|(other, _)| other == labels)
            };
            let mut results: Vec<(Labels, f64)> = Vec::new();
            let value = |i: usize| scalars[i][step];
            let quantile = call.function == Function::HistogramQuantile;
            for (labels, h) in native.iter().filter(|(labels, _)| !clash(labels)) {
                let result = if quantile {
                    native_quantile(value(0), h)
                } else {
                    native_fraction(value(0), value(1), h)
                };
                results.push((unnamed(labels), result));
            }
            for (labels, buckets) in classic.iter().filter(|(labels, _)| !clash(labels)) {
                let buckets = buckets.clone();
                let result = if quantile {
                    classic_quantile(value(0), buckets)
                } else {
                    classic_fraction(value(0), value(1), buckets)
                };
                results.push((unnamed(labels), result));
            }
            for (labels, result) in results {
                let mut cells = vec![None; times.len()];
                cells[step] = Some(Cell::Float(result));
                out.push(Row { labels, cells });
            }
        }
        merge(out)
    }
}

fn bound(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        text if text.starts_with(|c: char| c.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

/// Sorted, without bounds that come twice; `None` if the last bound is not +Inf.
fn tidy(mut buckets: Vec<(f64, f64)>) -> Option<Vec<(f64, f64)>> {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut tidy: Vec<(f64, f64)> = Vec::new();
    for (bound, count) in buckets {
        match tidy.last_mut() {
            Some((last, sum)) if *last == bound => *sum += count,
            _ => tidy.push((bound, count)),
        }
    }
    (tidy.last()?.0 == f64::INFINITY).then_some(tidy)
}

fn classic_quantile(q: f64, buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let Some(mut buckets) = tidy(buckets) else {
        return f64::NAN;
    };
    for i in 1..buckets.len() {
        let (before, count) = (buckets[i - 1].1, buckets[i].1);
        let rounding =
            before != 0.0 && count != 0.0 && (before - count).abs() / (before.abs() + count.abs()) < 1e-12;
        let falls = count < before;
        let tiny = (before == 0.0 || count == 0.0) && (before - count).abs() < 1e-12 * f64::MIN_POSITIVE;
        if rounding || tiny || falls {
            buckets[i].1 = before;
        }
    }
    let all = buckets[buckets.len() - 1].1;
    if buckets.len() < 2 || all == 0.0 {
        return f64::NAN;
    }
    let rank = q * all;
    let last = buckets.len() - 1;
    let at = (0..last).find(|i| buckets[*i].1 >= rank).unwrap_or(last);
    if at == last {
        return buckets[last - 1].0;
    }
    let (upper, count) = buckets[at];
    if at == 0 {
        return if upper <= 0.0 {
            upper
        } else {
            0.0 + (upper - 0.0) * (rank / count)
        };
    }
    let (lower, below) = buckets[at - 1];
    lower + (upper - lower) * ((rank - below) / (count - below))
}

fn classic_fraction(low: f64, high: f64, buckets: Vec<(f64, f64)>) -> f64 {
    let Some(buckets) = tidy(buckets) else {
        return f64::NAN;
    };
    let all = buckets[buckets.len() - 1].1;
    if all == 0.0 || low.is_nan() || high.is_nan() {
        return f64::NAN;
    }
    if low >= high {
        return 0.0;
    }
    let below = |value: f64| {
        let mut start = if buckets[0].0 <= 0.0 {
            f64::NEG_INFINITY
        } else {
            0.0
        };
        let mut rank = 0.0;
        for (upper, count) in &buckets {
            if start >= value {
                return rank;
            }
            if *upper > value {
                let part = || rank + (count - rank) * (value - start) / (upper - start);
                return if start == f64::NEG_INFINITY {
                    *count
                } else {
                    part()
                };
            }
            (start, rank) = (*upper, *count);
        }
        all
    };
    let capped = |rank: f64| if rank > all { all } else { rank };
    (capped(below(high)) - capped(below(low))) / all
}

/// Where a histogram has buckets on one side of zero only, the zero bucket ends at zero.
fn clipped(h: &Histogram, mut bucket: Bucket) -> Bucket {
    if h.negative.is_empty() && !h.positive.is_empty() {
        bucket.lower = 0.0;
    } else if h.positive.is_empty() && !h.negative.is_empty() {
        bucket.upper = 0.0;
    }
    bucket
}

fn native_quantile(q: f64, h: &Histogram) -> f64 {
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if h.count == 0.0 || q.is_nan() {
        return f64::NAN;
    }
    let forward = h.sum.is_nan() || q < 0.5;
    let mut buckets = h.buckets();
    if !forward {
        buckets.reverse();
    }
    let rank = if forward { q * h.count } else { (1.0 - q) * h.count };
    let mut count = 0.0;
    let mut found = Bucket {
        lower: 0.0,
        upper: 0.0,
        count: 0.0,
    };
    for bucket in &buckets {
        found = *bucket;
        count += bucket.count;
        if bucket.count != 0.0 && count >= rank {
            break;
        }
    }
    if h.schema == CUSTOM {
        if found.lower == f64::NEG_INFINITY {
            if found.upper <= 0.0 {
                return found.upper;
            }
            found.lower = 0.0;
        } else if found.upper == f64::INFINITY {
            return found.lower;
        }
    } else if found.lower < 0.0 && found.upper > 0.0 {
        found = clipped(h, found);
    }
    let count = if count > h.count { h.count } else { count };
    if count < rank {
        return if h.sum.is_nan() { f64::NAN } else { found.upper };
    }
    let within = if forward {
        rank - (count - found.count)
    } else {
        count - rank
    };
    let fraction = within / found.count;
    if h.schema == CUSTOM || (found.lower <= 0.0 && found.upper >= 0.0) {
        return found.lower + (found.upper - found.lower) * fraction;
    }
    let (low, high) = (found.lower.abs().log2(), found.upper.abs().log2());
    if found.lower > 0.0 {
        (low + (high - low) * fraction).exp2()
    } else {
        -(high + (low - high) * (1.0 - fraction)).exp2()
    }
}

fn native_fraction(low: f64, high: f64, h: &Histogram) -> f64 {
    if h.count == 0.0 || low.is_nan() || high.is_nan() {
        return f64::NAN;
    }
    if low >= high {
        return 0.0;
    }
    let buckets = h.buckets();
    let all = if h.sum.is_nan() {
        buckets.iter().fold(0.0, |sum, bucket| sum + bucket.count)
    } else {
        h.count
    };
    let below = |value: f64| {
        let mut rank = 0.0;
        for bucket in &buckets {
            let zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
            let bucket = if zero { clipped(h, *bucket) } else { *bucket };
            if bucket.lower >= value {
                return rank;
            }
            if bucket.upper > value {
                if h.schema == CUSTOM || zero {
                    let part =
                        || rank + bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower);
                    return if bucket.lower == f64::NEG_INFINITY {
                        bucket.count
                    } else {
                        part()
                    };
                }
                let (low, high, at) = (
                    bucket.lower.abs().log2(),
                    bucket.upper.abs().log2(),
                    value.abs().log2(),
                );
                let fraction = if value > 0.0 {
                    (at - low) / (high - low)
                } else {
                    1.0 - ((at - high) / (low - high))
                };
                return rank + bucket.count * fraction;
            }
            rank += bucket.count;
        }
        all
    };
    let capped = |rank: f64| if rank > all { all } else { rank };
    (capped(below(high)) - capped(below(low))) / h.count
}
