//! The conformance suite on the buckets that need no server.

use std::sync::Arc;

use sabre_objstore::{
    Bucket, BucketExt, Deadlines, FilesystemBucket, MemoryBucket, Metered, Operation, Prefixed, RetryPolicy,
    Retrying, SharedBucket, TimedOut, conformance,
};
use sabre_runtime::metrics::Registry;
use sabre_testkit::fault::{Fault, FaultBucket, Rule};

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

#[tokio::test(start_paused = true)]
async fn what_hangs_is_ended_and_tried_again() {
    let faulty = FaultBucket::new(Arc::new(MemoryBucket::new("memory")));
    faulty.put("k", "some".into()).await.unwrap();
    let deadlines = Deadlines::default();
    let bucket = Retrying::new(TimedOut::new(faulty.clone(), deadlines), RetryPolicy::default());
    for operation in [
        Operation::Get,
        Operation::GetRange,
        Operation::Iter,
        Operation::Attributes,
    ] {
        faulty.heal();
        faulty.add(Rule::next(operation, Fault::Hang));
        let begun = tokio::time::Instant::now();
        match operation {
            Operation::Get => assert_eq!(bucket.get_all("k", 4).await.unwrap(), "some"),
            Operation::GetRange => assert_eq!(bucket.get_range("k", 0, 4).await.unwrap().bytes, "some"),
            Operation::Iter => assert_eq!(bucket.list_all("", true, 4).await.unwrap().len(), 1),
            _ => assert_eq!(bucket.attributes("k").await.unwrap().size_bytes, 4),
        }
        assert_eq!(faulty.count(operation), 2);
        assert!(begun.elapsed() >= deadlines.fixed && begun.elapsed() < deadlines.fixed * 2);
    }
}
