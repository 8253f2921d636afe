//! The buckets of one side as indexes with counts.

use sabre_tsdb::histogram::bucket_indexes;

use super::Span;

/// Buckets in ascending order of their index.
pub(super) type Indexed = Vec<(i64, f64)>;

/// The buckets of one side; a count without a span, or a span without a count, is left out.
pub(super) fn indexed<'a>(spans: &'a [Span], counts: &'a [f64]) -> impl Iterator<Item = (i64, f64)> + 'a {
    bucket_indexes(spans).zip(counts.iter().copied())
}

/// The index that a bucket has in a coarser schema.
pub(super) fn coarser_index(index: i64, from_schema: i32, to_schema: i32) -> i64 {
    let shift = from_schema.saturating_sub(to_schema).clamp(0, 63);
    (index.saturating_sub(1) >> shift).saturating_add(1)
}

/// The buckets in a coarser schema.
pub(super) fn coarser(
    buckets: impl Iterator<Item = (i64, f64)>,
    from_schema: i32,
    to_schema: i32,
) -> Indexed {
    let mut out: Indexed = Vec::new();
    for (index, count) in buckets {
        let index = coarser_index(index, from_schema, to_schema);
        match out.last_mut() {
            Some((last, sum)) if *last == index => *sum += count,
            _ => out.push((index, count)),
        }
    }
    out
}

/// Puts buckets with ascending indexes into spans; neighbours share one.
pub(super) fn into_spans(buckets: &[(i64, f64)]) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut end = 0i64;
    for (index, _) in buckets {
        let gap = index.saturating_sub(end);
        match spans.last_mut() {
            Some(span) if gap == 0 => span.length = span.length.saturating_add(1),
            _ => spans.push(Span {
                offset: i32::try_from(gap).unwrap_or(i32::MAX),
                length: 1,
            }),
        }
        end = index.saturating_add(1);
    }
    (spans, buckets.iter().map(|(_, count)| *count).collect())
}

/// Adds the buckets `b` to `a`; those that only one has are in the result as well.
pub(super) fn union(a: &[(i64, f64)], b: &[(i64, f64)]) -> Indexed {
    let mut out = Vec::with_capacity(a.len().max(b.len()));
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some((i, x)), Some((j, y))) if i == j => {
                out.push((*i, x + y));
                a.next();
                b.next();
            }
            (Some((i, _)), Some((j, _))) if i < j => out.extend(a.next().copied()),
            (_, Some(_)) => out.extend(b.next().copied()),
            (Some(_), None) => out.extend(a.next().copied()),
            (None, None) => return out,
        }
    }
}
