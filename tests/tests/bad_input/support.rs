//! A store over a bucket in memory, and the means to look at what it says and holds.

use std::{
    cell::RefCell,
    sync::{Arc, Once},
    time::Duration,
};

use bytes::Bytes;
use sabre_model::MatchKind;
use sabre_objstore::{Bucket, MemoryBucket, SharedBucket};
use sabre_proto::thanos::{LabelMatcher, PartialResponseStrategy, SeriesRequest, store_client::StoreClient};
use sabre_runtime::{
    budget::Budget,
    logging::{LogOptions, Sink},
    metrics::Registry,
};
use sabre_store::{StoreConfig, StoreGateway};
use sabre_testkit::{
    blocks::{Block, BlockBuilder},
    fault::FaultBucket,
    grpc::{Served, serve},
    series::{SeriesAnswer, series},
};
use tempfile::TempDir;
use tonic::{Status, service::Routes};

/// The flag that errors about memory name.
pub(crate) const BUDGET_FLAG: &str = "--sabre.memory-budget";

/// What the tests take for now: after all of their blocks.
pub(crate) const NOW_MS: i64 = 10_000_000_000;

/// A day later every back-off has passed.
pub(crate) const LATER_MS: i64 = NOW_MS + 86_400_000;

/// The log lines of this thread since it was made. A test of one thread logs on that alone.
pub(crate) struct Log;

/// Gives every thread its own lines: tests run side by side, and logging is set up once for a process.
struct PerThread;

