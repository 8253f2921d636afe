//! What is uploaded, what is refused, and what is left when it is stopped anywhere.

use std::{fs, sync::Arc};

use sabre_model::Labels;
use sabre_objstore::{ErrorKind, MemoryBucket, Operation};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};
use sabre_tsdb::meta::ThanosMeta;
use tempfile::TempDir;

use super::*;
use crate::{
    delete_block,
    error::ErrorClass,
    fetcher::{FetcherMetrics, FetcherOptions, MetaFetcher},
    filter::FilterChain,
    mark,
};

const NOW_MS: i64 = 1_767_225_600_123;

fn block() -> BlockId {
    BlockId::from_parts(1_767_225_600_000, [9; 10])
}

fn now_ms() -> i64 {
    NOW_MS
}

/// A local block of three segments.
fn local_block() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join(block().to_string());
    fs::create_dir_all(dir.join("chunks")).unwrap();
    for n in 1..=3 {
        fs::write(
            dir.join(format!("chunks/00000{n}")),
            vec![n; 100 * usize::from(n)],
        )
        .unwrap();
    }
    fs::write(dir.join("index"), b"the index").unwrap();
    fs::write(dir.join("tombstones"), b"not uploaded").unwrap();
    write_meta(&dir, |_| {});
    (temp, dir)
}

fn write_meta(dir: &Path, change: impl FnOnce(&mut BlockMeta)) {
    let thanos = ThanosMeta {
        labels: Some(Labels::from_pairs([("cluster", "eu1")]).unwrap()),
        segment_files: vec!["000001".to_owned(), "000002".to_owned(), "000003".to_owned()],
        source: "sidecar".to_owned(),
        ..ThanosMeta::default()
    };
    let mut meta = BlockMeta {
        ulid: block(),
        thanos: Some(thanos),
        ..BlockMeta::default()
    };
    change(&mut meta);
    fs::write(dir.join("meta.json"), meta.to_json()).unwrap();
}

async fn upload(bucket: &dyn Bucket, dir: &Path) -> Result<Uploaded> {
    upload_block(bucket, dir, UploadOptions::default(), now_ms).await
}

fn keys(bucket: &MemoryBucket) -> Vec<String> {
    let prefix = format!("{}/", block());
    bucket
        .objects()
        .into_iter()
        .map(|(key, _)| key.replace(&prefix, ""))
        .collect()
}

#[tokio::test]
async fn a_block_is_uploaded_with_a_meta_that_names_its_files() {
    let (_temp, dir) = local_block();
    let before = fs::read(dir.join("meta.json")).unwrap();
    let bucket = MemoryBucket::new("b");
    let uploaded = upload(&bucket, &dir).await.unwrap();
    assert_eq!(
        keys(&bucket),
        [
            "chunks/000001",
            "chunks/000002",
            "chunks/000003",
            "index",
            "meta.json"
        ],
        "no tombstones"
    );
    assert_eq!((uploaded.block, uploaded.size_bytes), (block(), 609));
    let text = bucket.objects().pop().unwrap().1;
    assert_eq!(BlockMeta::parse(&text).unwrap(), uploaded.meta);
    assert_eq!(uploaded.meta.upload_time_ms(), Some(NOW_MS));
    let files = uploaded.meta.thanos.unwrap().files;
    let files: Vec<_> = files
        .iter()
        .map(|file| (file.rel_path.as_str(), file.size_bytes, file.hash.is_some()))
        .collect();
    assert_eq!(
        files,
        [
            ("chunks/000001", 100, false),
            ("chunks/000002", 200, false),
            ("chunks/000003", 300, false),
            ("index", 9, false),
            ("meta.json", 0, false)
        ]
    );
    assert_eq!(
        fs::read(dir.join("meta.json")).unwrap(),
        before,
        "the local block is only read"
    );
}

#[tokio::test]
async fn hashes_are_named_when_asked_for() {
    let (_temp, dir) = local_block();
    let bucket = MemoryBucket::new("b");
    let options = UploadOptions {
        hash: HashFunc::Sha256,
        ..UploadOptions::default()
    };
    let uploaded = upload_block(&bucket, &dir, options, now_ms).await.unwrap();
    let files = uploaded.meta.thanos.unwrap().files;
    let hash = files[3].hash.as_ref().unwrap();
    assert_eq!(hash.func, "SHA256");
    let of_the_index = "2814ba1ae47e21f6f49e55683952d32eecba42333f12c643494aa1abcc173a0a";
    assert_eq!(hash.value, of_the_index);
    assert!(files[4].hash.is_none(), "meta.json cannot name its own hash");
}

