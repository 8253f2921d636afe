use std::sync::Arc;

use proptest::prelude::*;
use sabre_proto::thanos::Chunk;
use sabre_tsdb::chunk::xor::XorAppender;
use sabre_tsdb::stale::{STALE_NAN, is_stale};

use super::*;

mod slow;

const ALL: (i64, i64) = (i64::MIN, i64::MAX);

fn xor(samples: &[(i64, f64)]) -> Chunk {
    let mut appender = XorAppender::new();
    for (t, value) in samples {
        appender.append(*t, *value).unwrap();
    }
    Chunk {
        data: appender.finish().into(),
        ..Chunk::default()
    }
}

fn chunk(samples: &[(i64, f64)]) -> AggrChunk {
    AggrChunk {
        min_time: samples[0].0,
        max_time: samples[samples.len() - 1].0,
        raw: Some(xor(samples)),
        ..AggrChunk::default()
    }
}

/// One chunk for each replica.
fn read(func: &str, times: (i64, i64), replicas: &[&[(i64, f64)]]) -> Vec<(i64, f64)> {
    let mut chunks: Vec<AggrChunk> = replicas.iter().map(|samples| chunk(samples)).collect();
    chunks.sort_by_key(|chunk| (chunk.min_time, chunk.max_time));
    let options = SampleOptions::for_function(func, times, Some(DedupFunc::Penalty));
    floats(chunks, &options).unwrap()
}

fn floats(chunks: Vec<AggrChunk>, options: &SampleOptions) -> Result<Vec<(i64, f64)>, SourceError> {
    let mut source = samples(chunks, options)?;
    let mut buffer = SampleBuffer::default();
    while source.next_into(&mut buffer)? {}
    Ok(buffer.timestamps.into_iter().zip(buffer.values).collect())
}

/// A sample every `step` milliseconds, with the time in the value.
fn every(step: i64, times: std::ops::Range<i64>) -> Vec<(i64, f64)> {
    times.step_by(step as usize).map(|t| (t, t as f64)).collect()
}

#[test]
fn a_replica_is_used_until_it_has_a_gap() {
    let mut a = every(10_000, 0..200_000);
    a.retain(|(t, _)| !(50_000..100_000).contains(t));
    let b = every(10_000, 3000..200_000);
    let times: Vec<i64> = read("", ALL, &[&a, &b]).iter().map(|(t, _)| *t).collect();
    // The gap of `a` is noticed at once, since `b` has to be ahead by twice an interval only while `a` goes on.
    assert_eq!(
        &times[..8],
        [0, 10_000, 20_000, 30_000, 40_000, 63_000, 73_000, 83_000]
    );
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    // Back to `a` only when `b` has one.
    assert!(times.contains(&193_000));
}

#[test]
fn the_other_side_has_to_be_five_seconds_ahead_at_first() {
    // After the first sample of `a`, `b` is looked for behind 5 s: what it has before does not come.
    let a = [(0, 1.0), (60_000, 1.0)];
    let b = [(3000, 2.0), (4000, 2.0), (5002, 2.0), (70_000, 2.0)];
    assert_eq!(read("", ALL, &[&a, &b])[..2], [(0, 1.0), (5002, 2.0)]);
}

#[test]
fn at_equal_times_the_earlier_replica_counts() {
    let (a, b) = (
        [(0, 1.0), (10, 1.0), (20, 1.0)],
        [(0, 2.0), (10, 2.0), (20, 2.0), (90_000, 2.0)],
    );
    assert_eq!(
        read("", ALL, &[&a, &b]),
        [(0, 1.0), (10, 1.0), (20, 1.0), (90_000, 2.0)]
    );
}

