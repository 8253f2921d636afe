//! Every request to the bucket and every operation on local files of a run goes wrong once, in every way it can.
//!
//! After each the state file is read, no block of the bucket lacks a file, and the next run, with nothing going wrong,
//! leaves both blocks in the bucket, each once, byte by byte.

use std::{
    ffi::OsString,
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::*;

/// How an operation on a local file goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DiskFault {
    /// It fails and has no effect.
    Error(io::ErrorKind),
    /// What is read or written is cut in half; a write then fails as on a full disk.
    Truncate,
    /// The process dies before it.
    Crash,
    /// The process dies after it.
    CrashAfter,
}

/// A disk whose operation number `nth` goes wrong, and none of whose operations works once the process is dead.
#[derive(Debug)]
struct FaultDisk {
    nth: usize,
    fault: DiskFault,
    done: AtomicUsize,
    bucket: FaultBucket,
}

impl FaultDisk {
    fn new(nth: usize, fault: DiskFault, bucket: FaultBucket) -> Arc<FaultDisk> {
        Arc::new(FaultDisk {
            nth,
            fault,
            done: AtomicUsize::new(0),
            bucket,
        })
    }

    fn was_struck(&self) -> bool {
        self.done.load(Ordering::SeqCst) > self.nth
    }

    fn die(&self) -> io::Error {
        self.bucket.kill();
        io::Error::other("the process is dead")
    }

    /// Runs an operation that is whole or not at all.
    fn run<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.run_or_cut(operation, || None)
    }

    /// Runs an operation that can also be done by half.
    fn run_or_cut<T>(
        &self,
        operation: impl FnOnce() -> io::Result<T>,
        cut: impl FnOnce() -> Option<io::Result<T>>,
    ) -> io::Result<T> {
        if self.bucket.is_dead() {
            return Err(io::Error::other("the process is dead"));
        }
        if self.done.fetch_add(1, Ordering::SeqCst) != self.nth {
            return operation();
        }
        match self.fault {
            DiskFault::Error(kind) => Err(io::Error::new(kind, "injected fault")),
            DiskFault::Truncate => {
                cut().unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::StorageFull, "injected fault")))
            }
            DiskFault::Crash => Err(self.die()),
            DiskFault::CrashAfter => {
                let _ = operation();
                Err(self.die())
            }
        }
    }
}

impl Disk for FaultDisk {
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.run(|| RealDisk.names(dir))
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.run(|| Ok(RealDisk.is_dir(path))).unwrap_or(false)
    }

    fn size_bytes(&self, path: &Path) -> io::Result<u64> {
        let half = || Some(RealDisk.size_bytes(path).map(|size| size / 2));
        self.run_or_cut(|| RealDisk.size_bytes(path), half)
    }

    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        let whole = || RealDisk.read(path, max_bytes);
        self.run_or_cut(whole, || {
            Some(whole().map(|bytes| bytes[..bytes.len() / 2].to_vec()))
        })
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let whole = || RealDisk.read_at(path, offset, len);
        self.run_or_cut(whole, || {
            Some(whole().map(|bytes| bytes[..bytes.len() / 2].to_vec()))
        })
    }

    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        self.run(|| RealDisk.create_dirs(dir))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let half = || {
            RealDisk.write(path, &bytes[..bytes.len() / 2]).ok();
            Some(Err(io::Error::new(io::ErrorKind::StorageFull, "injected fault")))
        };
        self.run_or_cut(|| RealDisk.write(path, bytes), half)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(|| RealDisk.replace(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(|| RealDisk.link(from, to))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.run(|| RealDisk.remove_dir(dir))
    }
}

/// Two blocks that are to be shipped and one that is compacted, so that all requests there are come up.
fn three_blocks() -> Local {
    let local = Local::new();
    local
        .block(A, (0, 1), 1, 1)
        .block(B, (1, 2), 1, 1)
        .block(C, (2, 3), 1, 2);
    local
}

fn everything(config: &mut ShipperConfig) {
    config.policy.upload_compacted = true;
}

