//! What the shipper does to a data directory and a bucket, crashes included.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use sabre_block::{layout, upload::HashFunc};
use sabre_model::{BlockId, Labels};
use sabre_objstore::{Bucket, BucketExt, ErrorKind, MemoryBucket, SharedBucket};
use sabre_runtime::metrics::Registry;
use sabre_testkit::{
    blocks::BlockBuilder,
    fault::{Fault, FaultBucket, Rule},
};
use sabre_tsdb::meta::BlockMeta;
use tokio_util::sync::CancellationToken;

use super::{
    Policy, ReadState, Retention, Shipper, ShipperConfig, SkipReason, StateFile, Step,
    disk::{Disk, RealDisk},
    plan, scan,
};
use crate::metrics::SidecarMetrics;

mod at_once;
mod away;
mod faults;
mod full_disk;
mod local;

pub(super) const A: &str = "01KE1Y3XTRWGF29YHY29V0RWTA";
pub(super) const B: &str = "01KE1Y3XTRWGF29YHY29V0RWTB";
pub(super) const C: &str = "01KE1Y3XTRWGF29YHY29V0RWTC";

pub(super) fn id(text: &str) -> BlockId {
    BlockId::parse(text).unwrap()
}

pub(super) fn labels() -> Labels {
    Labels::from_pairs([("cluster", "eu1"), ("replica", "a")]).unwrap()
}

/// A data directory.
pub(super) struct Local {
    dir: tempfile::TempDir,
}

