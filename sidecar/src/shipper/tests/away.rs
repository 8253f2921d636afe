//! A bucket that is away while Prometheus deletes, and a second sidecar.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::shipper::{SyncError, take_lock};

const HOUR: i64 = 3_600_000;

/// Every request fails.
fn away() -> (SharedBucket, FaultBucket, SharedBucket) {
    let inner = memory();
    let faulty = FaultBucket::new(Arc::clone(&inner));
    faulty.add(Rule::nth(0, Fault::Error(ErrorKind::Unavailable)).times(usize::MAX));
    (Arc::new(faulty.clone()), faulty, inner)
}

fn lost(shipper: &Shipper, reason: &str) -> (u64, u64) {
    let metrics = &shipper.metrics;
    (
        metrics.lost_blocks.with([reason]).get(),
        metrics.lost_samples.with([reason]).get(),
    )
}

#[tokio::test]
async fn while_the_bucket_is_away_the_time_left_is_told_losses_are_counted_and_the_oldest_goes_first() {
    static NOW_MS: AtomicI64 = AtomicI64::new(0);
    fn now_ms() -> i64 {
        NOW_MS.load(Ordering::Relaxed)
    }
    let local = Local::new();
    let (bucket, faulty, inner) = away();
    local
        .block(A, (0, 2 * HOUR), 11, 1)
        .block(B, (2 * HOUR, 4 * HOUR), 22, 1)
        .block(C, (4 * HOUR, 6 * HOUR), 33, 1);
    let shipper = local.shipper(&bucket, |config| config.now_ms = now_ms);
    shipper.set_retention(Retention::parse("24h"));
    let stop = CancellationToken::new();
    NOW_MS.store(6 * HOUR, Ordering::Relaxed);
    assert!(matches!(
        shipper.sync(&labels(), &stop).await,
        Err(SyncError::Bucket(_))
    ));
    assert_eq!(shipper.metrics.unshipped_blocks.get(), 3);
    assert_eq!(
        shipper.metrics.unshipped_deletion_seconds.get(),
        26.0 * 3600.0,
        "24 h after the end of the oldest"
    );
    assert_eq!(lost(&shipper, "deleted"), (0, 0));

    fs::remove_dir_all(local.path().join(A)).unwrap();
    NOW_MS.store(27 * HOUR, Ordering::Relaxed);
    shipper.sync(&labels(), &stop).await.unwrap_err();
    assert_eq!(lost(&shipper, "deleted"), (1, 11));
    assert_eq!(shipper.metrics.unshipped_blocks.get(), 2);
    assert_eq!(shipper.metrics.unshipped_deletion_seconds.get(), 28.0 * 3600.0);

    faulty.heal();
    let report = shipper.sync(&labels(), &stop).await.unwrap();
    assert_eq!(report.shipped, [id(B), id(C)]);
    assert_eq!(lost(&shipper, "deleted"), (1, 11));
    assert_eq!(shipper.metrics.unshipped_blocks.get(), 0);
    assert_eq!(shipper.metrics.unshipped_deletion_seconds.get(), 0.0);
    assert_eq!(keys(&inner).await.len(), 8);
}

#[tokio::test]
async fn what_was_shipped_and_then_deleted_is_not_lost() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1);
    let shipper = local.shipper(&bucket, |_| {});
    let stop = CancellationToken::new();
    shipper.sync(&labels(), &stop).await.unwrap();
    fs::remove_dir_all(local.path().join(A)).unwrap();
    shipper.sync(&labels(), &stop).await.unwrap();
    assert_eq!(lost(&shipper, "deleted"), (0, 0));
}

#[tokio::test]
async fn a_block_that_was_compacted_before_it_was_shipped_is_counted_as_such() {
    let local = Local::new();
    let (bucket, faulty, _) = away();
    local.block(A, (0, 100), 7, 1);
    let shipper = local.shipper(&bucket, |_| {});
    let stop = CancellationToken::new();
    shipper.sync(&labels(), &stop).await.unwrap_err();
    fs::remove_dir_all(local.path().join(A)).unwrap();
    local.block_of(B, (0, 100), 7, 2, &[A]);
    faulty.heal();
    shipper.sync(&labels(), &stop).await.unwrap();
    assert_eq!(lost(&shipper, "compacted"), (1, 7));
    assert_eq!(lost(&shipper, "deleted"), (0, 0));
}

#[tokio::test]
async fn another_prometheus_under_the_same_labels_is_noticed_and_does_no_harm() {
    // Ids of this minute: the search looks at young blocks.
    fn now_ms() -> i64 {
        id(A).time_ms() + HOUR
    }
    let (first, second, bucket) = (Local::new(), Local::new(), memory());
    first.block(A, (0, 100), 1, 1);
    second.block(B, (0, 100), 1, 1).block(C, (100, 200), 1, 1);
    let stop = CancellationToken::new();
    let of_first = first.shipper(&bucket, |config| config.now_ms = now_ms);
    of_first.sync(&labels(), &stop).await.unwrap();
    assert_eq!(of_first.metrics.foreign_blocks.get(), 0, "alone so far");
    let of_second = second.shipper(&bucket, |config| config.now_ms = now_ms);
    let report = of_second.sync(&labels(), &stop).await.unwrap();
    assert_eq!(report.shipped, [id(B), id(C)], "both go on");
    assert_eq!(of_second.metrics.foreign_blocks.get(), 1);
    assert_eq!(keys(&bucket).await.len(), 12, "nothing is overwritten");

    let restarted = first.shipper(&bucket, |config| config.now_ms = now_ms);
    restarted.sync(&labels(), &stop).await.unwrap();
    assert_eq!(restarted.metrics.foreign_blocks.get(), 1, "C is of another time");
    let other_labels = Labels::from_pairs([("cluster", "eu1"), ("replica", "b")]).unwrap();
    let third = Local::new();
    third.block(&C.replace("RWTC", "RWTD"), (0, 100), 1, 1);
    let of_third = third.shipper(&bucket, |config| config.now_ms = now_ms);
    of_third.sync(&other_labels, &stop).await.unwrap();
    assert_eq!(of_third.metrics.foreign_blocks.get(), 0);
}

