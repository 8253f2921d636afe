//! A disk that takes nothing more, for good: it is when Prometheus deletes blocks, so all must go to the bucket.

use std::{
    ffi::OsString,
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;

/// A disk that reads and removes, and takes what it is told to.
#[derive(Debug, Default)]
struct FullDisk {
    takes_dirs_and_links: bool,
    /// But for the state file.
    takes_files: bool,
    is_mended: AtomicBool,
}

impl FullDisk {
    fn run<T>(&self, takes: bool, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if takes || self.is_mended.load(Ordering::SeqCst) {
            return work();
        }
        Err(io::ErrorKind::StorageFull.into())
    }
}

impl Disk for FullDisk {
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        RealDisk.names(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        RealDisk.is_dir(path)
    }

    fn size_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.size_bytes(path)
    }

    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        RealDisk.read(path, max_bytes)
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        RealDisk.read_at(path, offset, len)
    }

    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        self.run(self.takes_dirs_and_links, || RealDisk.create_dirs(dir))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let is_state = path.to_string_lossy().contains("thanos.shipper.json");
        self.run(self.takes_files && !is_state, || RealDisk.write(path, bytes))
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.replace(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(self.takes_dirs_and_links, || RealDisk.link(from, to))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.remove_dir(dir)
    }
}

#[tokio::test]
async fn all_blocks_are_shipped_from_a_disk_that_takes_nothing_more() {
    for (takes_dirs_and_links, takes_files) in [(false, false), (true, false), (false, true), (true, true)] {
        let context = format!("dirs and links: {takes_dirs_and_links}, files: {takes_files}");
        let (local, inner) = (Local::new(), memory());
        local
            .block(A, (0, 1), 1, 1)
            .block(B, (1, 2), 1, 1)
            .block(C, (2, 3), 1, 1);
        let faulty = FaultBucket::new(Arc::clone(&inner));
        let bucket: SharedBucket = Arc::new(faulty.clone());
        let disk = Arc::new(FullDisk {
            takes_dirs_and_links,
            takes_files,
            is_mended: AtomicBool::new(false),
        });
        let shipper = local.shipper_on(Arc::<FullDisk>::clone(&disk), &bucket, |_| {});
        let stop = CancellationToken::new();
        shipper.prepare().unwrap();
        let report = shipper.sync(&labels(), &stop).await.unwrap();
        assert_eq!(report.shipped, [id(A), id(B), id(C)], "{context}");
        assert!(report.failed.is_empty() && report.is_state_stale, "{context}");
        assert!(shipper.metrics.state_write_failures.get() >= 3, "{context}");
        assert_eq!(shipper.metrics.dir_sync_failures.get(), 1, "{context}");
        assert_eq!(shipper.metrics.unshipped_blocks.get(), 0, "{context}");
        let there = keys(&inner).await;
        assert_eq!(there.len(), 12, "{context}: four files each: {there:?}");
        for key in there.iter().filter(|key| !key.ends_with("meta.json")) {
            let sent = inner.get_all(key, 1 << 20).await.unwrap();
            assert!(
                sent == fs::read(local.path().join(key)).unwrap(),
                "{context}: {key}"
            );
        }
        let key = layout::key(id(C), layout::META_FILE);
        let meta = BlockMeta::parse(&inner.get_all(&key, 1 << 20).await.unwrap()).unwrap();
        assert_eq!(meta.ext_labels(), labels(), "{context}");
        let staged = fs::read_dir(local.path().join("thanos/upload"));
        assert_eq!(
            staged.map_or(0, Iterator::count),
            0,
            "{context}: nothing stays staged"
        );

        // What is there is remembered without a file, and no request asks for it again.
        let before = faulty.requests().len();
        let again = shipper.sync(&labels(), &stop).await.unwrap();
        assert!(again.shipped.is_empty() && again.found.is_empty(), "{context}");
        assert!(again.is_state_stale, "{context}");
        let asked = faulty.requests().split_off(before);
        assert!(
            asked.iter().all(|request| !request.key.contains(A)),
            "{context}: {asked:?}"
        );

        disk.is_mended.store(true, Ordering::SeqCst);
        let mended = shipper.sync(&labels(), &stop).await.unwrap();
        assert_eq!(mended, Default::default(), "{context}");
        assert_eq!(local.uploaded(), [id(A), id(B), id(C)].into(), "{context}");
    }
}

/// Without links Prometheus may delete a block while it is sent; that is lost, and the next is not.
#[tokio::test]
async fn a_block_that_goes_while_it_is_sent_without_links_holds_up_no_other() {
    let (local, inner) = (Local::new(), memory());
    local.block(A, (0, 1), 1, 1).block(B, (1, 2), 1, 1);
    let gate = FaultBucket::new(Arc::clone(&inner));
    gate.set_latency(std::time::Duration::from_millis(20));
    let bucket: SharedBucket = Arc::new(gate.clone());
    let shipper = local.shipper_on(Arc::new(FullDisk::default()), &bucket, |_| {});
    let (stop, labels) = (CancellationToken::new(), labels());
    let delete = delete_while_sent(&gate, local.path().join(A));
    let (report, ()) = tokio::join!(shipper.sync(&labels, &stop), delete);
    let report = report.unwrap();
    assert_eq!((report.shipped, report.failed), (vec![id(B)], vec![id(A)]));
    let there = keys(&inner).await;
    assert!(!there.contains(&format!("{A}/meta.json")), "{there:?}");
}
