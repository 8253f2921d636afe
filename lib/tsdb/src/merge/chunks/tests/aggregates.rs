//! Aggregate chunks that overlap, deduplicated by penalty.

use super::*;
use crate::chunk::aggregate::{Aggregate, AggregateChunk, SubChunk};

const WINDOW_MS: i64 = 300_000;

/// A chunk that has `value` for every aggregate in `windows`, and the last counter twice.
fn aggregates(windows: std::ops::Range<i64>, shift: i64, value: f64) -> SeriesChunk {
    let samples: Vec<(i64, f64)> = windows.map(|i| (i * WINDOW_MS + shift, value)).collect();
    let (mint, maxt) = (samples[0].0, samples[samples.len() - 1].0);
    let mut counter = samples.clone();
    counter.push((maxt, value));
    let parts = [&samples, &samples, &samples, &samples, &counter].map(|samples| encoded(samples));
    chunk_of(mint, maxt, &parts.map(Some))
}

fn encoded(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut chunk = crate::chunk::xor::XorAppender::new();
    samples
        .iter()
        .for_each(|&(t, value)| chunk.append(t, value).unwrap());
    chunk.finish()
}

fn chunk_of(mint: i64, maxt: i64, parts: &[Option<Vec<u8>>; 5]) -> SeriesChunk {
    let mut chunk = AggregateChunk::default();
    for (aggregate, data) in Aggregate::ALL.into_iter().zip(parts) {
        let part = data.as_deref().map(|data| SubChunk {
            encoding: Encoding::Xor,
            data,
        });
        chunk.set(aggregate, part);
    }
    SeriesChunk::encode(mint, maxt, Encoding::Aggregate, &chunk.encode())
}

fn part(chunk: &SeriesChunk, aggregate: Aggregate) -> Option<Vec<(i64, f64)>> {
    let parsed = AggregateChunk::parse(chunk.data()).unwrap();
    let data = parsed.get(aggregate)?.data;
    let samples = crate::chunk::xor::XorIter::new(data).unwrap();
    Some(samples.map(Result::unwrap).collect())
}

fn merge_two(one: SeriesChunk, other: SeriesChunk) -> Vec<SeriesChunk> {
    merged(OverlapRule::Penalty, &[vec![one], vec![other]]).unwrap()
}

#[test]
fn each_aggregate_is_merged_and_the_last_counter_repeated() {
    let merged = merge_two(aggregates(0..10, 299_999, 1.0), aggregates(1..12, 299_999, 2.0));
    let [chunk] = merged.as_slice() else {
        panic!("{} chunks", merged.len())
    };
    let count = part(chunk, Aggregate::Count).unwrap();
    assert_eq!((chunk.mint, chunk.maxt), (count[0].0, count[count.len() - 1].0));
    assert_eq!(chunk.mint, 299_999);
    assert_eq!(part(chunk, Aggregate::Sum).unwrap(), count);
    let mut counter = part(chunk, Aggregate::Counter).unwrap();
    let last = counter.pop().unwrap();
    assert_eq!(Some(&last), counter.last());
    assert_eq!(counter, count);
}

/// The sample that shows that a chunk's time is over is passed, and missing from the next one.
#[test]
fn a_chunk_behind_the_first_lacks_a_sample_of_all_but_the_count() {
    let merged = merge_two(aggregates(0..300, 0, 1.0), aggregates(1..300, 0, 2.0));
    assert!(merged.len() > 1);
    for (number, chunk) in merged.iter().enumerate() {
        let mut count = part(chunk, Aggregate::Count).unwrap();
        if number > 0 {
            count.remove(0);
        }
        assert_eq!(part(chunk, Aggregate::Min).unwrap(), count, "chunk {number}");
        assert_eq!(part(chunk, Aggregate::Counter).unwrap().len(), count.len() + 1);
    }
}

#[test]
fn an_aggregate_that_ends_in_zero_at_time_zero_is_left_out() {
    let zero = aggregates(0..1, 0, 0.0);
    let one = [
        Some(encoded(&[(0, 1.0)])),
        None,
        None,
        None,
        Some(encoded(&[(0, 0.0)])),
    ];
    let merged = merge_two(zero, chunk_of(0, 0, &one));
    assert_eq!(part(&merged[0], Aggregate::Count), Some(vec![(0, 1.0)]));
    assert_eq!(part(&merged[0], Aggregate::Sum), None);
    assert_eq!(part(&merged[0], Aggregate::Counter), None);
}

/// The chunk that comes first in time is the last in the pile.
#[test]
fn of_equal_windows_those_of_the_later_chunk_win() {
    let merged = merge_two(aggregates(0..3, 0, 1.0), aggregates(1..4, 0, 2.0));
    let count = part(&merged[0], Aggregate::Count).unwrap();
    assert_eq!(count[0], (0, 1.0));
    assert!(count[1..].iter().all(|&(_, value)| value == 2.0), "{count:?}");
}

#[test]
fn an_overlapping_chunk_without_counts_is_dropped() {
    let first = aggregates(0..3, 0, 1.0);
    let nothing = chunk_of(
        1,
        WINDOW_MS,
        &[None, Some(encoded(&[(1, 1.0)])), None, None, None],
    );
    assert_eq!(merge_two(first.clone(), nothing), [first]);
}

#[test]
fn histograms_are_refused() {
    let mut chunk = AggregateChunk::default();
    chunk.set(
        Aggregate::Count,
        Some(SubChunk {
            encoding: Encoding::FloatHistogram,
            data: &[0, 0, 0],
        }),
    );
    let histograms = SeriesChunk::encode(5, 9, Encoding::Aggregate, &chunk.encode());
    let mut first = aggregates(0..1, 0, 1.0);
    first.maxt = 7;
    let error = merged(OverlapRule::Penalty, &[vec![first], vec![histograms]]).unwrap_err();
    assert_eq!(error, MergeError::HistogramAggregates { mint: 0, maxt: 9 });
}
