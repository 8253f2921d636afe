use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const ALL: MergeLimits = MergeLimits {
    series: usize::MAX,
    fetch_bytes: u64::MAX,
    memory_bytes: usize::MAX,
    steps: usize::MAX,
};

type Stream = Vec<(Vec<u8>, Vec<Pick>)>;
type Times = Vec<(i64, u64)>;
type Merged = Vec<(Vec<u8>, Vec<MergedPick>)>;

fn pick(mint_ms: i64, chunk_ref: u64) -> Pick {
    Pick {
        mint_ms,
        maxt_ms: mint_ms + 5,
        chunk_ref,
        len_bytes: 10,
    }
}

/// Runs the merger over streams that come in batches of `step` series.
fn merge(streams: &[Stream], step: usize, limit: u64, limits: MergeLimits) -> Vec<Merged> {
    let mut at = vec![0; streams.len()];
    let mut merger = Merger::new(streams.len(), limit);
    let mut out = Vec::new();
    loop {
        let mut batch = MergedBatch::default();
        loop {
            match merger.fill(&mut batch, limits) {
                Stop::Need(stream) => {
                    let rest = &streams[stream][at[stream]..];
                    at[stream] += rest.len().min(step);
                    let mut series = SeriesBatch::default();
                    rest.iter()
                        .take(step)
                        .for_each(|(key, picks)| series.push(key, picks));
                    merger.supply(stream, Some(series).filter(|series| !series.is_empty()));
                }
                Stop::Pause => {}
                stop => {
                    let series = (0..batch.len())
                        .map(|n| (batch.key(n).to_vec(), batch.picks()[batch.pick_range(n)].to_vec()));
                    out.push(series.collect());
                    if stop == Stop::End {
                        return out;
                    }
                    break;
                }
            }
        }
    }
}

#[test]
fn equal_series_become_one_with_chunks_in_order_of_time() {
    let streams = [
        vec![
            (b"a".to_vec(), vec![pick(10, 1)]),
            (b"b".to_vec(), vec![pick(0, 2)]),
        ],
        vec![
            (b"a".to_vec(), vec![pick(0, 3), pick(20, 4)]),
            (b"a".to_vec(), vec![pick(30, 5)]),
        ],
    ];
    let merged = merge(&streams, 1, 0, ALL).concat();
    assert_eq!(merged.len(), 2);
    let refs: Vec<u64> = merged[0].1.iter().map(|pick| pick.pick.chunk_ref).collect();
    assert_eq!(refs, [3, 1, 4, 5]);
    assert_eq!(merged[0].1[0].stream, 1);
}

#[test]
fn no_streams_and_empty_streams_end_at_once() {
    assert_eq!(merge(&[], 1, 0, ALL), [Merged::new()]);
    assert_eq!(merge(&[vec![], vec![]], 1, 0, ALL), [Merged::new()]);
}

#[test]
fn a_limit_counts_merged_series() {
    let stream: Stream = (0..5).map(|n| (vec![n], vec![])).collect();
    let merged = merge(&[stream.clone(), stream], 2, 3, ALL).concat();
    assert_eq!(merged.len(), 3);
}

#[test]
fn a_series_larger_than_a_batch_is_cut_between_chunks() {
    let picks: Vec<Pick> = (0..10).map(|n| pick(n, n as u64 * 10)).collect();
    let limits = MergeLimits {
        fetch_bytes: 30,
        ..ALL
    };
    let batches = merge(&[vec![(b"a".to_vec(), picks.clone())]], 1, 1, limits);
    assert_eq!(batches.len(), 4);
    let all: Vec<Pick> = batches
        .concat()
        .iter()
        .flat_map(|(_, picks)| picks.iter().map(|p| p.pick))
        .collect();
    assert_eq!(all, picks);
    assert!(batches.concat().iter().all(|(key, _)| key == b"a"));
}

#[test]
fn a_small_series_is_not_cut_for_the_gap_before_it() {
    let near = vec![pick(0, 100)];
    let far = vec![pick(0, 100_000), pick(5, 100_010)];
    let stream = vec![(b"a".to_vec(), near), (b"b".to_vec(), far.clone())];
    let limits = MergeLimits {
        fetch_bytes: 50,
        ..ALL
    };
    let batches = merge(&[stream], 1, 0, limits);
    let series: Vec<usize> = batches.iter().map(Vec::len).collect();
    assert_eq!(series, [1, 1]);
    let of_far: Vec<Pick> = batches[1][0].1.iter().map(|merged| merged.pick).collect();
    assert_eq!(of_far, far);
}

#[test]
fn gaps_that_will_be_read_over_count() {
    let mut batch = MergedBatch::default();
    batch.push(MergedPick {
        stream: 0,
        pick: pick(0, 100),
    });
    batch.push(MergedPick {
        stream: 0,
        pick: pick(1, 1000),
    });
    batch.push(MergedPick {
        stream: 1,
        pick: pick(1, 5000),
    });
    batch.push(MergedPick {
        stream: 0,
        pick: pick(2, 10_000_000),
    });
    assert_eq!(batch.fetch_bytes(), 10 + 900 + 10 + 10);
}

proptest! {
    #[test]
    fn merging_collects_every_series_once_and_in_order(
        streams in proptest::collection::vec(proptest::collection::vec((0u8..20, 0i64..9), 0..12), 0..12),
        step in 1usize..4, steps in 1usize..9, series in 1usize..5, fetch_bytes in 1u64..60, limit in 0u64..8,
    ) {
        let mut number = 0;
        let streams: Vec<Stream> = streams.into_iter().map(|mut stream| {
            stream.sort();
            stream.into_iter().map(|(key, time)| {
                number += 10;
                (vec![key], vec![pick(time, number), pick(time + 1, number)])
            }).collect()
        }).collect();
        let limits = MergeLimits { series, fetch_bytes, memory_bytes: usize::MAX, steps };
        let batches = merge(&streams, step, limit, limits);
        prop_assert!(batches.iter().all(|batch| batch.len() <= series));

        let mut expected: BTreeMap<Vec<u8>, Times> = BTreeMap::new();
        for (key, picks) in streams.iter().flatten() {
            expected.entry(key.clone()).or_default().extend(picks.iter().map(|p| (p.mint_ms, p.chunk_ref)));
        }
        if limit > 0 {
            expected = expected.into_iter().take(limit as usize).collect();
        }
        let mut got: Vec<(Vec<u8>, Times)> = Vec::new();
        for (key, picks) in batches.concat() {
            let times = picks.iter().map(|p| (p.pick.mint_ms, p.pick.chunk_ref));
            match got.last_mut() {
                Some(last) if last.0 == key => last.1.extend(times),
                _ => got.push((key, times.collect())),
            }
        }
        for (key, times) in &got {
            prop_assert!(times.is_sorted_by_key(|time| time.0), "{:?}: {:?}", key, times);
        }
        got.iter_mut().for_each(|(_, times)| times.sort());
        let mut expected: Vec<_> = expected.into_iter().collect();
        expected.iter_mut().for_each(|(_, times)| times.sort());
        prop_assert_eq!(got, expected);
    }
}
