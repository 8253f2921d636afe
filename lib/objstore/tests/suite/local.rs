//! The conformance suite on the buckets that need no server.

use std::sync::Arc;

use sabre_objstore::{
    Deadlines, FilesystemBucket, MemoryBucket, Metered, Prefixed, RetryPolicy, Retrying, SharedBucket,
    TimedOut, conformance,
};
use sabre_runtime::metrics::Registry;
use sabre_testkit::fault::FaultBucket;

#[tokio::test]
async fn memory() {
    conformance::run(Arc::new(MemoryBucket::new("memory"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filesystem() {
    let dir = tempfile::tempdir().unwrap();
    conformance::run(Arc::new(FilesystemBucket::new(dir.path()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_decorators() {
    let faultless = FaultBucket::new(Arc::new(MemoryBucket::new("memory")));
    let timed = TimedOut::new(faultless, Deadlines::default());
    let retrying: SharedBucket = Arc::new(Retrying::new(timed, RetryPolicy::default()));
    let prefixed = Prefixed::wrap(retrying, "a/b").unwrap();
    conformance::run(Arc::new(Metered::new(prefixed, &Registry::new()))).await;
}
