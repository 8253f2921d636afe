//! Every request of a run goes wrong once, in every way there is: nothing is ever lost, and a clean run mends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sabre_objstore::{Bucket, BucketExt, ErrorKind, ListEntry, MemoryBucket, Operation, SharedBucket};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};
use sabre_tsdb::merge::OverlapRule;

use super::fixture::{Fixture, START_MS, Samples, counters};
use crate::compactor::CompactorConfig;
use crate::plan::HOUR_MS;

const FAULTS: [Fault; 14] = [
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
];

/// What a test starts from, and what must be there in the end.
struct Scenario {
    name: &'static str,
    template: Fixture,
    configure: fn(&mut CompactorConfig),
    expected: Samples,
    /// Whether the samples are the same at any time: replicas are not before they are merged.
    is_constant: bool,
    /// How much later than the template the run is, in milliseconds.
    later_ms: i64,
}

impl Scenario {
    async fn new(
        name: &'static str,
        blocks: Vec<sabre_testkit::blocks::Block>,
        configure: fn(&mut CompactorConfig),
        is_constant: bool,
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
        Self {
            name,
            template,
            configure,
            expected,
            is_constant,
            later_ms: 0,
        }
    }

    async fn fixture(&self) -> (Fixture, FaultBucket) {
        let faulty = FaultBucket::new(copy(&self.template.bucket).await);
        let mut fixture = Fixture::on(Arc::new(faulty.clone()));
        (self.configure)(&mut fixture.config);
        fixture.now_ms.fetch_add(self.later_ms, Ordering::SeqCst);
        (fixture, faulty)
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
        faulty.heal();
        if self.is_constant {
            assert!(
                fixture.samples().await == self.expected,
                "{at} ({request:?}): samples are lost"
            );
        }
        fixture.now_ms.fetch_add(HOUR_MS, Ordering::SeqCst);
        let outcome = fixture.iterate().await;
        assert!(outcome.is_ok(), "{at} ({request:?}): {outcome:?}");
        assert!(
            fixture.samples().await == self.expected,
            "{at} ({request:?}): not the samples of a clean run"
        );
        // Two days on nothing but whole blocks is left.
        fixture.now_ms.fetch_add(97 * HOUR_MS, Ordering::SeqCst);
        let outcome = fixture.iterate().await;
        assert!(outcome.is_ok(), "{at} ({request:?}), cleaning: {outcome:?}");
        let view = fixture.view().await;
        assert!(view.partial.is_empty(), "{at} ({request:?}): {:?}", view.partial);
        assert!(fixture.bucket.pending_uploads("").await.unwrap().is_empty());
        assert!(
            fixture.samples().await == self.expected,
            "{at} ({request:?}): cleaning lost samples"
        );
        true
    }
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
    eprintln!(
        "{}: {runs} runs, {most} requests each, {} ways to go wrong: nothing lost",
        scenario.name,
        FAULTS.len()
    );
    assert!(most > 20, "the run made {most} requests");
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
    every_request(Scenario::new("compaction", blocks, |_| {}, true).await).await;
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
    every_request(Scenario::new("downsampling", blocks, |_| {}, true).await).await;
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
    every_request(Scenario::new("deduplication", blocks, configure, false).await).await;
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
    let mut scenario = Scenario::new("deletion", blocks, |_| {}, true).await;
    // The sources are marked, and two days later they go.
    scenario.template.iterate().await.unwrap();
    scenario.later_ms = 49 * HOUR_MS;
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
    let scenario = Scenario::new("once", blocks, |_| {}, true).await;
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
