//! What metrics say of reads: touched is what an answer is made of, fetched is what came from the bucket.

use std::sync::Arc;

use sabre_model::{
    BlockId,
    MatchKind::{Eq, Re},
};
use sabre_objstore::{BucketExt, MemoryBucket, Metered, Operation, SharedBucket};
use sabre_proto::thanos::SeriesRequest;
use sabre_runtime::metrics::Registry;
use sabre_testkit::{
    fault::{Fault, FaultBucket, Rule},
    series::SeriesAnswer,
};
use sabre_tsdb::index::{
    Toc,
    series::{SeriesEntry, decode_into},
};

use crate::{
    common::{TestStore, request, start},
    data::{block, put},
};

const SERIES: usize = 500;

/// One series in fifty.
const EACH: usize = 50;

/// A bucket whose bytes are counted, in memory, with one block.
struct Counted {
    memory: Arc<MemoryBucket>,
    faults: FaultBucket,
    registry: Registry,
    block: BlockId,
}

impl Counted {
    async fn new() -> Self {
        let memory = Arc::new(MemoryBucket::new("test"));
        let block = put(&*memory, block(1, 0, 1, SERIES)).await;
        Self {
            faults: FaultBucket::new(Arc::clone(&memory) as SharedBucket),
            memory,
            registry: Registry::new(),
            block: block.meta.ulid,
        }
    }

    async fn store(&self) -> TestStore {
        let store = start(Arc::new(Metered::new(self.faults.clone(), &self.registry))).await;
        store.gateway.warm(crate::common::NOW_MS).await;
        self.faults.heal();
        store
    }

    fn read_bytes(&self) -> u64 {
        let of = "thanos_objstore_bucket_operation_fetched_bytes_total";
        sum_of(&self.registry, of, "operation=\"get_range\"")
    }

    /// The bytes of the entries of these series, by their order in the index.
    async fn entry_bytes(&self, is_one: impl Fn(usize) -> bool) -> u64 {
        let key = format!("{}/index", self.block);
        let index = self.memory.get_all(&key, 1 << 30).await.unwrap();
        let toc = Toc::decode(&index[index.len() - 52..]).unwrap();
        let (mut at, end) = (toc.series as usize, toc.label_indices as usize);
        let (mut entry, mut number, mut sum) = (SeriesEntry::default(), 0, 0);
        while number < SERIES {
            at = at.next_multiple_of(16);
            assert!(at < end);
            let len = decode_into(&index[at..], &mut entry).unwrap();
            sum += if is_one(number) { len as u64 } else { 0 };
            number += 1;
            at += len;
        }
        sum
    }
}

/// The sum of the lines of a metric that have this label.
fn sum_of(registry: &Registry, name: &str, label: &str) -> u64 {
    let text = registry.classic();
    let lines = text
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(label));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as u64)
        .sum()
}

/// Bytes touched and fetched so far.
fn bytes_of(store: &TestStore, kind: &str) -> (u64, u64) {
    let sum = |of: &str| {
        let name = format!("thanos_bucket_store_series_data_size_{of}_bytes_sum");
        sum_of(&store.registry, &name, &format!("data_type=\"{kind}\""))
    };
    (sum("touched"), sum("fetched"))
}

fn fetched(store: &TestStore) -> u64 {
    ["postings", "series", "chunks"]
        .map(|kind| bytes_of(store, kind).1)
        .iter()
        .sum()
}

fn some() -> SeriesRequest {
    request(&[
        (Eq, "__name__", "requests_total"),
        (Re, "pod", "pod-00[0-9](00|50)"),
    ])
}

/// The bytes of the records of all chunks: a length, a byte of encoding, the data, a checksum.
fn record_bytes(answer: &SeriesAnswer) -> u64 {
    let chunks = answer.series.iter().flat_map(|(_, chunks)| chunks);
    let lens = chunks.map(|chunk| chunk.raw.as_ref().unwrap().data.len() as u64);
    lens.map(|len| len + if len < 128 { 1 } else { 2 } + 1 + 4).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn touched_is_what_was_used_and_fetched_what_was_read() {
    let counted = Counted::new().await;
    let store = counted.store().await;
    let before = counted.read_bytes();
    let answer = store.series(some()).await.unwrap();
    assert_eq!(answer.series.len(), SERIES / EACH);
    let read = counted.read_bytes() - before;
    assert_eq!(fetched(&store), read);
    assert_eq!(
        bytes_of(&store, "series").0,
        counted.entry_bytes(|number| number % EACH == 0).await
    );
    let (touched, fetched) = bytes_of(&store, "chunks");
    assert_eq!(touched, record_bytes(&answer));
    assert!(fetched > touched, "there are gaps");
    // Of the cache nothing is read, and as much is used.
    let before = counted.read_bytes();
    store.series(some()).await.unwrap();
    assert_eq!(bytes_of(&store, "chunks").0, 2 * touched);
    let (touched, fetched) = bytes_of(&store, "series");
    assert_eq!(
        touched,
        2 * counted.entry_bytes(|number| number % EACH == 0).await
    );
    let all = ["postings", "series", "chunks"].map(|kind| bytes_of(&store, kind).1);
    assert_eq!(all.iter().sum::<u64>(), read + counted.read_bytes() - before);
    assert!(fetched > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_again_is_fetched_again_and_touched_once() {
    let counted = Counted::new().await;
    let expected = {
        let store = counted.store().await;
        store.series(some()).await.unwrap();
        ["series", "chunks"].map(|kind| bytes_of(&store, kind).0)
    };
    for number in 0..3 {
        let store = counted.store().await;
        let rule = Rule::nth(number, Fault::BitFlip(300));
        counted.faults.add(Rule {
            operation: Some(Operation::GetRange),
            ..rule
        });
        let before = counted.read_bytes();
        store.series(some()).await.unwrap();
        assert_eq!(counted.faults.triggered(), 1, "range {number}");
        assert_eq!(fetched(&store), counted.read_bytes() - before, "range {number}");
        assert_eq!(
            ["series", "chunks"].map(|kind| bytes_of(&store, kind).0),
            expected,
            "range {number}"
        );
    }
}