#[test]
fn a_counter_does_not_fall_where_another_replica_goes_on() {
    let a = [(0, 100.0), (10_000, 110.0), (20_000, 120.0)];
    let b: Vec<(i64, f64)> = every(10_000, 1000..80_000)
        .iter()
        .map(|(t, _)| (*t, 50.0 + *t as f64 / 1000.0))
        .collect();
    let merged = read("rate", ALL, &[&a, &b]);
    assert!(merged.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{merged:?}");
    assert_eq!(
        merged[..4],
        [(0, 100.0), (10_000, 110.0), (20_000, 120.0), (41_000, 120.0)]
    );
    // Lifted by as much from there on.
    assert_eq!(merged[4], (51_000, 130.0));
    // Where resets do not matter, nothing is lifted.
    assert_eq!(read("delta", ALL, &[&a, &b])[3], (41_000, 91.0));
}

#[test]
fn resets_are_judged_within_a_replica() {
    // Each replica resets once; that `b` has a lower value in between is no reset.
    let a = [(0, 10.0), (10_000, 20.0), (20_000, 5.0), (30_000, 15.0)];
    let b = [
        (1000, 9.0),
        (11_000, 19.0),
        (21_000, 4.0),
        (31_000, 14.0),
        (90_000, 24.0),
    ];
    let merged = read("increase", ALL, &[&a, &b]);
    assert_eq!(
        merged[..4],
        [(0, 10.0), (10_000, 20.0), (20_000, 25.0), (30_000, 35.0)]
    );
    assert_eq!(merged[4], (90_000, 43.0));
}

#[test]
fn a_replica_that_begins_earlier_is_lifted_to_the_first_sample_of_the_other() {
    // Chunks are distributed by their times, so the first list need not begin first: cut times make it so.
    let a = [(0, 1.0), (50_000, 100.0), (60_000, 110.0)];
    let b = [(1000, 1.0), (40_000, 80.0), (52_000, 104.0)];
    let merged = read("rate", (30_000, 100_000), &[&a, &b]);
    assert_eq!(merged[0], (40_000, 100.0));
    assert_eq!(
        read("max_over_time", (30_000, 100_000), &[&a, &b])[0],
        (40_000, 80.0)
    );
}

#[test]
fn replicas_are_cut_before_they_are_made_one() {
    let a = every(10_000, 0..100_000);
    let b = every(10_000, 4000..100_000);
    // What comes first within the times is used first.
    let cut = read("", (1000, 50_000), &[&a, &b]);
    assert_eq!(cut[..2], [(4000, 4000.0), (10_000, 10_000.0)]);
    let whole = read("", (0, 50_000), &[&a, &b]);
    assert_eq!(whole[..2], [(0, 0.0), (10_000, 10_000.0)]);
    assert_eq!(read("", (0, 50_000), &[&a, &b]).last().unwrap().0, 50_000);
}

#[test]
fn markers_of_the_end_of_a_series_stay_what_they_are() {
    let a = [(0, 1.0), (10_000, STALE_NAN)];
    let b = [(2000, 1.0), (40_000, STALE_NAN)];
    let merged = read("", ALL, &[&a, &b]);
    assert_eq!(
        merged.iter().map(|(t, _)| *t).collect::<Vec<_>>(),
        [0, 10_000, 40_000]
    );
    assert!(merged[1..].iter().all(|(_, value)| is_stale(*value)));
}

#[test]
fn three_replicas_fill_each_others_gaps() {
    let all = every(10_000, 0..600_000);
    let shifted = |by: i64| all.iter().map(move |(t, _)| (*t + by, *t as f64));
    let a: Vec<_> = all.iter().copied().filter(|(t, _)| *t < 200_000).collect();
    let b: Vec<_> = shifted(1000)
        .filter(|(t, _)| !(200_000..400_000).contains(t))
        .collect();
    let c: Vec<_> = shifted(2000).collect();
    let merged = read("rate", ALL, &[&a, &b, &c]);
    let widest = merged.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
    assert!(widest <= 32_000, "{widest}");
    assert!(merged.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    assert!(merged.last().unwrap().0 >= 590_000);
}

#[test]
fn without_deduplication_the_earlier_chunk_counts() {
    let chunks = vec![
        chunk(&[(0, 1.0), (20, 1.0)]),
        chunk(&[(10, 2.0), (20, 2.0), (30, 2.0)]),
    ];
    let options = SampleOptions::for_function("", ALL, None);
    assert_eq!(
        floats(chunks, &options).unwrap(),
        [(0, 1.0), (20, 1.0), (30, 2.0)]
    );
}

#[test]
fn a_chain_has_the_samples_of_all() {
    let chunks = vec![
        chunk(&[(0, 1.0), (20, 1.0), (40, 1.0)]),
        chunk(&[(10, 2.0), (20, 2.0), (50, 2.0)]),
        chunk(&[(15, 3.0), (50, 3.0), (60, 3.0)]),
    ];
    let options = SampleOptions::for_function("", ALL, Some(DedupFunc::Chain));
    let times: Vec<i64> = floats(chunks, &options)
        .unwrap()
        .iter()
        .map(|(t, _)| *t)
        .collect();
    assert_eq!(times, [0, 10, 15, 20, 40, 50, 60]);
}

#[test]
fn chunks_that_do_not_overlap_are_one_replica() {
    let chunks = vec![
        chunk(&[(0, 1.0), (10_000, 2.0)]),
        chunk(&[(11_000, 1.0), (12_000, 2.0)]),
    ];
    let options = SampleOptions::for_function("rate", ALL, Some(DedupFunc::Penalty));
    let wanted = [(0, 1.0), (10_000, 2.0), (11_000, 3.0), (12_000, 4.0)];
    assert_eq!(floats(chunks, &options).unwrap(), wanted);
}

#[test]
fn the_wanted_aggregate_counts_and_raw_samples_stand_for_themselves() {
    let downsampled = AggrChunk {
        min_time: 100,
        max_time: 200,
        count: Some(xor(&[(100, 2.0), (200, 4.0)])),
        sum: Some(xor(&[(100, 6.0), (200, 20.0)])),
        max: Some(xor(&[(100, 5.0), (200, 9.0)])),
        ..AggrChunk::default()
    };
    let raw = chunk(&[(300, 7.0)]);
    let of = |func: &str| {
        let options = SampleOptions::for_function(func, ALL, Some(DedupFunc::Penalty));
        floats(vec![downsampled.clone(), raw.clone()], &options)
    };
    assert_eq!(of("max_over_time").unwrap(), [(100, 5.0), (200, 9.0), (300, 7.0)]);
    assert_eq!(of("").unwrap(), [(100, 3.0), (200, 5.0), (300, 7.0)]);
    assert_eq!(of("count").unwrap(), [(100, 2.0), (200, 4.0), (300, 7.0)]);
    assert!(
        of("min")
            .unwrap_err()
            .to_string()
            .contains("no valid chunk found")
    );
}

#[test]
fn a_chunk_of_an_unknown_kind_is_an_error() {
    let mut odd = chunk(&[(0, 1.0)]);
    odd.raw.as_mut().unwrap().r#type = 9;
    let error = floats(vec![odd], &SampleOptions::for_function("", ALL, None)).unwrap_err();
    assert!(
        error.to_string().starts_with("a store sent a chunk of type 9"),
        "{error}"
    );
}

#[test]
fn what_nobody_looks_at_is_not_decoded_unless_a_counter_is_made_of_it() {
    let a = every(10_000, 0..100_000);
    let chunks = |from: i64| {
        let parts = [
            from..from + 30_000,
            from + 30_000..from + 60_000,
            from + 60_000..from + 100_000,
        ];
        parts.map(|times| chunk(&every(10_000, times)))
    };
    let mut b = chunks(1000);
    b[1].raw.as_mut().unwrap().data = bytes::Bytes::from_static(b"garbage");
    let mut all: Vec<AggrChunk> = chunks(0).into_iter().chain(b).collect();
    all.sort_by_key(|chunk| (chunk.min_time, chunk.max_time));
    let of = |func: &str| {
        let options = SampleOptions::for_function(func, ALL, Some(DedupFunc::Penalty));
        floats(all.clone(), &options)
    };
    assert_eq!(of("max_over_time").unwrap(), a);
    assert!(of("rate").is_err());
    assert!(of("xrate").is_err());
    // Before the gap of `a` is over it is looked at.
    all.remove(2);
    assert!(
        floats(
            all,
            &SampleOptions::for_function("", ALL, Some(DedupFunc::Penalty))
        )
        .is_err()
    );
}

#[test]
fn histograms_take_part() {
    use sabre_tsdb::chunk::{Sample, Value, encode_stream};
    use sabre_tsdb::histogram::FloatHistogram;
    let histograms = |times: &[i64]| {
        let samples = times.iter().map(|t| Sample {
            t: *t,
            value: Value::FloatHistogram(Box::new(FloatHistogram {
                count: *t as f64,
                sum: 1.0,
                ..FloatHistogram::default()
            })),
        });
        let encoded = encode_stream(samples).unwrap();
        encoded.into_iter().map(|chunk| AggrChunk {
            min_time: chunk.mint,
            max_time: chunk.maxt,
            raw: Some(Chunk {
                r#type: 2,
                data: chunk.data.into(),
                hash: 0,
            }),
            ..AggrChunk::default()
        })
    };
    let chunks: Vec<AggrChunk> = histograms(&[0, 10_000])
        .chain(histograms(&[1000, 40_000]))
        .collect();
    let mut source = samples(
        chunks,
        &SampleOptions::for_function("rate", ALL, Some(DedupFunc::Penalty)),
    )
    .unwrap();
    let mut buffer = SampleBuffer::default();
    while source.next_into(&mut buffer).unwrap() {}
    let found: Vec<(i64, f64)> = buffer.histograms.iter().map(|(t, h)| (*t, h.count)).collect();
    assert_eq!(found, [(0, 0.0), (10_000, 10_000.0), (40_000, 40_000.0)]);
    assert!(buffer.histograms.iter().all(|(_, h)| Arc::strong_count(h) == 1));
}

fn any_replica() -> impl Strategy<Value = Vec<(i64, f64)>> {
    proptest::collection::vec((1i64..30_000, 0u32..100), 1..60).prop_map(|steps| {
        let mut t = 0;
        steps
            .into_iter()
            .map(|(step, value)| {
                t += step;
                (t, f64::from(value))
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn what_comes_out_ascends_and_came_in(replicas in proptest::collection::vec(any_replica(), 1..5)) {
        let slices: Vec<&[(i64, f64)]> = replicas.iter().map(Vec::as_slice).collect();
        let merged = read("", ALL, &slices);
        prop_assert!(merged.windows(2).all(|pair| pair[0].0 < pair[1].0));
        prop_assert!(merged.iter().all(|sample| replicas.iter().any(|replica| replica.contains(sample))));
        // No replica goes on for long where nothing comes out.
        let last = replicas.iter().filter_map(|replica| replica.last()).map(|(t, _)| *t).max();
        prop_assert!(merged.last().map(|(t, _)| *t) <= last);
    }

    #[test]
    fn counters_never_fall(replicas in proptest::collection::vec(any_replica(), 1..5)) {
        let slices: Vec<&[(i64, f64)]> = replicas.iter().map(Vec::as_slice).collect();
        let merged = read("rate", ALL, &slices);
        prop_assert!(merged.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{merged:?}");
    }

    #[test]
    fn no_bytes_of_a_peer_harm(
        parts in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..60), 0i32..4, -50i64..50, -50i64..50, 0usize..3), 0..6),
        func in prop_oneof![Just("rate"), Just(""), Just("min"), Just("count")],
        chain in any::<bool>(),
    ) {
        let chunks = parts.into_iter().map(|(data, kind, min_time, max_time, place)| {
            let part = Some(Chunk { r#type: kind, data: data.into(), hash: 0 });
            let mut chunk = AggrChunk { min_time, max_time, ..AggrChunk::default() };
            match place {
                0 => chunk.raw = part,
                1 => chunk.counter = part,
                _ => (chunk.count, chunk.sum) = (part.clone(), part),
            }
            chunk
        });
        let dedup = if chain { DedupFunc::Chain } else { DedupFunc::Penalty };
        // An error or samples, and no panic.
        drop(floats(chunks.collect(), &SampleOptions::for_function(func, ALL, Some(dedup))));
    }
}