impl Local {
    pub(super) fn new() -> Local {
        Local {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A block of two segments; a level above one makes it a compacted one.
    pub(super) fn block(&self, text: &str, range: (i64, i64), samples: u64, level: i64) -> &Local {
        self.block_of(text, range, samples, level, &[text])
    }

    /// A block made of others.
    pub(super) fn block_of(
        &self,
        text: &str,
        range: (i64, i64),
        samples: u64,
        level: i64,
        sources: &[&str],
    ) -> &Local {
        let series = |name| [("__name__", name)];
        let floats = (0..200).map(|n| (n, f64::sin(n as f64)));
        let mut block = BlockBuilder::new(1)
            .id(id(text))
            .time_range(range.0..range.1)
            .segment_bytes(2000)
            .floats(&series("a"), floats.clone())
            .floats(&series("b"), floats)
            .build()
            .unwrap();
        let dir = block.write_to(self.path()).unwrap();
        assert!(dir.join("chunks/000002").exists() && !dir.join("chunks/000003").exists());
        let meta = &mut block.meta;
        meta.stats.num_samples = samples;
        meta.compaction.level = level;
        meta.compaction.sources = sources.iter().map(|source| id(source)).collect();
        fs::write(dir.join("meta.json"), meta.to_json()).unwrap();
        self
    }

    pub(super) fn shipper(&self, bucket: &SharedBucket, change: impl FnOnce(&mut ShipperConfig)) -> Shipper {
        self.shipper_on(Arc::new(RealDisk), bucket, change)
    }

    pub(super) fn shipper_on(
        &self,
        disk: Arc<dyn Disk>,
        bucket: &SharedBucket,
        change: impl FnOnce(&mut ShipperConfig),
    ) -> Shipper {
        let mut config = ShipperConfig {
            tsdb_dir: self.path().to_path_buf(),
            state_file: "thanos.shipper.json".into(),
            source: "sidecar".into(),
            policy: Policy::default(),
            skip_corrupted: true,
            upload_concurrency: 1,
            hash: HashFunc::None,
            now_ms: || 1_767_225_600_000,
        };
        change(&mut config);
        let metrics = SidecarMetrics::new(&Registry::new());
        Shipper::on(disk, config, Arc::clone(bucket), metrics)
    }

    pub(super) fn uploaded(&self) -> BTreeSet<BlockId> {
        match StateFile::new(self.path(), "thanos.shipper.json").read() {
            ReadState::Known(ids) => ids,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn memory() -> SharedBucket {
    let bucket = MemoryBucket::new("test");
    bucket.set_now_ms(1_767_225_600_000);
    Arc::new(bucket)
}

pub(super) async fn keys(bucket: &SharedBucket) -> Vec<String> {
    let entries = bucket.list_all("", true, 1000).await.unwrap();
    entries.iter().map(|entry| entry.key().to_string()).collect()
}

/// Deletes a block's directory once its first segment is on its way.
pub(super) async fn delete_while_sent(gate: &FaultBucket, dir: PathBuf) {
    while !gate
        .requests()
        .iter()
        .any(|request| request.key.ends_with("000001"))
    {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn a_block_is_shipped_with_labels_and_without_tombstones() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 7_200_000), 10, 1);
    let report = local
        .shipper(&bucket, |_| {})
        .sync(&labels(), &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(report.shipped, [id(A)]);
    assert_eq!(
        keys(&bucket).await,
        [
            format!("{A}/chunks/000001"),
            format!("{A}/chunks/000002"),
            format!("{A}/index"),
            format!("{A}/meta.json")
        ]
    );
    let bytes = bucket
        .get_all(&layout::key(id(A), layout::META_FILE), 1 << 20)
        .await
        .unwrap();
    let meta = BlockMeta::parse(&bytes).unwrap();
    let thanos = meta.thanos.clone().unwrap();
    assert_eq!(meta.ext_labels(), labels());
    assert_eq!(thanos.source, "sidecar");
    assert_eq!(thanos.segment_files, ["000001", "000002"]);
    assert_eq!(thanos.files.len(), 4);
    assert_eq!(meta.upload_time_ms(), Some(1_767_225_600_000));
    assert_eq!(local.uploaded(), [id(A)].into());
    assert!(
        !local.path().join("thanos/upload").join(A).exists(),
        "the staging directory is gone"
    );
}

#[tokio::test]
async fn external_labels_win_over_labels_the_block_has() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1);
    let path = local.path().join(A).join("meta.json");
    let mut meta = BlockMeta::parse(&fs::read(&path).unwrap()).unwrap();
    let old = Labels::from_pairs([("cluster", "other"), ("zone", "z")]).unwrap();
    meta.thanos = Some(sabre_tsdb::meta::ThanosMeta {
        labels: Some(old),
        ..Default::default()
    });
    fs::write(&path, meta.to_json()).unwrap();
    local
        .shipper(&bucket, |_| {})
        .sync(&labels(), &CancellationToken::new())
        .await
        .unwrap();
    let bytes = bucket
        .get_all(&layout::key(id(A), layout::META_FILE), 1 << 20)
        .await
        .unwrap();
    let want = Labels::from_pairs([("cluster", "eu1"), ("replica", "a"), ("zone", "z")]).unwrap();
    assert_eq!(BlockMeta::parse(&bytes).unwrap().ext_labels(), want);
}

#[test]
fn empty_and_compacted_blocks_are_skipped_and_not_counted_as_shipped() {
    let local = Local::new();
    local
        .block(A, (0, 1), 0, 1)
        .block(B, (1, 2), 5, 2)
        .block(C, (2, 3), 5, 1);
    let found = scan(local.path()).unwrap();
    let steps = plan(&found, &[id(C)].into(), &Policy::default());
    assert_eq!(
        steps,
        [
            (id(A), Step::Skip(SkipReason::Empty)),
            (id(B), Step::Skip(SkipReason::Compacted)),
            (id(C), Step::Keep)
        ]
    );
    let policy = Policy {
        upload_compacted: true,
        allow_out_of_order: false,
    };
    assert_eq!(
        plan(&found, &BTreeSet::new(), &policy)[1].1,
        Step::Ship { check_overlap: true }
    );
}

#[tokio::test]
async fn oldest_first_and_deleted_blocks_leave_the_state_file() {
    let (local, bucket) = (Local::new(), memory());
    local.block(C, (0, 1), 1, 1).block(A, (1, 2), 1, 1);
    let shipper = local.shipper(&bucket, |_| {});
    let report = shipper.sync(&labels(), &CancellationToken::new()).await.unwrap();
    assert_eq!(report.shipped, [id(C), id(A)], "by minTime, not by name");
    fs::remove_dir_all(local.path().join(C)).unwrap();
    shipper.sync(&labels(), &CancellationToken::new()).await.unwrap();
    assert_eq!(local.uploaded(), [id(A)].into());
}

#[tokio::test]
async fn what_the_bucket_has_is_not_sent_again() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1);
    bucket.put(&format!("{A}/meta.json"), "{}".into()).await.unwrap();
    let report = local
        .shipper(&bucket, |_| {})
        .sync(&labels(), &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!((report.shipped.len(), report.found), (0, vec![id(A)]));
    assert_eq!(local.uploaded(), [id(A)].into());
}

#[tokio::test]
async fn one_unreadable_block_does_not_stop_the_others_unless_asked_to() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1).block(B, (1, 2), 1, 1);
    fs::write(local.path().join(A).join("meta.json"), "{\"version\": 2").unwrap();
    let strict = local.shipper(&bucket, |config| config.skip_corrupted = false);
    let error = strict
        .sync(&labels(), &CancellationToken::new())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(A) && error.contains("meta.json"), "{error}");
    assert!(keys(&bucket).await.is_empty());
    let report = local
        .shipper(&bucket, |_| {})
        .sync(&labels(), &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!((report.shipped, report.failed), (vec![id(B)], vec![id(A)]));
}

