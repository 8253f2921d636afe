//! The buckets of one side of a histogram.

use sabre_tsdb::histogram::{Span, bucket_indexes};

/// Neighbouring buckets.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    start: i64,
    counts: Vec<f64>,
}

impl Run {
    fn end(&self) -> i64 {
        self.start.saturating_add_unsigned(self.counts.len() as u64)
    }
}

/// A side taken apart, to be given more buckets.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Side {
    /// Ascending; they may touch.
    runs: Vec<Run>,
    /// The run that the last bucket was added to or before; buckets come in ascending order.
    at: usize,
}

impl Side {
    pub(super) fn new(spans: &[Span], buckets: &[f64]) -> Self {
        let (mut rest, mut runs) = (buckets, Vec::with_capacity(spans.len()));
        let mut end = 0i64;
        for span in spans {
            let start = end.saturating_add(i64::from(span.offset));
            end = start.saturating_add(i64::from(span.length));
            let (counts, behind) = rest.split_at_checked(span.length as usize).unwrap_or((rest, &[]));
            rest = behind;
            if !counts.is_empty() {
                let counts = counts.to_vec();
                runs.push(Run { start, counts });
            }
        }
        Self { runs, at: 0 }
    }

    /// Adds to a bucket, which is made if it is not there. Indexes come in ascending order.
    ///
    /// A new bucket makes the run before it longer if it touches it, else that behind it, else it is a run of its
    /// own. Runs are not joined.
    pub(super) fn add(&mut self, index: i64, count: f64) {
        while self.runs.get(self.at).is_some_and(|run| run.end() <= index) {
            self.at += 1;
        }
        if let Some(run) = self.runs.get_mut(self.at)
            && let Ok(place) = usize::try_from(index - run.start)
            && let Some(bucket) = run.counts.get_mut(place)
        {
            *bucket += count;
            return;
        }
        let before = self
            .at
            .checked_sub(1)
            .and_then(|before| self.runs.get_mut(before));
        if let Some(run) = before.filter(|run| run.end() == index) {
            run.counts.push(count);
            self.at -= 1;
            return;
        }
        match self.runs.get_mut(self.at) {
            Some(run) if run.start == index.saturating_add(1) => {
                run.counts.insert(0, count);
                run.start = index;
            }
            _ => self.runs.insert(
                self.at,
                Run {
                    start: index,
                    counts: vec![count],
                },
            ),
        }
    }

    /// The side put together again.
    pub(super) fn into_parts(self) -> (Vec<Span>, Vec<f64>) {
        let mut spans = Vec::with_capacity(self.runs.len());
        let mut buckets = Vec::new();
        let mut end = 0i64;
        for run in self.runs {
            spans.push(span(run.start - end, run.counts.len()));
            end = run.end();
            buckets.extend(run.counts);
        }
        (spans, buckets)
    }
}

/// Buckets are within [`sabre_tsdb::chunk::histogram::MAX_BUCKET_INDEX`] where they were read; what is beyond
/// `i32` is cut off, and refused when it is written.
fn span(offset: i64, length: usize) -> Span {
    Span {
        offset: i32::try_from(offset).unwrap_or(if offset < 0 { i32::MIN } else { i32::MAX }),
        length: u32::try_from(length).unwrap_or(u32::MAX),
    }
}

/// Puts buckets, ascending and each once, into the fewest spans.
pub(super) fn normalised(buckets: impl Iterator<Item = (i64, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts) = (Vec::<Span>::new(), Vec::new());
    let mut end = 0i64;
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(last) if index == end => last.length = last.length.saturating_add(1),
            _ => spans.push(span(index.saturating_sub(end), 1)),
        }
        end = index.saturating_add(1);
        counts.push(count);
    }
    (spans, counts)
}

/// The buckets of a side, from zero outwards.
pub(super) fn buckets<'a>(spans: &'a [Span], counts: &'a [f64]) -> impl Iterator<Item = (i64, f64)> + 'a {
    bucket_indexes(spans).zip(counts.iter().copied())
}

/// The buckets of a side in a coarser schema, `by` steps down; those that become one are added.
pub(super) fn coarser<'a>(
    spans: &'a [Span],
    counts: &'a [f64],
    by: u32,
) -> impl Iterator<Item = (i64, f64)> + 'a {
    let mut fine = buckets(spans, counts)
        .map(move |(index, count)| (coarse_index(index, by), count))
        .peekable();
    std::iter::from_fn(move || {
        let (index, mut sum) = fine.next()?;
        while let Some((_, count)) = fine.next_if(|&(next, _)| next == index) {
            sum += count;
        }
        Some((index, sum))
    })
}

fn coarse_index(index: i64, by: u32) -> i64 {
    (index.saturating_sub(1) >> by.min(63)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(pairs: &[(i32, u32)]) -> Vec<Span> {
        pairs
            .iter()
            .map(|&(offset, length)| Span { offset, length })
            .collect()
    }

    #[test]
    fn new_buckets_join_the_run_before_them_first() {
        let mut side = Side::new(&spans(&[(0, 2), (1, 1)]), &[1.0, 2.0, 3.0]);
        side.add(-2, 4.0);
        side.add(0, 10.0);
        side.add(2, 5.0);
        side.add(3, 10.0);
        side.add(9, 6.0);
        let (layout, counts) = side.into_parts();
        assert_eq!(layout, spans(&[(-2, 1), (1, 3), (0, 1), (5, 1)]));
        assert_eq!(counts, [4.0, 11.0, 2.0, 5.0, 13.0, 6.0]);
    }

    #[test]
    fn new_buckets_in_front_of_a_run_make_it_longer() {
        let mut side = Side::new(&spans(&[(3, 1)]), &[1.0]);
        side.add(2, 2.0);
        side.add(3, 3.0);
        assert_eq!(side.into_parts(), (spans(&[(2, 2)]), vec![2.0, 4.0]));
    }

    #[test]
    fn coarser_buckets_hold_the_finer_ones() {
        // Of schema 1 the buckets 1 and 2 reach from 1 to 2, which is bucket 1 of schema 0.
        let counts = [1.0, 2.0, 3.0, 4.0];
        let coarse: Vec<_> = coarser(&spans(&[(-1, 1), (1, 3)]), &counts, 1).collect();
        assert_eq!(coarse, [(0, 1.0), (1, 5.0), (2, 4.0)]);
        assert_eq!(
            normalised(coarse.into_iter()),
            (spans(&[(0, 3)]), vec![1.0, 5.0, 4.0])
        );
    }
}