#[tokio::test]
async fn what_prometheus_compacted_itself_is_not_foreign() {
    fn now_ms() -> i64 {
        id(A).time_ms() + HOUR
    }
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 100), 1, 1).block(B, (100, 200), 1, 1);
    let stop = CancellationToken::new();
    let shipper = local.shipper(&bucket, |config| config.now_ms = now_ms);
    shipper.sync(&labels(), &stop).await.unwrap();
    for gone in [A, B] {
        fs::remove_dir_all(local.path().join(gone)).unwrap();
    }
    local.block_of(C, (0, 200), 1, 2, &[A, B]);
    let restarted = local.shipper(&bucket, |config| config.now_ms = now_ms);
    restarted.sync(&labels(), &stop).await.unwrap();
    assert_eq!(restarted.metrics.foreign_blocks.get(), 0);
}

#[tokio::test]
async fn two_sidecars_on_one_directory_take_turns() {
    let local = Local::new();
    let first = take_lock(local.path()).unwrap().unwrap();
    assert!(take_lock(local.path()).unwrap().is_none());
    drop(first);
    assert!(take_lock(local.path()).unwrap().is_some());
}

#[tokio::test]
async fn a_state_file_that_is_lost_is_there_again_before_the_bucket_is() {
    // Without it Prometheus compacts blocks that are not in the bucket.
    let local = Local::new();
    let (bucket, _faulty, _) = away();
    local.block(A, (0, 100), 7, 1);
    let shipper = local.shipper(&bucket, |_| {});
    let stop = CancellationToken::new();
    let state = local.path().join("thanos.shipper.json");
    for text in [None, Some("{"), Some(r#"{"version":2}"#)] {
        let _ = fs::remove_file(&state);
        if let Some(text) = text {
            fs::write(&state, text).unwrap();
        }
        shipper.sync(&labels(), &stop).await.unwrap_err();
        assert_eq!(
            fs::read_to_string(&state).unwrap(),
            "{\n\t\"version\": 1,\n\t\"uploaded\": []\n}\n",
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn what_is_deleted_while_no_sidecar_runs_is_lost_as_well() {
    let local = Local::new();
    let (bucket, faulty, inner) = away();
    local.block(A, (0, 100), 7, 1).block(B, (100, 200), 9, 1);
    let stop = CancellationToken::new();
    local
        .shipper(&bucket, |_| {})
        .sync(&labels(), &stop)
        .await
        .unwrap_err();
    fs::remove_dir_all(local.path().join(A)).unwrap();

    let restarted = local.shipper(&bucket, |_| {});
    restarted.prepare().unwrap();
    restarted.sync(&labels(), &stop).await.unwrap_err();
    assert_eq!(
        lost(&restarted, "deleted"),
        (1, 7),
        "also while the bucket is away"
    );
    faulty.heal();
    assert_eq!(restarted.sync(&labels(), &stop).await.unwrap().shipped, [id(B)]);
    assert_eq!(lost(&restarted, "deleted"), (1, 7));

    fs::remove_dir_all(local.path().join(B)).unwrap();
    let third = local.shipper(&inner, |_| {});
    third.sync(&labels(), &stop).await.unwrap();
    assert_eq!(lost(&third, "deleted"), (0, 0), "once, and B was shipped");
}

#[tokio::test]
async fn a_block_that_another_sidecar_shipped_meanwhile_is_not_lost() {
    let local = Local::new();
    let (bucket, _faulty, inner) = away();
    local.block(A, (0, 100), 7, 1);
    let stop = CancellationToken::new();
    local
        .shipper(&bucket, |_| {})
        .sync(&labels(), &stop)
        .await
        .unwrap_err();
    inner.put(&format!("{A}/meta.json"), "{}".into()).await.unwrap();
    fs::remove_dir_all(local.path().join(A)).unwrap();
    let restarted = local.shipper(&inner, |_| {});
    restarted.sync(&labels(), &stop).await.unwrap();
    assert_eq!(lost(&restarted, "deleted"), (0, 0));
}

#[tokio::test]
async fn a_list_of_what_waits_that_cannot_be_read_or_written_stops_nothing() {
    let (local, inner) = (Local::new(), memory());
    // A directory in its place can neither be read nor replaced.
    fs::create_dir_all(local.path().join("sabre.waiting.json/x")).unwrap();
    local.block(A, (0, 100), 7, 1);
    let shipper = local.shipper(&inner, |_| {});
    let report = shipper.sync(&labels(), &CancellationToken::new()).await.unwrap();
    assert_eq!(report.shipped, [id(A)]);
}