thread_local! {
    static LINES: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The files of a block, open to damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files(pub(crate) Vec<(String, Vec<u8>)>);

/// A store with its bucket.
pub(crate) struct Store {
    pub(crate) bucket: FaultBucket,
    pub(crate) gateway: StoreGateway,
    pub(crate) budget: Budget,
    pub(crate) served: Served,
    _data_dir: TempDir,
}

impl Sink for PerThread {
    fn write_line(&self, line: &str) {
        LINES.with_borrow_mut(|lines| lines.push_str(line));
    }
}

impl Log {
    pub(crate) fn keep() -> Self {
        static SET_UP: Once = Once::new();
        SET_UP.call_once(|| {
            let subscriber = LogOptions::default().subscriber(PerThread);
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        LINES.with_borrow_mut(String::clear);
        Self
    }

    /// Fails unless one line at level `warn` or `error` has all of `parts`.
    pub(crate) fn assert_has(&self, what: &str, parts: &[&str]) {
        let text = LINES.with_borrow(String::clone);
        let is_loud = |line: &&str| line.contains("level=warn") || line.contains("level=error");
        let has_all = |line: &str| parts.iter().all(|part| line.contains(part));
        assert!(
            text.lines().filter(is_loud).any(has_all),
            "{what}: no line has {parts:?} in\n{text}"
        );
    }
}

impl Files {
    pub(crate) fn of(block: &Block) -> Self {
        let files = block.files.iter();
        Self(
            files
                .map(|(name, bytes)| (name.clone(), bytes.to_vec()))
                .collect(),
        )
    }

    pub(crate) fn get(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.0.iter_mut().find(|(file, _)| file == name).unwrap().1
    }

    pub(crate) fn cut(&mut self, name: &str, len: usize) {
        self.get(name).truncate(len);
    }

    pub(crate) fn flip(&mut self, name: &str, at: usize) {
        self.get(name)[at] ^= 1;
    }

    pub(crate) fn remove(&mut self, part: &str) {
        self.0.retain(|(file, _)| !file.contains(part));
    }

    pub(crate) fn replace(&mut self, name: &str, from: &str, to: &str) {
        let text = String::from_utf8(self.get(name).clone()).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        *self.get(name) = text.replace(from, to).into();
    }

    /// An offset of the contents table of the index, by its number.
    pub(crate) fn toc(&mut self, number: usize) -> usize {
        let index = self.get("index");
        let at = index.len() - 52 + number * 8;
        u64::from_be_bytes(index[at..at + 8].try_into().unwrap()) as usize
    }

    pub(crate) async fn put(&self, bucket: &dyn Bucket, block: &Block) {
        for (file, bytes) in &self.0 {
            let key = format!("{}/{file}", block.meta.ulid);
            bucket.put(&key, Bytes::from(bytes.clone())).await.unwrap();
        }
    }
}

/// Block number `number` with the external label `cluster`: three counters, an hour of them.
pub(crate) fn block(number: u64, cluster: &str) -> Block {
    let hour = 0..3_600_000;
    let builder = BlockBuilder::new(number).ext_labels(&[("cluster", cluster)]);
    builder.counters(3, hour, 15_000).build().unwrap()
}

/// A bucket that holds blocks 1, `{cluster="bad"}`, and 2, `{cluster="good"}`; and those blocks.
pub(crate) async fn two_blocks() -> (Arc<MemoryBucket>, Block, Block) {
    let memory = Arc::new(MemoryBucket::new("test"));
    let (bad, good) = (block(1, "bad"), block(2, "good"));
    for block in [&bad, &good] {
        block.put_into(&*memory).await.unwrap();
    }
    (memory, bad, good)
}

impl Store {
    /// Serves what is in `memory`, after one sync.
    pub(crate) async fn start(memory: &Arc<MemoryBucket>) -> Self {
        let store = Self::with(memory, Budget::new(256 << 20, BUDGET_FLAG), |_| {}).await;
        store.gateway.sync(NOW_MS).await.unwrap();
        store
    }

    /// A store that has not looked at its bucket yet.
    pub(crate) async fn with(
        memory: &Arc<MemoryBucket>,
        budget: Budget,
        change: impl FnOnce(&mut StoreConfig),
    ) -> Self {
        let bucket = FaultBucket::new(Arc::clone(memory) as SharedBucket);
        let data_dir = tempfile::tempdir().unwrap();
        let mut config = StoreConfig::new(data_dir.path());
        change(&mut config);
        let gateway = StoreGateway::new(Arc::new(bucket.clone()), config, budget.clone(), &Registry::new());
        let served = serve(Routes::new(gateway.store_service())).await.unwrap();
        Self {
            bucket,
            gateway,
            budget,
            served,
            _data_dir: data_dir,
        }
    }

    pub(crate) fn client(&self) -> StoreClient<tonic::transport::Channel> {
        StoreClient::new(self.served.channel.clone()).max_decoding_message_size(1 << 30)
    }

    pub(crate) async fn series(&self, request: SeriesRequest) -> Result<SeriesAnswer, Status> {
        series(&mut self.client(), request).await
    }

    /// Bytes of the budget that are held now.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.budget.usage().used_bytes
    }

    /// Waits until no more of the budget is held than before the requests; the index-header of a block that is set aside
    /// is closed.
    pub(crate) async fn memory_is_back(&self, idle_bytes: u64) {
        eventually("the release of memory", || self.held_bytes() <= idle_bytes).await;
    }
}

/// Waits until something is so that comes about by itself, and no longer than a minute.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| panic!("{what} never came"));
}

pub(crate) fn matcher(kind: MatchKind, name: &str, value: &str) -> LabelMatcher {
    LabelMatcher {
        r#type: kind.to_wire(),
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// All series of all times.
pub(crate) fn everything() -> SeriesRequest {
    SeriesRequest {
        min_time: i64::MIN,
        max_time: i64::MAX,
        matchers: vec![matcher(MatchKind::Re, "__name__", ".*")],
        ..SeriesRequest::default()
    }
}

/// The same, and what cannot be had fails the request.
pub(crate) fn all_or_nothing() -> SeriesRequest {
    SeriesRequest {
        partial_response_strategy: PartialResponseStrategy::Abort.into(),
        ..everything()
    }
}

/// All series of a cluster.
pub(crate) fn of_cluster(cluster: &str) -> SeriesRequest {
    let mut request = everything();
    request.matchers.push(matcher(MatchKind::Eq, "cluster", cluster));
    request
}

/// The parts of a text that are looked for: one, and the others.
pub(crate) fn and<'a>(first: &'a str, others: &[&'a str]) -> Vec<&'a str> {
    std::iter::once(first).chain(others.iter().copied()).collect()
}

/// Fails unless `status` has all of `parts`.
pub(crate) fn assert_says(what: &str, status: &Status, parts: &[&str]) {
    for part in parts {
        assert!(status.message().contains(part), "{what}: {part:?} in {status}");
    }
}
