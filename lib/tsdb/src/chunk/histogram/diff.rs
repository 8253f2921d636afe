//! How the buckets of two histograms relate, side by side.

use super::super::AppendError;
use super::codec::Codec;
use crate::bits::Field;
use crate::histogram::{Span, bucket_count, bucket_indexes};

/// The bucket farthest from 1 that is accepted when encoding: beyond that of any schema.
pub const MAX_BUCKET_INDEX: i64 = 1 << 30;

/// What one side of a histogram has, compared with the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SideDiff {
    /// It lacks buckets of the chunk.
    pub(super) missing: bool,
    /// It has buckets that the chunk lacks.
    pub(super) added: bool,
    /// Some count is smaller than in the last histogram.
    pub(super) fell: bool,
}

/// Compares one side: the chunk's `spans` with the buckets last written, and those of a histogram.
pub(super) fn diff_side<B: Codec>(
    spans: &[Span],
    last: &[B::BucketField],
    new_spans: &[Span],
    new: &[B],
) -> Result<SideDiff, AppendError> {
    check_count(new_spans, new.len())?;
    let last = B::absolute(last.iter().map(Field::value));
    let new = B::absolute(new.iter().copied());
    if spans == new_spans {
        let fell = last.zip(new).any(|(before, now)| before > now);
        return Ok(SideDiff {
            fell,
            ..SideDiff::default()
        });
    }
    check_spans(new_spans)?;
    Ok(walk(
        bucket_indexes(spans).zip(last),
        bucket_indexes(new_spans).zip(new),
    ))
}

fn walk<B: Codec>(before: impl Iterator<Item = (i64, B)>, now: impl Iterator<Item = (i64, B)>) -> SideDiff {
    let mut diff = SideDiff::default();
    let mut now = now.peekable();
    for (index, count) in before {
        while now.next_if(|&(new_index, _)| new_index < index).is_some() {
            diff.added = true;
        }
        match now.next_if(|&(new_index, _)| new_index == index) {
            Some((_, new_count)) => diff.fell |= count > new_count,
            None => {
                diff.missing = true;
                diff.fell |= count != B::default();
            }
        }
    }
    diff.added |= now.next().is_some();
    diff
}

/// Fails unless `spans` announce `present` buckets.
pub(super) fn check_count(spans: &[Span], present: usize) -> Result<(), AppendError> {
    let (announced, present) = (bucket_count(spans), present as u64);
    if announced == present {
        Ok(())
    } else {
        Err(AppendError::BucketCount { announced, present })
    }
}

/// Fails unless the buckets of `spans` are ascending and in range.
pub(super) fn check_spans(spans: &[Span]) -> Result<(), AppendError> {
    let mut end = 0i64;
    for (i, span) in spans.iter().enumerate() {
        end += i64::from(span.offset);
        let start = end;
        end += i64::from(span.length);
        if (i > 0 && span.offset < 0) || start < -MAX_BUCKET_INDEX || end > MAX_BUCKET_INDEX {
            return Err(AppendError::Spans);
        }
    }
    Ok(())
}

/// The fewest spans that have the buckets of both: ascending, none empty, no two that touch.
pub(super) fn union_spans(one: &[Span], other: &[Span]) -> Vec<Span> {
    let mut other = bucket_indexes(other).peekable();
    let mut spans = SpanBuilder::default();
    for index in bucket_indexes(one) {
        while let Some(between) = other.next_if(|&candidate| candidate <= index) {
            spans.push(between);
        }
        spans.push(index);
    }
    other.for_each(|index| spans.push(index));
    spans.spans
}

#[derive(Debug, Default)]
struct SpanBuilder {
    spans: Vec<Span>,
    /// The index behind the last bucket.
    end: i64,
}

impl SpanBuilder {
    /// Adds a bucket; nothing happens if it is there already.
    fn push(&mut self, index: i64) {
        match self.spans.last_mut() {
            Some(_) if index < self.end => return,
            Some(last) if index == self.end => last.length += 1,
            // Both are within the range of `check_spans`, so the gap fits.
            _ => self.spans.push(Span {
                offset: (index - self.end) as i32,
                length: 1,
            }),
        }
        self.end = index + 1;
    }
}

/// Puts the buckets of `from` where they belong in `to`, which has all of them, with zeros between.
pub(super) fn spread<B: Codec>(buckets: &[B], from: &[Span], to: &[Span]) -> Vec<B> {
    if from == to {
        return buckets.to_vec();
    }
    let mut known = bucket_indexes(from)
        .zip(B::absolute(buckets.iter().copied()))
        .peekable();
    let absolute = bucket_indexes(to)
        .map(|index| {
            known
                .next_if(|&(candidate, _)| candidate == index)
                .map_or(B::default(), |(_, n)| n)
        })
        .collect();
    B::from_absolute(absolute)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::histogram::Bucket;

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    #[test]
    fn unions_are_normalised() {
        let one = [span(0, 2), span(0, 0), span(3, 1)];
        assert_eq!(union_spans(&one, &[]), [span(0, 2), span(3, 1)]);
        assert_eq!(union_spans(&one, &[span(2, 3)]), [span(0, 6)]);
        assert_eq!(
            union_spans(&[], &[span(-3, 1), span(1, 1)]),
            [span(-3, 1), span(1, 1)]
        );
    }

    #[test]
    fn spreading_keeps_the_counts() {
        let deltas = spread::<i64>(&[1, 2], &[span(0, 2)], &[span(-1, 2), span(0, 1), span(1, 1)]);
        assert_eq!(
            i64::absolute(deltas.into_iter()).collect::<Vec<_>>(),
            [0, 1, 3, 0]
        );
        let floats = spread::<f64>(&[1.0, 3.0], &[span(0, 1), span(1, 1)], &[span(0, 3)]);
        assert_eq!(floats, [1.0, 0.0, 3.0]);
    }

    #[test]
    fn spans_that_go_back_or_too_far_are_refused() {
        assert_eq!(check_spans(&[span(-5, 2), span(0, 1)]), Ok(()));
        assert_eq!(check_spans(&[span(0, 2), span(-1, 1)]), Err(AppendError::Spans));
        assert_eq!(check_spans(&[span(i32::MAX, 1)]), Err(AppendError::Spans));
        assert_eq!(check_spans(&[span(i32::MIN, 1)]), Err(AppendError::Spans));
        assert_eq!(check_spans(&[span(0, u32::MAX)]), Err(AppendError::Spans));
    }

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        proptest::collection::vec((0i32..4, 0u32..4), 0..6).prop_map(|parts| {
            let shift = |i, offset| if i == 0 { offset - 3 } else { offset };
            parts
                .into_iter()
                .enumerate()
                .map(|(i, (offset, length))| span(shift(i, offset), length))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn a_union_has_the_buckets_of_both(one in spans(), other in spans()) {
            let union = union_spans(&one, &other);
            let indexes: Vec<i64> = bucket_indexes(&union).collect();
            let expected: std::collections::BTreeSet<i64> =
                bucket_indexes(&one).chain(bucket_indexes(&other)).collect();
            prop_assert!(indexes.iter().copied().eq(expected));
            prop_assert_eq!(check_spans(&union), Ok(()));
            prop_assert!(union.iter().skip(1).all(|span| span.offset > 0));
            prop_assert!(union.iter().all(|span| span.length > 0));
        }
    }
}