#[tokio::test]
async fn a_compacted_block_that_overlaps_the_bucket_stays_at_home() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 100), 1, 1);
    local
        .shipper(&bucket, |_| {})
        .sync(&labels(), &CancellationToken::new())
        .await
        .unwrap();
    local.block(B, (50, 200), 1, 2).block(C, (100, 200), 1, 2);
    let shipper = local.shipper(&bucket, |config| config.policy.upload_compacted = true);
    let report = shipper.sync(&labels(), &CancellationToken::new()).await.unwrap();
    assert_eq!(report.failed, [id(B)], "50 to 100 is there already");
    assert_eq!(
        report.shipped,
        [id(C)],
        "ranges are half-open: 100 belongs to the later block alone"
    );
}

#[tokio::test]
async fn without_external_labels_nothing_is_shipped() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1);
    let result = local
        .shipper(&bucket, |_| {})
        .sync(&Labels::default(), &CancellationToken::new())
        .await;
    assert!(result.is_err());
    assert!(keys(&bucket).await.is_empty());
}

#[test]
fn the_state_file_is_there_before_prometheus_is_asked_anything() {
    let local = Local::new();
    fs::create_dir_all(local.path().join("thanos/upload").join(A)).unwrap();
    local.shipper(&memory(), |_| {}).prepare().unwrap();
    assert!(local.uploaded().is_empty());
    assert!(
        !local.path().join("thanos/upload").exists(),
        "what a killed sidecar staged is removed"
    );
}

#[tokio::test]
async fn a_block_without_its_index_is_reported_and_the_others_go() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1).block(B, (1, 2), 1, 1);
    fs::remove_file(local.path().join(A).join("index")).unwrap();
    let report = local
        .shipper(&bucket, |_| {})
        .sync(&labels(), &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!((report.shipped, report.failed), (vec![id(B)], vec![id(A)]));
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_fails_loses_nothing_and_records_what_went_through() {
    let (local, inner) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1).block(B, (1, 2), 1, 1);
    let faulty = FaultBucket::new(Arc::clone(&inner));
    faulty.add(Rule::nth(0, Fault::Error(ErrorKind::Unavailable)).on(B));
    let bucket: SharedBucket = Arc::new(faulty);
    let shipper = local.shipper(&bucket, |_| {});
    let stop = CancellationToken::new();
    assert!(shipper.sync(&labels(), &stop).await.is_err());
    assert_eq!(
        local.uploaded(),
        [id(A)].into(),
        "Prometheus hears at once what may be compacted"
    );
    assert_eq!(shipper.sync(&labels(), &stop).await.unwrap().shipped, [id(B)]);
}
