//! What may be wrong with a local block, and what Prometheus does meanwhile.

use sabre_objstore::Operation;

use super::*;

async fn sync(local: &Local, bucket: &SharedBucket) -> crate::shipper::SyncReport {
    local
        .shipper(bucket, |_| {})
        .sync(&labels(), &CancellationToken::new())
        .await
        .unwrap()
}

#[tokio::test]
async fn broken_files_keep_their_block_at_home_and_the_others_go() {
    type Break = fn(&Path);
    let ways: [(&str, Break); 9] = [
        ("an empty index", |dir| fs::write(dir.join("index"), "").unwrap()),
        ("an index cut short", |dir| {
            let bytes = fs::read(dir.join("index")).unwrap();
            fs::write(dir.join("index"), &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("an index of zeros", |dir| {
            let size = fs::metadata(dir.join("index")).unwrap().len();
            fs::write(dir.join("index"), vec![0; usize::try_from(size).unwrap()]).unwrap();
        }),
        ("a flipped bit in the table of contents", |dir| {
            let mut bytes = fs::read(dir.join("index")).unwrap();
            let at = bytes.len() - 20;
            bytes[at] ^= 1;
            fs::write(dir.join("index"), bytes).unwrap();
        }),
        ("an empty segment", |dir| {
            fs::write(dir.join("chunks/000002"), "").unwrap();
        }),
        ("a segment of another format", |dir| {
            fs::write(dir.join("chunks/000001"), "not a segment").unwrap();
        }),
        ("a missing segment", |dir| {
            fs::remove_file(dir.join("chunks/000001")).unwrap();
        }),
        ("no segments", |dir| {
            fs::remove_dir_all(dir.join("chunks")).unwrap();
            fs::create_dir(dir.join("chunks")).unwrap();
        }),
        ("no chunks directory", |dir| {
            fs::remove_dir_all(dir.join("chunks")).unwrap();
        }),
    ];
    for (what, break_it) in ways {
        let (local, bucket) = (Local::new(), memory());
        local.block(A, (0, 1), 1, 1).block(B, (1, 2), 1, 1);
        break_it(&local.path().join(A));
        let report = sync(&local, &bucket).await;
        assert_eq!(
            (report.shipped, report.failed),
            (vec![id(B)], vec![id(A)]),
            "{what}"
        );
        assert!(
            keys(&bucket).await.iter().all(|key| key.starts_with(B)),
            "{what}: nothing of the broken block is sent"
        );
        assert_eq!(local.uploaded(), [id(B)].into(), "{what}");
    }
}

#[tokio::test]
async fn a_directory_that_holds_another_block_is_not_shipped_under_its_name() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1);
    fs::rename(local.path().join(A), local.path().join(B)).unwrap();
    let report = sync(&local, &bucket).await;
    assert_eq!(report.failed, [id(B)]);
    let why = &scan(local.path()).unwrap().unreadable[0].why;
    assert!(why.contains(A) && why.contains("replaced"), "{why}");
    assert!(keys(&bucket).await.is_empty());
}

#[tokio::test]
async fn a_broken_block_that_is_mended_goes() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1);
    let index = local.path().join(A).join("index");
    let good = fs::read(&index).unwrap();
    fs::write(&index, "").unwrap();
    let shipper = local.shipper(&bucket, |_| {});
    let stop = CancellationToken::new();
    assert_eq!(shipper.sync(&labels(), &stop).await.unwrap().failed, [id(A)]);
    fs::write(&index, good).unwrap();
    assert_eq!(shipper.sync(&labels(), &stop).await.unwrap().shipped, [id(A)]);
}

#[tokio::test]
async fn overlapping_blocks_of_the_head_are_all_shipped() {
    let (local, bucket) = (Local::new(), memory());
    local
        .block(A, (0, 100), 1, 1)
        .block(B, (20, 80), 1, 1)
        .block(C, (0, 100), 1, 1);
    let report = sync(&local, &bucket).await;
    assert_eq!(
        report.shipped,
        [id(A), id(C), id(B)],
        "out-of-order samples come as blocks that overlap"
    );
}

