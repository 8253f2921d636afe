//! Every request of a run goes wrong once, in every way there is: nothing is ever lost, and a clean run mends it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sabre_model::Labels;
use sabre_objstore::{Bucket, BucketExt, ErrorKind, ListEntry, MemoryBucket, Operation, SharedBucket};
use sabre_testkit::blocks::{Block, BlockBuilder};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};
use sabre_tsdb::chunk::Value;
use sabre_tsdb::chunk::aggregate::Aggregate;
use sabre_tsdb::merge::OverlapRule;

use super::fixture::{Aggregates, Fixture, START_MS, Samples, counters};
use crate::compactor::CompactorConfig;
use crate::plan::{HOUR_MS, RESOLUTION_1H_MS, RESOLUTION_5M_MS};

const FAULTS: [Fault; 15] = [
    Fault::Error(ErrorKind::Unavailable),
    Fault::Error(ErrorKind::Throttled),
    Fault::Error(ErrorKind::Timeout),
    Fault::Error(ErrorKind::NotFound),
    Fault::Error(ErrorKind::AccessDenied),
    Fault::LostAnswer(ErrorKind::Unavailable),
    Fault::Truncate,
    Fault::BitFlip(12_345),
    Fault::BitFlip(3),
    Fault::BitFlip(800),
    Fault::BitFlip(4_321),
    Fault::BitFlip(77_777),
    Fault::Crash,
    Fault::CrashAfter,
    Fault::CrashMidway,
];

/// What holds of a bucket at any time, whatever went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Always {
    /// The raw samples are those of a clean run.
    Samples,
    /// Of each window of 5 minutes, the raw samples are there or what was made of them.
    SamplesOrAggregates,
    /// Nothing of the kind: replicas are not the same before they are merged.
    Nothing,
}

/// After how many hours a run follows the one that went wrong, and after how many more the one that cleans up.
const LATER_H: [i64; 2] = [1, 97];

/// What a test starts from, and what must be there in the end.
struct Scenario {
    name: &'static str,
    template: Fixture,
    configure: fn(&mut CompactorConfig),
    /// The raw samples after one clean run.
    expected: Samples,
    /// The raw samples and aggregates when a clean run was followed by the runs that clean up.
    cleaned: (Samples, Aggregates),
    always: Always,
    /// How many uploads a crash left behind, over all runs.
    left_behind: AtomicUsize,
    /// Whether its runs write blocks.
    uploads: bool,
    /// How much later than the template the run is, in milliseconds.
    later_ms: i64,
}

impl Scenario {
    async fn new(
        name: &'static str,
        blocks: Vec<Block>,
        configure: fn(&mut CompactorConfig),
        always: Always,
    ) -> Self {
        let template = Fixture::new();
        for block in &blocks {
            template.put(block).await;
        }
        let mut clean = Fixture::on(copy(&template.bucket).await);
        configure(&mut clean.config);
        clean.iterate().await.unwrap();
        let expected = clean.samples().await;
        assert!(!expected.is_empty());
        for later_h in LATER_H {
            clean.now_ms.fetch_add(later_h * HOUR_MS, Ordering::SeqCst);
            clean.iterate().await.unwrap();
        }
        let cleaned = (clean.samples().await, clean.aggregates().await);
        Self {
            name,
            template,
            configure,
            expected,
            cleaned,
            always,
            left_behind: AtomicUsize::new(0),
            uploads: true,
            later_ms: 0,
        }
    }

    async fn fixture(&self) -> (Fixture, FaultBucket) {
        let faulty = FaultBucket::new(copy(&self.template.bucket).await);
        let mut fixture = Fixture::on(Arc::new(faulty.clone()));
        (self.configure)(&mut fixture.config);
        fixture.now_ms.fetch_add(self.later_ms, Ordering::SeqCst);
        faulty.set_now_ms(fixture.now_ms.load(Ordering::SeqCst));
        (fixture, faulty)
    }

    async fn check_always(&self, fixture: &Fixture, at: &str) {
        match self.always {
            Always::Samples => assert!(fixture.samples().await == self.expected, "{at}: samples are lost"),
            Always::SamplesOrAggregates => {
                let mut held = windows(&fixture.aggregates().await);
                for (labels, samples) in fixture.samples().await {
                    let windows = samples.iter().map(|sample| window(sample.t));
                    held.entry(labels).or_default().extend(windows);
                }
                for (labels, windows) in windows(&self.cleaned.1) {
                    let held = held.get(&labels);
                    let lost = windows
                        .iter()
                        .filter(|window| held.is_none_or(|held| !held.contains(window)));
                    assert_eq!(
                        lost.count(),
                        0,
                        "{at}: samples are lost that no aggregate stands for"
                    );
                }
            }
            Always::Nothing => {}
        }
    }