/// meta.json makes a block: once it is there, everything it names must be.
async fn assert_no_half_block(bucket: &SharedBucket, context: &str) {
    let keys = keys(bucket).await;
    for meta in keys.iter().filter(|key| key.ends_with("/meta.json")) {
        let block = meta.trim_end_matches("/meta.json");
        for file in ["chunks/000001", "chunks/000002", "index"] {
            assert!(
                keys.contains(&format!("{block}/{file}")),
                "{context}: {block} has meta.json and no {file}"
            );
        }
    }
}

/// The state file is one that Prometheus reads, and names nothing that the bucket has not.
async fn assert_state_is_true(local: &Local, bucket: &SharedBucket, context: &str) {
    match StateFile::new(local.path(), "thanos.shipper.json").read() {
        ReadState::Known(ids) => {
            let keys = keys(bucket).await;
            for id in ids {
                assert!(
                    keys.contains(&format!("{id}/meta.json")),
                    "{context}: the state file names {id}"
                );
            }
        }
        ReadState::Missing => {}
        ReadState::Unusable(why) => panic!("{context}: {why}"),
    }
}

async fn assert_all_is_shipped(local: &Local, bucket: &SharedBucket, context: &str) {
    let keys = keys(bucket).await;
    assert_eq!(keys.len(), 12, "{context}: three blocks of four files: {keys:?}");
    for key in keys.iter().filter(|key| !key.ends_with("meta.json")) {
        let sent = bucket.get_all(key, 1 << 20).await.unwrap();
        let local_bytes = fs::read(local.path().join(key)).unwrap();
        assert!(sent == local_bytes, "{context}: {key} is not what it was");
    }
    assert_eq!(local.uploaded(), [id(A), id(B), id(C)].into(), "{context}");
    let staged = local.path().join("thanos/upload");
    let left = fs::read_dir(staged).map_or(0, Iterator::count);
    assert_eq!(left, 0, "{context}: nothing stays staged");
}

/// One run in which something goes wrong, and one in which nothing does.
async fn run(local: &Local, inner: &SharedBucket, faulty: &FaultBucket, disk: Arc<dyn Disk>, context: &str) {
    let bucket: SharedBucket = Arc::new(faulty.clone());
    let shipper = local.shipper_on(disk, &bucket, everything);
    let stop = CancellationToken::new();
    let work = async {
        let _ = shipper.prepare();
        let _ = shipper.sync(&labels(), &stop).await;
    };
    // Dropping the future where it stands is what a kill does, and what a request that never ends comes to.
    let patience = std::time::Duration::from_secs(3600);
    let _ = tokio::time::timeout(patience, faulty.until_crash(work)).await;
    drop(shipper);
    assert_no_half_block(inner, context).await;
    assert_state_is_true(local, inner, context).await;

    let again = local.shipper(inner, everything);
    again.prepare().unwrap();
    again.sync(&labels(), &stop).await.unwrap();
    assert_all_is_shipped(local, inner, context).await;
    for reason in ["deleted", "compacted"] {
        let lost = again.metrics.lost_blocks.with([reason]).get();
        assert_eq!(lost, 0, "{context}: {reason}, and all are there");
    }
    let third = again.sync(&labels(), &stop).await.unwrap();
    assert!(third.shipped.is_empty(), "{context}: nothing is sent twice");
}

#[tokio::test(start_paused = true)]
async fn every_request_to_the_bucket_may_go_wrong() {
    let faults = [
        Fault::Error(ErrorKind::Unavailable),
        Fault::Error(ErrorKind::Timeout),
        Fault::Error(ErrorKind::AccessDenied),
        Fault::LostAnswer(ErrorKind::Timeout),
        Fault::Hang,
        Fault::Truncate,
        Fault::BitFlip(77),
        Fault::Crash,
        Fault::CrashAfter,
    ];
    let mut runs = 0;
    for fault in faults {
        for n in 0.. {
            let (local, inner) = (three_blocks(), memory());
            let faulty = FaultBucket::new(Arc::clone(&inner));
            faulty.add(Rule::nth(n, fault));
            let context = format!("{fault:?} at request {n}");
            let disk = FaultDisk::new(usize::MAX, DiskFault::Crash, faulty.clone());
            run(&local, &inner, &faulty, disk, &context).await;
            runs += 1;
            if faulty.triggered() == 0 {
                assert!(n > 20, "a run makes {n} requests only");
                break;
            }
        }
    }
    println!("{runs} runs, each with one request to the bucket going wrong");
    assert!(runs > 180, "{runs}");
}