#[tokio::test]
async fn a_compacted_block_whose_sources_are_all_there_is_not_sent_again() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 100), 1, 1).block(B, (100, 200), 1, 1);
    sync(&local, &bucket).await;
    for gone in [A, B] {
        fs::remove_dir_all(local.path().join(gone)).unwrap();
    }
    local.block_of(C, (0, 200), 1, 2, &[A, B]);
    let shipper = local.shipper(&bucket, |config| config.policy.upload_compacted = true);
    let report = shipper.sync(&labels(), &CancellationToken::new()).await.unwrap();
    assert_eq!((report.found, report.failed), (vec![id(C)], vec![]));
    assert_eq!(
        local.uploaded(),
        [id(C)].into(),
        "Prometheus may compact it further"
    );
    assert_eq!(shipper.metrics.upload_compacted_done.get(), 1);
}

#[tokio::test]
async fn a_refused_block_does_not_cost_requests_at_every_sync() {
    let (local, inner) = (Local::new(), memory());
    local.block(A, (0, 100), 1, 1);
    sync(&local, &inner).await;
    local.block(B, (50, 200), 1, 2);
    let counting = FaultBucket::new(Arc::clone(&inner));
    let bucket: SharedBucket = Arc::new(counting.clone());
    let shipper = local.shipper(&bucket, |config| config.policy.upload_compacted = true);
    let stop = CancellationToken::new();
    assert_eq!(shipper.sync(&labels(), &stop).await.unwrap().failed, [id(B)]);
    let first = counting.requests().len();
    assert_eq!(shipper.sync(&labels(), &stop).await.unwrap().failed, [id(B)]);
    assert_eq!(
        counting.requests().len(),
        first + 1,
        "whether it came there otherwise"
    );
    assert_eq!(shipper.metrics.upload_compacted_done.get(), 0);
}

#[tokio::test]
async fn a_block_that_prometheus_deletes_while_it_is_sent_is_sent() {
    let (local, inner) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1);
    let gate = FaultBucket::new(Arc::clone(&inner));
    gate.set_latency(std::time::Duration::from_millis(20));
    let bucket: SharedBucket = Arc::new(gate.clone());
    let shipper = local.shipper(&bucket, |_| {});
    let (stop, labels) = (CancellationToken::new(), labels());
    let delete = delete_while_sent(&gate, local.path().join(A));
    let (report, ()) = tokio::join!(shipper.sync(&labels, &stop), delete);
    assert_eq!(report.unwrap().shipped, [id(A)]);
    assert_eq!(keys(&inner).await.len(), 4);
}

#[tokio::test]
async fn an_upload_that_broke_off_is_completed_by_the_next_run() {
    let (local, inner) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1);
    let faulty = FaultBucket::new(Arc::clone(&inner));
    faulty.add(Rule::nth(0, Fault::Error(ErrorKind::Unavailable)).on("index"));
    let bucket: SharedBucket = Arc::new(faulty.clone());
    let stop = CancellationToken::new();
    local
        .shipper(&bucket, |_| {})
        .sync(&labels(), &stop)
        .await
        .unwrap_err();
    faulty.heal();
    local
        .shipper(&bucket, |_| {})
        .sync(&labels(), &stop)
        .await
        .unwrap();
    let sent: Vec<String> = faulty
        .requests()
        .into_iter()
        .filter(|request| request.operation == sabre_objstore::Operation::Upload)
        .map(|request| request.key)
        .collect();
    assert_eq!(sent, [format!("{A}/index"), format!("{A}/meta.json")]);
}