    /// Runs with the request `n` going wrong, then cleanly. False if there is no such request.
    async fn run(&self, n: usize, fault: Fault) -> bool {
        let at = format!("{}: request {n}, {fault:?}", self.name);
        let (fixture, faulty) = self.fixture().await;
        faulty.add(Rule::nth(n, fault));
        // What comes of it does not matter, but that it comes to an end.
        let _ = faulty.until_crash(fixture.iterate()).await;
        if faulty.triggered() == 0 {
            return false;
        }
        let request = faulty.requests().get(n).cloned();
        let has_checksum = request
            .as_ref()
            .is_some_and(|request| !request.key.ends_with(".json"));
        if matches!(fault, Fault::BitFlip(_)) && !has_checksum {
            // The format gives these files no checksum: what is flipped may be a number of another meaning.
            return true;
        }
        let at = format!("{at} ({request:?})");
        self.left_behind
            .fetch_add(faulty.left_behind(), Ordering::Relaxed);
        faulty.heal();
        self.check_always(&fixture, &at).await;
        let [next_h, cleaning_h] = LATER_H;
        fixture.now_ms.fetch_add(next_h * HOUR_MS, Ordering::SeqCst);
        let outcome = fixture.iterate().await;
        assert!(outcome.is_ok(), "{at}: {outcome:?}");
        assert!(
            fixture.samples().await == self.expected,
            "{at}: not the samples of a clean run"
        );
        // Two days on nothing but whole blocks is left.
        fixture.now_ms.fetch_add(cleaning_h * HOUR_MS, Ordering::SeqCst);
        let outcome = fixture.iterate().await;
        assert!(outcome.is_ok(), "{at}, cleaning: {outcome:?}");
        let view = fixture.view().await;
        assert!(view.partial.is_empty(), "{at}: {:?}", view.partial);
        let pending = fixture.bucket.pending_uploads("").await.unwrap();
        assert!(pending.is_empty(), "{at}: uploads are left: {pending:?}");
        let (samples, aggregates) = &self.cleaned;
        assert!(fixture.samples().await == *samples, "{at}: cleaning lost samples");
        assert_eq!(
            totals(&fixture.aggregates().await),
            totals(aggregates),
            "{at}: not the aggregates of a clean run"
        );
        true
    }
}

/// By resolution, labels and place of the aggregate: all counts, all sums, the least and the greatest. Windows at the
/// edge of a block have another time when the block was downsampled before it was compacted, and the counter goes on from
/// chunk to chunk, so single samples may differ.
fn totals(aggregates: &Aggregates) -> BTreeMap<&(i64, Labels, usize), f64> {
    let mut totals = BTreeMap::new();
    for (key, samples) in aggregates {
        let values = samples.iter().map(|sample| match sample.value {
            Value::Float(value) => value,
            _ => panic!("the counters are floats"),
        });
        let total = match Aggregate::ALL[key.2] {
            // Whole numbers: in any order their sum is the same.
            Aggregate::Count | Aggregate::Sum => values.sum(),
            Aggregate::Min => values.fold(f64::INFINITY, f64::min),
            Aggregate::Max => values.fold(f64::NEG_INFINITY, f64::max),
            Aggregate::Counter => continue,
        };
        totals.insert(key, total);
    }
    totals
}

/// The windows of 5 minutes that data of that resolution stands for, by series.
fn windows(aggregates: &Aggregates) -> BTreeMap<Labels, BTreeSet<i64>> {
    let mut windows = BTreeMap::<_, BTreeSet<_>>::new();
    for ((resolution_ms, labels, place), samples) in aggregates {
        if (*resolution_ms, *place) == (RESOLUTION_5M_MS, Aggregate::Count as usize) {
            let found = samples.iter().map(|sample| window(sample.t));
            windows.entry(labels.clone()).or_default().extend(found);
        }
    }
    windows
}

fn window(t: i64) -> i64 {
    t.div_euclid(RESOLUTION_5M_MS)
}

async fn copy(from: &SharedBucket) -> SharedBucket {
    let to = MemoryBucket::new("b");
    to.set_now_ms(START_MS + 400 * HOUR_MS);
    for entry in from.list_all("", true, 10_000).await.unwrap() {
        let ListEntry::Object(object) = entry else {
            continue;
        };
        let bytes = from.get_all(&object.key, 1 << 30).await.unwrap();
        to.put(&object.key, bytes).await.unwrap();
    }
    Arc::new(to)
}

