//! Which blocks count: what the flags say, as they stand on the command line.

use sabre_model::BlockId;
use sabre_model::time::format_rfc3339_ms;
use sabre_runtime::flags::parse_groups;
use sabre_tsdb::meta::DeletionMark;

use super::fixture::{Fixture, START_MS, counters};
use crate::config::CompactSettings;
use crate::flags::command;
use crate::plan::{HOUR_MS, render};

const MINUTE_MS: i64 = 60_000;

/// Of block n, which has the two hours from 2 n on.
const AGES_MS: [i64; 5] = [
    100 * HOUR_MS,
    100 * HOUR_MS,
    100 * HOUR_MS,
    45 * MINUTE_MS,
    15 * MINUTE_MS,
];

/// How long ago block 0 was marked.
const MARKED_MS: i64 = 10 * HOUR_MS;

/// The blocks that count, by number, for a compactor with these flags.
async fn counted(more: &[&str]) -> Vec<i64> {
    let mut fixture = Fixture::new();
    let now_ms = START_MS + 400 * HOUR_MS;
    for (n, age_ms) in (0_u8..).zip(AGES_MS) {
        let id = BlockId::from_parts((now_ms - age_ms) as u64, [n; 10]);
        let from_h = i64::from(n) * 2;
        let block = counters(0, from_h, from_h + 2, 1).ext_labels(&[("shard", &n.to_string())]);
        fixture.put(&block.id(id).build().unwrap()).await;
        if n == 0 {
            let mark = DeletionMark {
                id,
                details: String::new(),
                deletion_time_s: (now_ms - MARKED_MS) / 1000,
            };
            let key = format!("{id}/deletion-mark.json");
            fixture.bucket.put(&key, mark.to_json().into()).await.unwrap();
        }
    }
    let data = format!("--data-dir={}", fixture.config.data_dir.display());
    let arguments = [["--objstore.config=type: FILESYSTEM", &data].as_slice(), more].concat();
    let flags = parse_groups(&command().groups, &arguments).unwrap();
    fixture.config = CompactSettings::from_flags(&flags).unwrap().config;
    let metas = fixture.view().await.metas;
    let mut numbers: Vec<i64> = metas
        .iter()
        .map(|meta| (meta.min_time - START_MS) / (2 * HOUR_MS))
        .collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn blocks_outside_the_times_of_the_flags_do_not_count() {
    let flag = |name: &str, hours: i64| format!("--{name}={}", format_rfc3339_ms(START_MS + hours * HOUR_MS));
    let (from, until) = (flag("min-time", 5), flag("max-time", 5));
    assert_eq!(counted(&[]).await, [0, 1, 2, 3]);
    assert_eq!(counted(&[&from]).await, [2, 3]);
    assert_eq!(counted(&[&until]).await, [0, 1, 2]);
    assert_eq!(counted(&[&from, &until]).await, [2]);
}

#[tokio::test]
async fn blocks_that_the_relabelling_of_the_flag_drops_do_not_count() {
    let odd = "--selector.relabel-config=[{action: keep, source_labels: [shard], regex: '[13]'}]";
    assert_eq!(counted(&[odd]).await, [1, 3]);
}

#[tokio::test]
async fn blocks_younger_than_the_flag_says_do_not_count() {
    assert_eq!(counted(&["--consistency-delay=0s"]).await, [0, 1, 2, 3, 4]);
    assert_eq!(counted(&["--consistency-delay=1h"]).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_plan_says_which_blocks_are_too_young_and_until_when() {
    let mut fixture = Fixture::new();
    fixture.config.consistency_delay_ms = 30 * MINUTE_MS;
    let now_ms = START_MS + 400 * HOUR_MS;
    let mut told = Vec::new();
    for (n, age_ms) in [(1_u8, 10 * MINUTE_MS), (2, 20 * MINUTE_MS), (3, 30 * MINUTE_MS)] {
        let id = BlockId::from_parts((now_ms - age_ms) as u64, [n; 10]);
        let block = counters(0, i64::from(n) * 2, i64::from(n) * 2 + 2, 1).id(id);
        fixture.put(&block.build().unwrap()).await;
        let compactor = fixture.compactor();
        let actions = compactor.plan().await.unwrap();
        told.push(render(&actions, &compactor.young(), now_ms));
    }
    let until = |minutes: i64| format_rfc3339_ms(now_ms + minutes * MINUTE_MS);
    let one = format!(
        "nothing to do; 1 block is younger than --consistency-delay (30m) and waits until {}",
        until(20)
    );
    let two = format!(
        "nothing to do; 2 blocks are younger than --consistency-delay (30m) and wait, the first until {}",
        until(10)
    );
    // The third is old enough.
    assert_eq!(told, [one, two.clone(), two]);
}

#[tokio::test]
async fn blocks_marked_for_half_the_delay_of_the_flag_do_not_count() {
    assert_eq!(counted(&["--delete-delay=19h"]).await, [1, 2, 3]);
    assert_eq!(counted(&["--delete-delay=21h"]).await, [0, 1, 2, 3]);
}
