use proptest::prelude::*;

use super::*;
use crate::chunk::{Encoding, Sample, Value, decode_samples, encode_stream};
use crate::histogram::{Histogram, Layout, Span};
use crate::stale::STALE_NAN;

mod aggregates;
mod reference;

fn framed(samples: impl IntoIterator<Item = Sample>) -> Vec<SeriesChunk> {
    let chunks = encode_stream(samples).unwrap();
    let framed = |chunk: &crate::chunk::EncodedChunk| {
        SeriesChunk::encode(chunk.mint, chunk.maxt, chunk.encoding, &chunk.data)
    };
    chunks.iter().map(framed).collect()
}

fn floats(samples: &[(i64, f64)]) -> Vec<SeriesChunk> {
    framed(samples.iter().map(|&(t, value)| Sample {
        t,
        value: Value::Float(value),
    }))
}

fn merged(rule: OverlapRule, sources: &[Vec<SeriesChunk>]) -> Result<Vec<SeriesChunk>, MergeError> {
    let sources = sources.iter().map(|chunks| chunks.iter().cloned().map(Ok));
    let mut out = Vec::new();
    merge_chunks(rule, sources.collect(), |chunk| {
        out.push(chunk);
        Ok(())
    })?;
    Ok(out)
}

fn samples(chunks: &[SeriesChunk]) -> Vec<Sample> {
    let decode = |chunk: &SeriesChunk| decode_samples(chunk.encoding().unwrap(), chunk.data()).unwrap();
    chunks.iter().flat_map(decode).collect()
}

fn times(chunks: &[SeriesChunk]) -> Vec<i64> {
    samples(chunks).iter().map(|sample| sample.t).collect()
}

fn every(step: i64, range: std::ops::Range<i64>, value: f64) -> Vec<(i64, f64)> {
    range.map(|i| (i * step, value)).collect()
}

const RULES: [OverlapRule; 3] = [OverlapRule::Refuse, OverlapRule::OneToOne, OverlapRule::Penalty];

#[test]
fn what_does_not_overlap_passes_as_it_is() {
    let sources = [
        [floats(&[(1, 1.0), (5, 2.0)]), floats(&[(20, 3.0)])].concat(),
        [floats(&[(6, 4.0)]), floats(&[(9, 5.0), (15, 6.0)])].concat(),
        vec![],
    ];
    let expected = [
        sources[0][0].clone(),
        sources[1][0].clone(),
        sources[1][1].clone(),
        sources[0][1].clone(),
    ];
    for rule in RULES {
        assert_eq!(merged(rule, &sources), Ok(expected.to_vec()), "{rule:?}");
        assert_eq!(merged(rule, &sources[2..]), Ok(vec![]));
        assert_eq!(merged(rule, &[]), Ok(vec![]));
    }
}

/// Chunks that newer Prometheus writes are carried along, whatever is in them.
#[test]
fn chunks_of_unknown_encoding_pass_too() {
    let mut bytes = vec![1, 4, 9];
    bytes.extend_from_slice(&crate::crc32c(&[4, 9]).to_be_bytes());
    let chunk = SeriesChunk::from_record(1, 2, &bytes.into(), 0).unwrap();
    for rule in RULES {
        assert_eq!(
            merged(rule, &[vec![chunk.clone()], floats(&[(3, 1.0)])]).unwrap()[0],
            chunk
        );
    }
    let error = merged(OverlapRule::OneToOne, &[vec![chunk], floats(&[(2, 1.0)])]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the chunk of 1 to 2: unsupported chunk encoding 4"),
        "{error}"
    );
}

#[test]
fn of_equal_chunks_one_is_kept_by_any_rule() {
    let chunks = floats(&every(10, 0..300, 1.0));
    for rule in RULES {
        let sources = [chunks.clone(), chunks.clone(), chunks.clone()];
        assert_eq!(merged(rule, &sources), Ok(chunks.clone()), "{rule:?}");
    }
}

#[test]
fn overlaps_can_be_refused() {
    let error = merged(
        OverlapRule::Refuse,
        &[floats(&[(1, 1.0), (5, 1.0)]), floats(&[(5, 1.0)])],
    );
    assert_eq!(
        error,
        Err(MergeError::Overlap {
            mint: 5,
            maxt: 5,
            other_maxt: 5
        })
    );
}