#[tokio::test]
async fn a_block_that_cannot_be_sent_holds_up_the_next_unless_uploads_may_be_out_of_order() {
    for may in [false, true] {
        let local = Local::new();
        local.block(A, (0, 1), 1, 1).block(B, (1, 2), 1, 1);
        let faulty = FaultBucket::new(memory());
        faulty.add(
            Rule::next(Operation::Upload, Fault::Error(ErrorKind::Unavailable))
                .on(A)
                .times(usize::MAX),
        );
        let bucket: SharedBucket = Arc::new(faulty.clone());
        let shipper = local.shipper(&bucket, |config| config.policy.allow_out_of_order = may);
        let stop = CancellationToken::new();
        let outcome = shipper.sync(&labels(), &stop).await;
        match outcome {
            Err(error) => assert!(!may && error.to_string().contains(A), "{error}"),
            Ok(report) => assert_eq!(
                (may, report.shipped, report.failed),
                (true, vec![id(B)], vec![id(A)])
            ),
        }
        assert_eq!(local.uploaded().contains(&id(B)), may, "B is behind A");
        faulty.heal();
        shipper.sync(&labels(), &stop).await.unwrap();
        assert_eq!(local.uploaded(), [id(A), id(B)].into());
    }
}

/// The clock of a shipper that had to wait may be set back meanwhile.
#[tokio::test]
async fn a_clock_that_is_set_back_by_a_year_keeps_no_refused_block_at_home() {
    static NOW_MS: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1_767_225_600_000);
    let (local, inner) = (Local::new(), memory());
    local.block(A, (0, 100), 1, 1);
    sync(&local, &inner).await;
    local.block(B, (50, 200), 1, 2);
    let shipper = local.shipper(&inner, |config| {
        config.policy.upload_compacted = true;
        config.now_ms = || NOW_MS.load(std::sync::atomic::Ordering::SeqCst);
    });
    let stop = CancellationToken::new();
    assert_eq!(shipper.sync(&labels(), &stop).await.unwrap().failed, [id(B)]);
    // Its place becomes free, and the clock is set.
    let gone = inner.list_all(&format!("{A}/"), true, 1000).await.unwrap();
    for entry in gone {
        inner.delete(entry.key()).await.unwrap();
    }
    NOW_MS.fetch_sub(365 * 24 * 3_600_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(shipper.sync(&labels(), &stop).await.unwrap().shipped, [id(B)]);
}

/// A disk on which everything takes its time.
#[derive(Debug, Default)]
struct SlowDisk {
    threads: parking_lot::Mutex<std::collections::HashSet<std::thread::ThreadId>>,
}

impl SlowDisk {
    fn slowly(&self) -> RealDisk {
        self.threads.lock().insert(std::thread::current().id());
        std::thread::sleep(std::time::Duration::from_millis(2));
        RealDisk
    }
}

impl Disk for SlowDisk {
    fn names(&self, dir: &Path) -> std::io::Result<Vec<std::ffi::OsString>> {
        self.slowly().names(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.slowly().is_dir(path)
    }

    fn size_bytes(&self, path: &Path) -> std::io::Result<u64> {
        self.slowly().size_bytes(path)
    }

    fn read(&self, path: &Path, max_bytes: u64) -> std::io::Result<Vec<u8>> {
        self.slowly().read(path, max_bytes)
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
        self.slowly().read_at(path, offset, len)
    }

    fn create_dirs(&self, dir: &Path) -> std::io::Result<()> {
        self.slowly().create_dirs(dir)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        self.slowly().write(path, bytes)
    }

    fn replace(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.slowly().replace(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.slowly().link(from, to)
    }

    fn remove_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.slowly().remove_dir(dir)
    }
}

/// The runtime has one thread: what waits for the disk there would keep everything else waiting, StoreAPI first.
#[tokio::test(flavor = "current_thread")]
async fn a_slow_disk_keeps_nothing_else_waiting() {
    let (local, bucket) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1).block(B, (1, 2), 1, 1);
    let disk = Arc::new(SlowDisk::default());
    let shipper = local.shipper_on(Arc::<SlowDisk>::clone(&disk), &bucket, |_| {});
    let report = shipper.sync(&labels(), &CancellationToken::new()).await.unwrap();
    assert_eq!(report.shipped, [id(A), id(B)]);
    let threads = disk.threads.lock();
    assert!(!threads.is_empty());
    assert!(
        !threads.contains(&std::thread::current().id()),
        "the disk was read where futures run"
    );
}