async fn every_request(scenario: Scenario) {
    let mut runs = 0;
    let mut most = 0;
    for fault in FAULTS {
        for n in 0.. {
            if !scenario.run(n, fault).await {
                most = most.max(n);
                break;
            }
            runs += 1;
        }
    }
    let left = scenario.left_behind.load(Ordering::Relaxed);
    eprintln!(
        "{}: {runs} runs, {most} requests each, {} ways to go wrong, {left} uploads left behind and aborted: nothing lost",
        scenario.name,
        FAULTS.len()
    );
    assert!(most > 20, "the run made {most} requests");
    assert!(runs > FAULTS.len() * 20, "{runs} runs");
    assert!(
        left > 0 || !scenario.uploads,
        "no crash left an upload behind, so nothing shows that they are aborted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_survives_every_fault_at_every_request() {
    let mut blocks = Vec::new();
    for n in 0..5 {
        blocks.push(
            counters(n + 1, n as i64 * 2, n as i64 * 2 + 2, 2)
                .build()
                .unwrap(),
        );
    }
    every_request(Scenario::new("compaction", blocks, |_| {}, Always::Samples).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_with_downsampling_survives_every_fault_at_every_request() {
    let mut blocks = Vec::new();
    for n in 0..7 {
        blocks.push(
            counters(n + 1, n as i64 * 8, n as i64 * 8 + 8, 1)
                .build()
                .unwrap(),
        );
    }
    every_request(Scenario::new("downsampling", blocks, |_| {}, Always::Samples).await).await;
}

/// Two weeks become one block, then data of 5 minutes and of 1 hour, and the raw data is past its retention.
#[tokio::test(flavor = "multi_thread")]
async fn retention_after_both_resolutions_survives_every_fault_at_every_request() {
    // The third is there because the newest block of a resolution is never compacted.
    let weeks = [(0, 168), (168, 336), (336, 398)];
    let mut blocks: Vec<Block> = (1..)
        .zip(weeks)
        .map(|(n, (from_h, to_h))| {
            let range = START_MS + from_h * HOUR_MS..START_MS + to_h * HOUR_MS;
            let block = BlockBuilder::new(START_MS as u64 + n)
                .ext_labels(&[("cluster", "eu1")])
                .time_range(range.clone());
            block.counters(1, range, 600_000).build().unwrap()
        })
        .collect();
    // Nothing is ever made of that one: it goes as it is.
    let alone = counters(4, 0, 2, 1).ext_labels(&[("cluster", "us1")]);
    blocks.push(alone.build().unwrap());
    let configure = |config: &mut CompactorConfig| config.policy.retention.raw_ms = 63 * HOUR_MS;
    let scenario = Scenario::new("retention", blocks, configure, Always::SamplesOrAggregates).await;
    let (raw, aggregates) = &scenario.cleaned;
    assert!(raw.is_empty(), "all raw data is past its retention in the end");
    for resolution_ms in [RESOLUTION_5M_MS, RESOLUTION_1H_MS] {
        assert!(aggregates.keys().any(|(made_ms, ..)| *made_ms == resolution_ms));
    }
    every_request(scenario).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deduplication_survives_every_fault_at_every_request() {
    let mut blocks = Vec::new();
    for (n, replica) in ["a", "b"].iter().enumerate() {
        let labels = [("cluster", "eu1"), ("replica", *replica)];
        blocks.push(
            counters(n as u64 + 1, 0, 2, 2)
                .ext_labels(&labels)
                .build()
                .unwrap(),
        );
        blocks.push(
            counters(n as u64 + 3, 2, 4, 2)
                .ext_labels(&labels)
                .build()
                .unwrap(),
        );
    }
    let configure = |config: &mut CompactorConfig| {
        config.replica_labels = vec!["replica".to_owned()];
        config.policy.vertical = true;
        config.policy.merges_aggregates = true;
        config.rule = OverlapRule::Penalty;
    };
    every_request(Scenario::new("deduplication", blocks, configure, Always::Nothing).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_survive_every_fault_at_every_request() {
    let mut blocks = Vec::new();
    for n in 0..5 {
        blocks.push(
            counters(n + 1, n as i64 * 2, n as i64 * 2 + 2, 1)
                .build()
                .unwrap(),
        );
    }
    let mut scenario = Scenario::new("deletion", blocks, |_| {}, Always::Samples).await;
    // The sources are marked, and two days later they go.
    scenario.template.iterate().await.unwrap();
    scenario.later_ms = 49 * HOUR_MS;
    scenario.uploads = false;
    every_request(scenario).await;
}

#[tokio::test]
async fn a_run_reads_each_source_once() {
    let mut blocks = Vec::new();
    for n in 0..5 {
        blocks.push(
            counters(n + 1, n as i64 * 2, n as i64 * 2 + 2, 2)
                .build()
                .unwrap(),
        );
    }
    let scenario = Scenario::new("once", blocks, |_| {}, Always::Samples).await;
    let (fixture, faulty) = scenario.fixture().await;
    fixture.iterate().await.unwrap();
    let ranged: Vec<String> = faulty
        .requests()
        .into_iter()
        .filter(|request| request.operation == Operation::GetRange)
        .map(|request| request.key)
        .collect();
    assert_eq!(
        ranged.len(),
        8,
        "index and segment of four sources, one request each: {ranged:?}"
    );
}