#[test]
fn one_to_one_keeps_every_timestamp_once() {
    let one = floats(&[(10, 1.0), (20, 1.0), (30, 1.0)]);
    let other = floats(&[(15, 2.0), (20, 2.0), (40, 2.0)]);
    let merged = merged(OverlapRule::OneToOne, &[one, other]).unwrap();
    assert_eq!(times(&merged), [10, 15, 20, 30, 40]);
}

/// The other side takes over behind a gap of more than twice the interval.
#[test]
fn penalty_stays_with_one_side_until_it_has_a_gap() {
    let mut one = every(15_000, 0..40, 1.0);
    one.drain(10..20);
    let other: Vec<(i64, f64)> = every(15_000, 0..40, 2.0)
        .iter()
        .map(|&(t, value)| (t + 3000, value))
        .collect();
    let merged = merged(OverlapRule::Penalty, &[floats(&one), floats(&other)]).unwrap();
    let values: Vec<f64> = samples(&merged)
        .iter()
        .map(|sample| match sample.value {
            Value::Float(value) => value,
            _ => f64::NAN,
        })
        .collect();
    assert_eq!(values[..10], [1.0; 10]);
    let turn = values.iter().position(|&value| value == 2.0).unwrap();
    assert!((10..=11).contains(&turn), "{turn}");
    assert!(times(&merged).array_windows().all(|[a, b]| b - a <= 45_000));
}

/// Loss, as in Thanos: what lies within the penalty is passed over, though the other side has nothing more.
#[test]
fn penalty_loses_what_ends_within_the_penalty() {
    let one = floats(&[(0, 1.0), (60_000, 1.0)]);
    let other = floats(&[(4_000, 2.0), (61_000, 2.0), (179_000, 2.0)]);
    let merged = merged(OverlapRule::Penalty, &[one, other]).unwrap();
    assert_eq!(times(&merged), [0, 60_000]);
}

/// Before there was an interval to measure, the other side has to be five seconds ahead.
#[test]
fn penalty_begins_with_five_seconds() {
    let one = floats(&[(0, 1.0), (15_000, 1.0), (30_000, 1.0)]);
    let with = |t| {
        merged(
            OverlapRule::Penalty,
            &[one.clone(), floats(&[(t, 2.0), (t + 60_000, 2.0)])],
        )
    };
    assert_eq!(times(&with(5_000).unwrap())[..2], [0, 15_000]);
    assert_eq!(times(&with(5_001).unwrap())[..2], [0, 5_001]);
}

/// Penalty merges what is encoded as the first chunk is, and drops the others.
#[test]
fn penalty_drops_chunks_of_another_encoding() {
    let first = floats(&[(10, 1.0), (20, 1.0)]);
    let other = framed([Sample {
        t: 15,
        value: Value::Histogram(Box::default()),
    }]);
    let merged = merged(OverlapRule::Penalty, &[first.clone(), other]).unwrap();
    assert_eq!(merged, first);
}

#[test]
fn one_to_one_joins_kinds_of_samples_in_turns() {
    let histogram = |t| Sample {
        t,
        value: Value::Histogram(Box::default()),
    };
    let one = floats(&[(10, 1.0), (20, 1.0), (40, 1.0)]);
    let merged = merged(
        OverlapRule::OneToOne,
        &[one, framed([histogram(15), histogram(30)])],
    )
    .unwrap();
    let encodings: Vec<_> = merged.iter().map(|chunk| chunk.encoding().unwrap()).collect();
    use Encoding::{Histogram, Xor};
    assert_eq!(encodings, [Xor, Histogram, Xor, Histogram, Xor]);
}

/// Between two lists nothing is known of resets, so the histogram decides by its counts.
#[test]
fn a_histogram_from_another_list_is_compared_anew() {
    let histogram = |t: i64, count: u64| Sample {
        t,
        value: Value::Histogram(Box::new(Histogram {
            layout: Layout {
                positive_spans: vec![Span { offset: 0, length: 1 }],
                ..Layout::default()
            }
            .into(),
            count,
            positive: vec![count as i64],
            ..Histogram::default()
        })),
    };
    let one = framed([histogram(10, 5), histogram(30, 6)]);
    let other = framed([histogram(20, 2), histogram(40, 3)]);
    let merged = merged(OverlapRule::OneToOne, &[one, other]).unwrap();
    assert_eq!(times(&merged), [10, 20, 30, 40]);
    assert_eq!(merged.len(), 3, "falls from 5 to 2 and from 6 to 3 begin chunks");
}

