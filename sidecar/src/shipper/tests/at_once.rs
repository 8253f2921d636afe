//! How much is sent at once, and under which name it is written down.

use std::time::Duration;

use sabre_objstore::Operation;
use sabre_testkit::fault::Request;

use super::*;

#[tokio::test(start_paused = true)]
async fn as_many_segments_are_sent_at_once_as_the_flag_says() {
    for concurrency in [1, 2] {
        let local = Local::new();
        local.block(A, (0, 1), 1, 1);
        let faulty = FaultBucket::new(memory());
        faulty.add(Rule::next(Operation::Upload, Fault::Hang).times(usize::MAX));
        let shipper = local.shipper(&(Arc::new(faulty.clone()) as SharedBucket), |config| {
            config.upload_concurrency = concurrency;
        });
        // Time passes when nothing is left that could go on.
        let (labels, stop) = (labels(), CancellationToken::new());
        let sync = tokio::time::timeout(Duration::from_secs(1), shipper.sync(&labels, &stop));
        assert!(sync.await.is_err(), "no upload ever ends");
        let uploads: Vec<Request> = faulty
            .requests()
            .into_iter()
            .filter(|request| request.operation == Operation::Upload)
            .collect();
        assert_eq!(uploads.len(), concurrency, "{uploads:?}");
    }
}

#[tokio::test]
async fn what_was_shipped_is_written_down_under_the_name_of_the_flag() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1);
    let shipper = local.shipper(&bucket, |config| "other.json".clone_into(&mut config.state_file));
    shipper.prepare().unwrap();
    shipper.sync(&labels(), &CancellationToken::new()).await.unwrap();
    match StateFile::new(local.path(), "other.json").read() {
        ReadState::Known(ids) => assert_eq!(ids, BTreeSet::from([id(A)])),
        other => panic!("{other:?}"),
    }
    assert!(!local.path().join("thanos.shipper.json").exists());
}