#[tokio::test]
async fn the_meta_goes_last_and_the_index_before_it() {
    let (_temp, dir) = local_block();
    let bucket = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
    upload(&bucket, &dir).await.unwrap();
    let requests = bucket.requests();
    let keys: Vec<_> = requests.iter().map(|request| request.key.as_str()).collect();
    assert!(keys[..3].iter().all(|key| key.contains("chunks/")), "{keys:?}");
    assert!(keys[3].ends_with("index"));
    assert_eq!(
        requests[4].operation,
        Operation::Iter,
        "what was uploaded is verified by one listing"
    );
    assert!(keys[5].ends_with("meta.json"));
    assert_eq!(keys.len(), 6);
}

#[tokio::test]
async fn a_block_that_is_not_what_it_should_be_is_refused_before_any_request() {
    let bucket = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
    let (_temp, dir) = local_block();
    let error_of = async || upload(&bucket, &dir).await.unwrap_err().to_string();

    write_meta(&dir, |meta| meta.thanos.as_mut().unwrap().labels = None);
    assert!(error_of().await.contains("external labels"));
    write_meta(&dir, |meta| meta.thanos = None);
    assert!(error_of().await.contains("external labels"));
    write_meta(&dir, |meta| meta.ulid = BlockId::from_parts(1, [1; 10]));
    assert!(error_of().await.contains("belongs to block"));
    write_meta(&dir, |meta| {
        meta.thanos
            .as_mut()
            .unwrap()
            .segment_files
            .push("000004".to_owned());
    });
    assert!(error_of().await.contains("chunks/000004"));
    fs::write(dir.join("meta.json"), "{").unwrap();
    assert!(error_of().await.contains("meta.json"));
    write_meta(&dir, |_| {});
    fs::remove_file(dir.join("index")).unwrap();
    assert!(error_of().await.contains("index"));
    fs::create_dir(dir.join("index")).unwrap();
    assert!(error_of().await.contains("not a regular file"));
    let renamed = dir.with_file_name("block");
    fs::rename(&dir, &renamed).unwrap();
    assert!(
        upload(&bucket, &renamed)
            .await
            .unwrap_err()
            .to_string()
            .contains("id of a block")
    );
    assert_eq!(bucket.requests(), []);
}

#[tokio::test]
async fn a_block_without_labels_is_taken_when_that_is_asked_for() {
    let (_temp, dir) = local_block();
    write_meta(&dir, |meta| meta.thanos = None);
    let options = UploadOptions {
        require_labels: false,
        ..UploadOptions::default()
    };
    let uploaded = upload_block(&MemoryBucket::new("b"), &dir, options, now_ms)
        .await
        .unwrap();
    assert_eq!(uploaded.meta.upload_time_ms(), Some(NOW_MS));
}

#[tokio::test]
async fn a_file_that_arrived_short_holds_the_meta_back() {
    let (_temp, dir) = local_block();
    let memory = Arc::new(MemoryBucket::new("b"));
    let lossy = odd::OddBucket {
        inner: Arc::clone(&memory),
        is_lossy: true,
        meanwhile: None,
    };
    let error = upload(&lossy, &dir).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("chunks/000002: 200 bytes were uploaded"),
        "{error}"
    );
    assert!(!keys(&memory).contains(&"meta.json".to_owned()));
    let trusting = UploadOptions {
        verify: false,
        ..UploadOptions::default()
    };
    upload_block(&lossy, &dir, trusting, now_ms).await.unwrap();
}

/// Whether the block is in the bucket, as anybody sees it; it must be whole then.
async fn is_there(bucket: &Arc<MemoryBucket>) -> bool {
    let shared = Arc::<MemoryBucket>::clone(bucket);
    let options = FetcherOptions::default();
    let fetcher = MetaFetcher::new(shared, options, FilterChain::default(), FetcherMetrics::default());
    let view = fetcher.sync(NOW_MS).await.unwrap();
    assert!(
        view.incomplete.is_empty(),
        "a meta.json without its files: {:?}",
        view.incomplete
    );
    view.meta(block()).is_some()
}

const FAULTS: [Fault; 5] = [
    Fault::Crash,
    Fault::CrashAfter,
    Fault::Error(ErrorKind::Unavailable),
    Fault::LostAnswer(ErrorKind::Timeout),
    Fault::Truncate,
];