#[test]
fn aggregates_cannot_be_chained() {
    let aggregates = |mint, maxt| SeriesChunk::encode(mint, maxt, Encoding::Aggregate, &[0; 5]);
    let error = merged(
        OverlapRule::OneToOne,
        &[vec![aggregates(1, 9)], vec![aggregates(5, 12)]],
    );
    assert_eq!(error, Err(MergeError::Aggregates { mint: 1, maxt: 9 }));
}

#[test]
fn a_source_out_of_order_is_refused() {
    let chunks = [floats(&[(10, 1.0)]), floats(&[(5, 1.0)])].concat();
    assert_eq!(
        merged(OverlapRule::OneToOne, &[chunks]),
        Err(MergeError::Unsorted {
            source_index: 0,
            mint: 5,
            maxt: 5,
            after_mint: 10
        })
    );
    let mut merge = ChunkMerge::new(OverlapRule::Refuse, 2);
    assert_eq!(merge.step(), Ok(MergeStep::Pull(0)));
    assert_eq!(merge.push(1, None), Err(MergeError::Unasked { source_index: 1 }));
}

#[test]
fn a_broken_chunk_is_named() {
    let broken = SeriesChunk::encode(10, 20, Encoding::Xor, &[0, 9, 1, 2]);
    for rule in [OverlapRule::OneToOne, OverlapRule::Penalty] {
        let error = merged(rule, &[vec![broken.clone()], floats(&[(15, 1.0)])]).unwrap_err();
        assert!(error.to_string().contains("corrupt xor chunk"), "{error}");
    }
}

/// Two replicas of a hundred thousand chunks, all of which overlap one another in a chain.
#[test]
fn a_long_series_is_merged_within_a_window() {
    const CHUNKS: i64 = 100_000;
    const SAMPLES: i64 = 6;
    let chunk = |number: i64, shift: i64| {
        let start = number * SAMPLES * 15_000 + shift;
        let samples = (0..SAMPLES).map(|i| (start + i * 15_000, i as f64));
        floats(&samples.collect::<Vec<_>>()).remove(0)
    };
    for (rule, most_bytes) in [(OverlapRule::Penalty, 4096), (OverlapRule::OneToOne, 1 << 20)] {
        let mut merge = ChunkMerge::new(rule, 2);
        let mut next = [0; 2];
        let (mut held, mut given, mut last) = (0, 0u64, i64::MIN);
        loop {
            match merge.step().unwrap() {
                MergeStep::Pull(source) => {
                    let number = next[source];
                    next[source] += 1;
                    let shift = if source == 0 { 0 } else { 3000 };
                    let next = (number < CHUNKS).then(|| chunk(number, shift));
                    merge.push(source, next).unwrap();
                    held = held.max(merge.pending_bytes());
                }
                MergeStep::Emit(chunk) => {
                    assert!(chunk.mint > last && chunk.maxt >= chunk.mint);
                    last = chunk.maxt;
                    given += u64::from(chunk.num_samples().unwrap());
                }
                MergeStep::Done => break,
            }
        }
        assert!(held <= most_bytes, "{rule:?} held {held} bytes");
        match rule {
            OverlapRule::OneToOne => assert_eq!(given, 2 * (SAMPLES * CHUNKS) as u64),
            _ => assert_eq!(given, (SAMPLES * CHUNKS) as u64),
        }
    }
}

#[test]
fn too_many_chunks_at_a_time_are_refused() {
    let chunk = |number: i64| floats(&[(number, 1.0), (1_000_000, 2.0)]).remove(0);
    let self_overlapping: Vec<SeriesChunk> = (0..9000).map(chunk).collect();
    for rule in [OverlapRule::OneToOne, OverlapRule::Penalty] {
        let error = merged(rule, std::slice::from_ref(&self_overlapping)).unwrap_err();
        assert!(matches!(error, MergeError::TooManyOverlaps { .. }), "{error}");
    }
}