#[tokio::test(start_paused = true)]
async fn every_operation_on_local_files_may_go_wrong() {
    let faults = [
        DiskFault::Error(io::ErrorKind::Other),
        DiskFault::Error(io::ErrorKind::NotFound),
        DiskFault::Error(io::ErrorKind::StorageFull),
        DiskFault::Truncate,
        DiskFault::Crash,
        DiskFault::CrashAfter,
    ];
    let mut runs = 0;
    for fault in faults {
        for n in 0.. {
            let (local, inner) = (three_blocks(), memory());
            let faulty = FaultBucket::new(Arc::clone(&inner));
            let disk = FaultDisk::new(n, fault, faulty.clone());
            let context = format!("{fault:?} at operation {n}");
            run(
                &local,
                &inner,
                &faulty,
                Arc::clone(&disk) as Arc<dyn Disk>,
                &context,
            )
            .await;
            runs += 1;
            if !disk.was_struck() {
                assert!(n > 50, "a run makes {n} operations only");
                break;
            }
        }
    }
    println!("{runs} runs, each with one operation on local files going wrong");
    assert!(runs > 300, "{runs}");
}

/// A block that Prometheus deletes after the crash is lost if the bucket has not got it, and else it is not.
#[tokio::test(start_paused = true)]
async fn losses_after_a_crash_at_any_operation_are_those_that_the_bucket_lacks() {
    let (mut runs, mut counted) = (0, 0);
    for is_away in [false, true] {
        for fault in [DiskFault::Crash, DiskFault::CrashAfter] {
            for n in 0.. {
                let (local, inner) = (Local::new(), memory());
                local.block(A, (0, 1), 7, 1);
                let faulty = FaultBucket::new(Arc::clone(&inner));
                if is_away {
                    let rule = Rule::nth(0, Fault::Error(ErrorKind::Unavailable));
                    faulty.add(rule.times(usize::MAX));
                }
                let disk = FaultDisk::new(n, fault, faulty.clone());
                let bucket: SharedBucket = Arc::new(faulty.clone());
                let shipper = local.shipper_on(Arc::clone(&disk) as Arc<dyn Disk>, &bucket, everything);
                let stop = CancellationToken::new();
                let work = async {
                    let _ = shipper.prepare();
                    let _ = shipper.sync(&labels(), &stop).await;
                };
                let _ = faulty.until_crash(work).await;
                drop(shipper);
                fs::remove_dir_all(local.path().join(A)).unwrap();
                let is_there = keys(&inner).await.contains(&format!("{A}/meta.json"));
                let next = local.shipper(&inner, everything);
                next.prepare().unwrap();
                let mut lost = 0;
                for _ in 0..2 {
                    next.sync(&labels(), &stop).await.unwrap();
                    lost = next.metrics.lost_blocks.with(["deleted"]).get();
                    // Of a block that is not written down yet, nobody knows.
                    let context = format!("{fault:?} at operation {n}, away: {is_away}, there: {is_there}");
                    assert!(lost <= u64::from(!is_there), "{context}: {lost}");
                }
                if !disk.was_struck() {
                    assert_eq!(lost, u64::from(is_away));
                    break;
                }
                counted += lost;
                runs += 1;
            }
        }
    }
    println!("{runs} runs with a crash and a block that is deleted after it, {counted} losses were counted");
    assert!(counted > 2 && runs > 20, "{runs}, {counted}");
}