#[tokio::test]
async fn stopped_at_any_request_an_upload_leaves_no_half_block_and_is_completed_by_the_next() {
    let (_temp, dir) = local_block();
    for fault in FAULTS {
        for n in 0.. {
            let memory = Arc::new(MemoryBucket::new("b"));
            let bucket = FaultBucket::new(Arc::<MemoryBucket>::clone(&memory));
            bucket.add(Rule::nth(n, fault));
            let outcome = bucket.until_crash(upload(&bucket, &dir)).await;
            if bucket.triggered() == 0 {
                assert!(matches!(outcome, Some(Ok(_))));
                assert!(n >= 6, "{fault:?}: only {n} requests");
                break;
            }
            assert!(
                !matches!(outcome, Some(Ok(_))),
                "{fault:?} at request {n} went unnoticed"
            );
            is_there(&memory).await;
            bucket.heal();
            upload(&bucket, &dir).await.unwrap();
            assert!(is_there(&memory).await, "{fault:?} at request {n}");
            assert_eq!(keys(&memory).len(), 5);
        }
    }
}

#[tokio::test]
async fn stopped_at_any_request_a_deletion_leaves_no_half_block_and_is_completed_by_the_next() {
    let (_temp, dir) = local_block();
    let mark = sabre_tsdb::meta::DeletionMark {
        id: block(),
        details: String::new(),
        deletion_time_s: 1,
    };
    for fault in FAULTS {
        for n in 0.. {
            let memory = Arc::new(MemoryBucket::new("b"));
            let bucket = FaultBucket::new(Arc::<MemoryBucket>::clone(&memory));
            upload(&bucket, &dir).await.unwrap();
            mark::write(&bucket, &mark).await.unwrap();
            bucket.heal();
            bucket.add(Rule::nth(n, fault));
            let outcome = bucket.until_crash(delete_block(&bucket, block())).await;
            if bucket.triggered() == 0 {
                assert!(matches!(outcome, Some(Ok(()))));
                assert!(n >= 8, "{fault:?}: only {n} requests");
                break;
            }
            assert!(
                !matches!(outcome, Some(Ok(()))),
                "{fault:?} at request {n} went unnoticed"
            );
            is_there(&memory).await;
            let left = keys(&memory);
            let is_marked = left.iter().any(|key| key == "deletion-mark.json");
            assert!(left.is_empty() || is_marked, "the mark goes last: {left:?}");
            bucket.heal();
            delete_block(&bucket, block()).await.unwrap();
            assert_eq!(keys(&memory), [""; 0], "{fault:?} at request {n}");
        }
    }
}

#[tokio::test]
async fn deleting_takes_all_of_one_block_and_nothing_else() {
    let (_temp, dir) = local_block();
    let bucket = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
    upload(&bucket, &dir).await.unwrap();
    let other = BlockId::from_parts(1_767_225_600_000, [8; 10]);
    bucket.put(&key(other, "meta.json"), Bytes::new()).await.unwrap();
    bucket
        .put(&key(block(), "no-compact-mark.json"), Bytes::new())
        .await
        .unwrap();
    bucket
        .put(&key(block(), "some/thing/else"), Bytes::new())
        .await
        .unwrap();
    delete_block(&bucket, block()).await.unwrap();
    assert!(bucket.exists(&key(other, "meta.json")).await.unwrap());
    delete_block(&bucket, other).await.unwrap();
    bucket.heal();
    delete_block(&bucket, other).await.unwrap();
    assert_eq!(
        bucket.count(Operation::Delete),
        0,
        "what is not there is not deleted"
    );
}

#[tokio::test]
async fn errors_of_requests_keep_their_class() {
    let (_temp, dir) = local_block();
    let bucket = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
    for (kind, class) in [
        (ErrorKind::Throttled, ErrorClass::Retryable),
        (ErrorKind::AccessDenied, ErrorClass::Permanent),
    ] {
        bucket.heal();
        bucket.add(Rule::nth(0, Fault::Error(kind)).on("chunks/000002"));
        let error = upload(&bucket, &dir).await.unwrap_err();
        assert_eq!((error.class(), error.file()), (class, "chunks/000002"));
    }
}

/// A bucket that is not what it should be, and says nothing.
mod odd {
    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use sabre_objstore::{GetBody, ListEntry, ObjectMeta, RangeBody, Result};

    use super::*;

    /// What happens to a directory.
    pub(super) type Change = fn(&Path);

    /// Keeps less than it is sent, or has something happen while it is sent the index.
    #[derive(Debug)]
    pub(super) struct OddBucket {
        pub(super) inner: Arc<MemoryBucket>,
        pub(super) is_lossy: bool,
        pub(super) meanwhile: Option<(PathBuf, Change)>,
    }

    #[async_trait]
    impl Bucket for OddBucket {
        fn name(&self) -> &str {
            self.inner.name()
        }

        async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
            self.inner.list(prefix, recursive).await
        }

        async fn get(&self, key: &str) -> Result<GetBody> {
            self.inner.get(key).await
        }