/// Lists of chunks for some sources: steady scrapes with gaps, cut into chunks, some of them the same in two.
fn sources() -> impl Strategy<Value = Vec<Vec<SeriesChunk>>> {
    let scrape = prop_oneof![6 => Just(15i64), 3 => 10i64..20, 1 => 20i64..400];
    let value = prop_oneof![9 => (0i32..5).prop_map(f64::from), 1 => Just(STALE_NAN)];
    let chunk = proptest::collection::vec((scrape, value), 1..12);
    let source = (0i64..60, proptest::collection::vec(chunk, 0..8));
    let copy = any::<bool>();
    (proptest::collection::vec(source, 0..5), copy).prop_map(|(sources, copy)| {
        let mut lists: Vec<Vec<SeriesChunk>> = sources
            .into_iter()
            .map(|(start, chunks)| list(start, chunks))
            .collect();
        if let (true, Some(first)) = (copy, lists.first().cloned()) {
            lists.push(first);
        }
        lists
    })
}

fn list(start: i64, chunks: Vec<Vec<(i64, f64)>>) -> Vec<SeriesChunk> {
    let mut t = start;
    let mut list = Vec::new();
    for samples in chunks {
        let samples: Vec<(i64, f64)> = samples
            .into_iter()
            .map(|(step, value)| {
                t += step;
                (t, value)
            })
            .collect();
        list.extend(floats(&samples));
    }
    list
}

proptest! {
    #[test]
    fn one_to_one_is_the_chain_of_the_rules(sources in sources()) {
        prop_assert_eq!(
            merged(OverlapRule::OneToOne, &sources).unwrap(),
            reference::merge(&sources, reference::chain)
        );
    }

    /// Only which of equal timestamps is kept may differ when not all chunks of a run can be looked at.
    #[test]
    fn a_small_window_keeps_the_same_timestamps(sources in sources(), window_chunks in 0usize..3) {
        let mut lists: Vec<_> = sources.iter().map(|chunks| chunks.iter().cloned().map(Ok)).collect();
        let mut merge = ChunkMerge::new(OverlapRule::OneToOne, lists.len());
        merge.window_chunks = window_chunks;
        let mut narrow = Vec::new();
        drive(merge, &mut lists, &mut |chunk| {
            narrow.push(chunk);
            Ok::<_, MergeError>(())
        })
        .unwrap();
        let wide = merged(OverlapRule::OneToOne, &sources).unwrap();
        prop_assert_eq!(times(&narrow), times(&wide));
        let all: usize = sources.iter().map(|source| times(source).len()).sum();
        if times(&wide).len() == all {
            prop_assert_eq!(narrow, wide, "without equal timestamps there is nothing to choose");
        }
    }

    #[test]
    fn penalty_is_the_pile_of_the_rules(sources in sources()) {
        prop_assert_eq!(
            merged(OverlapRule::Penalty, &sources).unwrap(),
            reference::merge(&sources, reference::penalty)
        );
    }

    #[test]
    fn results_are_in_order_and_one_to_one_has_all_timestamps(sources in sources()) {
        for rule in [OverlapRule::OneToOne, OverlapRule::Penalty] {
            let merged = merged(rule, &sources).unwrap();
            prop_assert!(merged.is_sorted_by(|one, other| one.maxt < other.mint));
            for chunk in &merged {
                let times = times(std::slice::from_ref(chunk));
                prop_assert_eq!((chunk.mint, chunk.maxt), (times[0], times[times.len() - 1]));
            }
            let all: std::collections::BTreeSet<i64> = sources.iter().flat_map(|source| times(source)).collect();
            if rule == OverlapRule::OneToOne {
                prop_assert!(times(&merged).into_iter().eq(all));
            } else {
                prop_assert!(times(&merged).iter().all(|t| all.contains(t)));
            }
        }
    }

    #[test]
    fn a_flipped_bit_never_panics(sources in sources(), at in any::<proptest::sample::Index>()) {
        let mut bytes = Vec::new();
        for (source, chunks) in (0u8..).zip(&sources) {
            for chunk in chunks {
                bytes.extend([source << 3, chunk.data().len().min(255) as u8, (chunk.mint % 250) as u8, 60]);
                bytes.extend(chunk.data().iter().take(255));
            }
        }
        if !bytes.is_empty() {
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        crate::fuzz::merge(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzz::merge(&data);
    }
}
