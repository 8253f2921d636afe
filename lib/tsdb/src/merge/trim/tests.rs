use proptest::prelude::*;

use super::*;
use crate::chunk::{Sample, decode_samples, encode_stream};
use crate::histogram::{Histogram, Layout, Span};
use crate::stale::STALE_NAN;

fn chunk_of(samples: impl IntoIterator<Item = Sample>) -> SeriesChunk {
    let chunks = encode_stream(samples).unwrap();
    let [chunk] = chunks.as_slice() else {
        panic!("{} chunks", chunks.len())
    };
    SeriesChunk::encode(chunk.mint, chunk.maxt, chunk.encoding, &chunk.data)
}

fn floats(times: impl IntoIterator<Item = i64>) -> SeriesChunk {
    chunk_of(times.into_iter().map(|t| Sample {
        t,
        value: Value::Float(t as f64),
    }))
}

fn times(chunk: &SeriesChunk) -> Vec<i64> {
    let samples = decode_samples(chunk.encoding().unwrap(), chunk.data()).unwrap();
    samples.iter().map(|sample| sample.t).collect()
}

#[test]
fn a_chunk_that_keeps_all_is_kept_as_bytes() {
    let chunk = floats([10, 20, 30]);
    let trim = Trim::new(10, 30, vec![(31, 40), (0, 9)]);
    assert_eq!(trim.apply(chunk.clone()), Ok(Some(chunk)));
}

#[test]
fn a_deleted_range_between_two_samples_still_writes_the_chunk_again() {
    let mut long: Vec<i64> = (0..300).map(|i| i * 10).collect();
    let mut appender = XorAppender::new();
    for &t in &long {
        appender.append(t, t as f64).unwrap();
    }
    let chunk = SeriesChunk::encode(0, 2990, Encoding::Xor, &appender.finish());
    let rest = Trim::new(0, 5000, vec![(11, 12), (500, 505)])
        .apply(chunk)
        .unwrap()
        .unwrap();
    long.remove(50);
    assert_eq!(times(&rest), long, "one chunk, however long");
}

#[test]
fn a_chunk_within_a_deleted_range_is_dropped() {
    let chunk = floats([10, 20, 30]);
    let drop = |deleted| Trim::new(0, 100, deleted).apply(chunk.clone());
    assert_eq!(drop(vec![(10, 30)]), Ok(None));
    assert_eq!(
        drop(vec![(0, 15), (16, 50)]),
        Ok(None),
        "ranges that touch are one"
    );
    assert_eq!(
        drop(vec![(10, 10), (20, 20), (30, 30)]),
        Ok(None),
        "sample by sample"
    );
    assert!(drop(vec![(0, 15), (21, 50)]).unwrap().is_some());
    assert_eq!(Trim::new(31, 50, vec![]).apply(chunk.clone()), Ok(None));
    assert_eq!(Trim::new(0, 9, vec![]).apply(chunk.clone()), Ok(None));
}

/// The end of a block's meta does not belong to the block: a sample there is not carried over.
#[test]
fn the_ends_of_the_range_are_cut_off() {
    let rest = Trim::new(20, 29, vec![])
        .apply(floats([10, 20, 25, 30]))
        .unwrap()
        .unwrap();
    assert_eq!((rest.mint, rest.maxt, times(&rest)), (20, 25, vec![20, 25]));
}

#[test]
fn stale_gauges_stay_in_their_chunk() {
    let layout = Layout {
        positive_spans: vec![Span { offset: 0, length: 1 }],
        ..Layout::default()
    };
    let gauge = |count: u64| Histogram {
        hint: CounterResetHint::Gauge,
        layout: layout.clone().into(),
        count,
        positive: vec![count as i64],
        sum: 1.0,
        ..Histogram::default()
    };
    let mut chunk = HistogramAppender::begin(1, &gauge(3)).unwrap();
    let mut stale = Histogram {
        hint: CounterResetHint::Gauge,
        sum: STALE_NAN,
        ..Histogram::default()
    };
    chunk.append(2, &mut gauge(1)).unwrap();
    chunk.append(3, &mut gauge(2)).unwrap();
    assert_eq!(chunk.append(4, &mut stale), Ok(Appended::Extended));
    let chunk = SeriesChunk::encode(1, 4, Encoding::Histogram, &chunk.finish());
    let rest = Trim::new(2, 9, vec![(3, 3)]).apply(chunk).unwrap().unwrap();
    assert_eq!(times(&rest), [2, 4]);
}

#[test]
fn aggregates_are_not_taken_apart() {
    let chunk = SeriesChunk::encode(10, 20, Encoding::Aggregate, &[0; 5]);
    assert_eq!(
        Trim::new(0, 20, vec![]).apply(chunk.clone()),
        Ok(Some(chunk.clone()))
    );
    let error = Trim::new(0, 15, vec![]).apply(chunk).unwrap_err();
    assert_eq!(error, MergeError::Aggregates { mint: 10, maxt: 20 });
}

proptest! {
    #[test]
    fn what_is_left_is_what_is_not_deleted(
        at in proptest::collection::btree_set(0i64..200, 1..60),
        range in (0i64..200, 0i64..200),
        deleted in proptest::collection::vec((0i64..200, 0i64..30), 0..6),
    ) {
        let deleted: Vec<(i64, i64)> = deleted.into_iter().map(|(start, length)| (start, start + length)).collect();
        let trim = Trim::new(range.0, range.1, deleted.clone());
        let left: Vec<i64> = at
            .iter()
            .copied()
            .filter(|t| (range.0..=range.1).contains(t))
            .filter(|t| !deleted.iter().any(|(start, end)| (start..=end).contains(&t)))
            .collect();
        let rest = trim.apply(floats(at)).unwrap();
        prop_assert_eq!(rest.as_ref().map(times).unwrap_or_default(), left.clone());
        if let Some(rest) = rest {
            prop_assert_eq!((rest.mint, rest.maxt), (left[0], left[left.len() - 1]));
        }
    }
}