        async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
            self.inner.get_range(key, offset, len).await
        }

        async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
            self.inner.attributes(key).await
        }

        async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
            self.inner.put(key, bytes).await
        }

        async fn upload(&self, key: &str, source: UploadSource) -> Result<()> {
            if let Some((dir, happens)) = &self.meanwhile
                && key.ends_with("index")
            {
                happens(dir);
            }
            if self.is_lossy && key.ends_with("000002") {
                return self.inner.put(key, Bytes::from_static(&[2; 100])).await;
            }
            self.inner.upload(key, source).await
        }

        async fn delete(&self, key: &str) -> Result<()> {
            self.inner.delete(key).await
        }
    }
}

#[tokio::test]
async fn an_upload_that_broke_off_is_completed_and_nothing_is_sent_twice() {
    let (_temp, dir) = local_block();
    let memory = Arc::new(MemoryBucket::new("b"));
    let bucket = FaultBucket::new(Arc::<MemoryBucket>::clone(&memory));
    bucket.add(Rule::next(Operation::Upload, Fault::Error(ErrorKind::Unavailable)).on("000003"));
    let options = UploadOptions {
        concurrency: 1,
        resume_since_ms: Some(0),
        ..UploadOptions::default()
    };
    upload_block(&bucket, &dir, options, now_ms).await.unwrap_err();
    bucket.heal();
    let uploaded = upload_block(&bucket, &dir, options, now_ms).await.unwrap();
    let sent: Vec<String> = bucket
        .requests()
        .into_iter()
        .filter(|request| request.operation == Operation::Upload)
        .map(|request| request.key.replace(&format!("{}/", block()), ""))
        .collect();
    assert_eq!(sent, ["chunks/000003", "index", "meta.json"]);
    assert_eq!((uploaded.size_bytes, uploaded.resumed_bytes), (609, 300));
    assert_eq!(keys(&memory).len(), 5);
}

#[tokio::test]
async fn a_file_of_another_size_and_what_is_old_are_sent_again() {
    let (_temp, dir) = local_block();
    let bucket = MemoryBucket::new("b");
    let put = async |file: &str, bytes: &'static [u8]| {
        let key = key(block(), file);
        bucket.put(&key, Bytes::from_static(bytes)).await.unwrap();
    };
    put("chunks/000001", b"short").await;
    put("index", b"the index").await;
    let since = |resume_since_ms| UploadOptions {
        resume_since_ms,
        ..UploadOptions::default()
    };
    let stale = upload_block(&bucket, &dir, since(Some(i64::MAX)), now_ms)
        .await
        .unwrap();
    assert_eq!(stale.resumed_bytes, 0);
    put("chunks/000001", b"short").await;
    let fresh = upload_block(&bucket, &dir, since(Some(0)), now_ms).await.unwrap();
    assert_eq!(fresh.resumed_bytes, 509, "all but the short one");
    let first = bucket.objects().remove(0).1;
    assert_eq!(first, vec![1; 100]);
}

#[tokio::test]
async fn a_meta_from_elsewhere_needs_none_in_the_directory() {
    let (_temp, dir) = local_block();
    let meta = BlockMeta::parse(&fs::read(dir.join("meta.json")).unwrap()).unwrap();
    fs::remove_file(dir.join("meta.json")).unwrap();
    let renamed = dir.with_file_name("any name");
    fs::rename(&dir, &renamed).unwrap();
    let bucket = Arc::new(MemoryBucket::new("b"));
    let uploaded = upload_block_as(&*bucket, &renamed, meta, UploadOptions::default(), now_ms)
        .await
        .unwrap();
    assert_eq!((uploaded.block, uploaded.size_bytes), (block(), 609));
    assert!(is_there(&bucket).await);
}

#[tokio::test]
async fn a_file_that_is_replaced_meanwhile_holds_the_meta_back() {
    let changes: [(&str, odd::Change); 3] = [
        ("another of the same size", |dir| {
            let file = fs::File::options()
                .write(true)
                .open(dir.join("chunks/000002"))
                .unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }),
        ("a longer one", |dir| {
            fs::write(dir.join("chunks/000002"), vec![9; 201]).unwrap();
        }),
        ("none", |dir| fs::remove_file(dir.join("chunks/000002")).unwrap()),
    ];
    for (what, change) in changes {
        let (_temp, dir) = local_block();
        let memory = Arc::new(MemoryBucket::new("b"));
        let bucket = odd::OddBucket {
            inner: Arc::clone(&memory),
            is_lossy: false,
            meanwhile: Some((dir.clone(), change)),
        };
        let error = upload(&bucket, &dir).await.unwrap_err().to_string();
        assert!(error.contains("chunks/000002"), "{what}: {error}");
        assert!(!keys(&memory).contains(&"meta.json".to_owned()), "{what}");
    }
}
