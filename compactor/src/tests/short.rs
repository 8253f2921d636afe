//! Short blocks whose raw data retention takes away.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use sabre_model::BlockId;
use sabre_objstore::Bucket;
use sabre_tsdb::chunk::Value;
use sabre_tsdb::meta::{NoCompactMark, NoCompactReason};

use super::fixture::{Fixture, START_MS, counters};
use crate::plan::{HOUR_MS, RESOLUTION_1H_MS, RESOLUTION_5M_MS, RetentionPolicy};

async fn mark_no_compact(fixture: &Fixture, block: BlockId) -> String {
    let mark = NoCompactMark {
        id: block,
        details: String::new(),
        no_compact_time_s: 1,
        reason: NoCompactReason::Manual,
    };
    let key = format!("{block}/{}", NoCompactMark::FILE_NAME);
    let text = Bytes::from(mark.to_json());
    fixture.bucket.put(&key, text).await.unwrap();
    key
}

/// Begin, end and resolution in minutes of all blocks that count, in hours.
async fn ranges(fixture: &Fixture) -> Vec<(i64, i64, i64)> {
    let hours = |ms: i64| (ms - START_MS) / HOUR_MS;
    let blocks = fixture.blocks().await;
    let range = blocks.iter().map(|meta| {
        let minutes = meta.resolution_ms() / 60_000;
        (hours(meta.min_time), hours(meta.max_time), minutes)
    });
    range.collect()
}

/// Nobody sends data of this cluster any more, and it never had 40 h of it.
#[tokio::test]
async fn what_is_left_of_a_short_stretch_becomes_data_of_5_minutes_and_of_1_hour() {
    let mut fixture = Fixture::new();
    fixture.config.policy.retention = RetentionPolicy {
        raw_ms: 48 * HOUR_MS,
        five_minutes_ms: 400 * HOUR_MS,
        one_hour_ms: 0,
    };
    for n in 0..3 {
        fixture
            .put(&counters(n as u64 + 1, n * 2, n * 2 + 2, 2).build().unwrap())
            .await;
    }
    fixture.now_ms.store(START_MS + 384 * HOUR_MS, Ordering::SeqCst);
    fixture.iterate().await.unwrap();
    assert_eq!(
        ranges(&fixture).await,
        [(0, 2, 0), (2, 4, 0), (4, 6, 0)],
        "the two weeks may still be filled"
    );
    assert!(fixture.metric("sabre_compact_retention_waiting_blocks 3"));
    fixture.now_ms.fetch_add(HOUR_MS, Ordering::SeqCst);
    fixture.iterate().await.unwrap();
    assert_eq!(ranges(&fixture).await, [(0, 2, 5), (2, 4, 5), (4, 6, 5)]);
    let five = fixture.aggregates().await;
    fixture.now_ms.fetch_add(200 * HOUR_MS, Ordering::SeqCst);
    fixture.iterate().await.unwrap();
    assert_eq!(ranges(&fixture).await, [(0, 2, 60), (2, 4, 60), (4, 6, 60)]);
    let hour = fixture.aggregates().await;
    let count = |all: &super::fixture::Aggregates, resolution_ms: i64| -> f64 {
        let counts = all
            .iter()
            .filter(|((at_ms, _, place), _)| (*at_ms, *place) == (resolution_ms, 0));
        let samples = counts.flat_map(|(_, samples)| samples);
        samples
            .map(|sample| match sample.value {
                Value::Float(value) => value,
                _ => 0.0,
            })
            .sum()
    };
    assert_eq!(count(&five, RESOLUTION_5M_MS), 2.0 * 360.0);
    assert_eq!(count(&hour, RESOLUTION_1H_MS), 2.0 * 360.0);
}

#[tokio::test]
async fn aggregates_stay_when_the_parts_that_they_were_made_of_are_compacted_after_all() {
    let mut fixture = Fixture::new();
    fixture.config.policy.retention.raw_ms = 48 * HOUR_MS;
    let mut ids = Vec::new();
    for n in 0..6 {
        let block = counters(n as u64 + 1, n * 8, n * 8 + 8, 1);
        ids.push(fixture.put(&block.build().unwrap()).await);
    }
    fixture.put(&counters(9, 48, 50, 1).build().unwrap()).await;
    let key = mark_no_compact(&fixture, ids[0]).await;
    fixture.now_ms.store(START_MS + 57 * HOUR_MS, Ordering::SeqCst);
    // The raw block stays, as if the process had been killed right after the aggregate was there.
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    compactor.iterate().await.unwrap();
    let deletion = format!("{}/deletion-mark.json", ids[0]);
    fixture.bucket.delete(&deletion).await.unwrap();
    assert_eq!(
        ranges(&fixture).await,
        [(0, 8, 0), (8, 48, 0), (48, 50, 0), (0, 8, 5), (8, 48, 5)]
    );
    fixture.bucket.delete(&key).await.unwrap();
    fixture.iterate().await.unwrap();
    assert_eq!(
        ranges(&fixture).await,
        [(0, 48, 0), (48, 50, 0), (0, 8, 5), (8, 48, 5)],
        "nothing is missing, and nothing overlaps"
    );
    assert!(fixture.metric("thanos_compact_halted 0"));
}
