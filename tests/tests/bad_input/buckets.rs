//! Buckets that answer 403, 503 or half a body, or not at all: as a store meets them when it lists, reads a meta.json, an
//! index and chunks, and a sidecar when it ships. The S3 client is the real one, the server is scripted.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use sabre_objstore::{SharedBucket, config::from_yaml};
use sabre_proto::thanos::{SeriesRequest, store_client::StoreClient};
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_store::{StoreConfig, StoreGateway};
use sabre_testkit::{
    grpc::{Served, serve},
    s3::{Answer, Recorded, ScriptedServer},
    series::{SeriesAnswer, series},
};
use tempfile::TempDir;
use tonic::{Code, Status, service::Routes};

use super::{
    local_blocks::{recorded, ship},
    support::{BUDGET_FLAG, Log, NOW_MS, and, assert_says, block, eventually, everything, of_cluster},
};

/// No pause is longer.
const DAY_MS: i64 = 86_400_000;

struct Row {
    what: &'static str,
    /// Of the right answer the one that is given.
    spoil: fn(Answer) -> Answer,
    says: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        what: "403",
        spoil: |_| Answer::s3_error(403, "AccessDenied", "Access Denied"),
        says: &["HTTP 403", "s3:"],
    },
    Row {
        what: "503",
        spoil: |_| Answer::s3_error(503, "SlowDown", "Please reduce your request rate."),
        says: &["HTTP 503", "gave up after 2 tries"],
    },
    Row {
        what: "half a body",
        spoil: |answer| {
            let half = answer.body_bytes().len() / 2;
            answer.cut_after(half)
        },
        says: &["gave up after 2 tries"],
    },
    Row {
        what: "silence",
        spoil: |_| Answer::silence(),
        says: &["gave up after 2 tries"],
    },
];

/// Requests that have this in their path or query are answered wrongly, by this.
type Trouble = Arc<Mutex<Option<(String, fn(Answer) -> Answer)>>>;

/// An S3 server over objects in memory: as much of one as a store and a sidecar ask.
struct FakeS3 {
    server: ScriptedServer,
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    trouble: Trouble,
}

impl FakeS3 {
    async fn start() -> Self {
        let objects: Arc<Mutex<BTreeMap<String, Bytes>>> = Arc::default();
        let trouble: Trouble = Arc::default();
        let (served, spoiled) = (Arc::clone(&objects), Arc::clone(&trouble));
        let server = ScriptedServer::start_with(move |request| {
            let answer = answer(&mut served.lock(), request);
            match &*spoiled.lock() {
                Some((part, spoil)) if request.target.contains(part.as_str()) => spoil(answer),
                _ => answer,
            }
        });
        Self {
            server: server.await.unwrap(),
            objects,
            trouble,
        }
    }

    /// With blocks 1, `{cluster="bad"}`, and 2, `{cluster="good"}`; and the name of the first.
    async fn with_two_blocks() -> (Self, String) {
        let s3 = Self::start().await;
        let (bad, good) = (block(1, "bad"), block(2, "good"));
        for block in [&bad, &good] {
            for (file, bytes) in &block.files {
                s3.objects
                    .lock()
                    .insert(format!("{}/{file}", block.meta.ulid), bytes.clone());
            }
        }
        (s3, bad.meta.ulid.to_string())
    }

    fn spoil(&self, part: &str, row: &Row) {
        *self.trouble.lock() = Some((part.to_owned(), row.spoil));
    }

    fn heal(&self) {
        *self.trouble.lock() = None;
    }

    /// A client that tries twice and waits 200 ms for an answer.
    fn bucket(&self) -> SharedBucket {
        let text = format!(
            "type: S3\nconfig:\n  bucket: b\n  endpoint: {}\n  insecure: true\n  access_key: a\n  secret_key: s\n  \
             max_retries: 1\n  http_config: {{response_header_timeout: 200ms}}\n",
            self.server.endpoint()
        );
        from_yaml(&text, "test").unwrap()
    }
}

fn answer(objects: &mut BTreeMap<String, Bytes>, request: &Recorded) -> Answer {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let key = path.trim_start_matches("/b").trim_start_matches('/');
    if query.contains("list-type=2") {
        let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix="));
        return listing(objects, &prefix.unwrap_or_default().replace("%2F", "/"));
    }
    if request.method == "PUT" {
        objects.insert(key.to_owned(), request.body.clone());
        return Answer::new(200).header("etag", "\"0\"");
    }
    let Some(object) = objects.get(key) else {
        return Answer::s3_error(404, "NoSuchKey", "The specified key does not exist.");
    };
    let Some(range) = request
        .header("range")
        .and_then(|range| range.strip_prefix("bytes="))
    else {
        return Answer::new(200).body(object.clone());
    };
    let (first, last) = range.split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    let last = last.parse().unwrap_or(usize::MAX).min(object.len() - 1);
    let header = format!("bytes {first}-{last}/{}", object.len());
    Answer::new(206)
        .header("content-range", &header)
        .body(object.slice(first..=last))
}

fn listing(objects: &BTreeMap<String, Bytes>, prefix: &str) -> Answer {
    let mut xml = String::from(
        "<?xml version=\"1.0\"?><ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated>",
    );
    for (key, bytes) in objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
        let modified = "2026-01-01T00:00:00.000Z";
        write!(
            xml,
            "<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><Size>{}</Size></Contents>",
            bytes.len()
        )
        .unwrap();
    }
    Answer::new(200)
        .header("content-type", "application/xml")
        .body(xml + "</ListBucketResult>")
}

struct Store {
    gateway: StoreGateway,
    budget: Budget,
    served: Served,
    _data_dir: TempDir,
}

impl Store {
    async fn over(s3: &FakeS3) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let config = StoreConfig::new(data_dir.path());
        let budget = Budget::new(256 << 20, BUDGET_FLAG);
        let gateway = StoreGateway::new(s3.bucket(), config, budget.clone(), &Registry::new());
        let served = serve(Routes::new(gateway.store_service())).await.unwrap();
        Self {
            gateway,
            budget,
            served,
            _data_dir: data_dir,
        }
    }

    async fn series(&self, request: SeriesRequest) -> Result<SeriesAnswer, Status> {
        series(&mut StoreClient::new(self.served.channel.clone()), request).await
    }

    async fn series_count(&self, request: SeriesRequest) -> usize {
        self.series(request).await.unwrap().series.len()
    }
}

#[tokio::test]
async fn a_listing_that_fails_fails_the_sync_and_what_was_known_is_served() {
    for row in ROWS {
        let (s3, _) = FakeS3::with_two_blocks().await;
        let store = Store::over(&s3).await;
        store.gateway.sync(NOW_MS).await.unwrap();
        s3.spoil("list-type=2", row);
        let error = store.gateway.sync(NOW_MS + 1).await.unwrap_err().to_string();
        for part in [
            ["cannot find out which blocks there are", "iter", "\"b\""].as_slice(),
            row.says,
        ]
        .concat()
        {
            assert!(error.contains(part), "{}: {part:?} in {error}", row.what);
        }
        assert_eq!(store.series_count(everything()).await, 6, "{}", row.what);
        s3.heal();
        let outcome = store.gateway.sync(NOW_MS + 2).await.unwrap();
        assert_eq!((outcome.served, outcome.dropped), (2, 0), "{}", row.what);
    }
}

#[tokio::test]
async fn a_block_whose_files_cannot_be_read_waits_and_the_other_is_served() {
    for file in ["meta.json", "index"] {
        for row in ROWS {
            let (what, log) = (format!("{} for {file}", row.what), Log::keep());
            let (s3, bad) = FakeS3::with_two_blocks().await;
            let key = format!("{bad}/{file}");
            s3.spoil(&key, row);
            let store = Store::over(&s3).await;
            let outcome = store.gateway.sync(NOW_MS).await.unwrap();
            assert_eq!((outcome.served, outcome.added), (1, 1), "{what}");
            log.assert_has(&what, &and(&key, row.says));
            let answer = store.series(everything()).await.unwrap();
            assert_eq!(answer.series.len(), 3, "{what}");
            // Of a block without meta.json nobody knows what it would answer.
            let warned = answer
                .warnings
                .iter()
                .any(|warning| warning.contains(&bad.to_string()));
            assert_eq!(warned, file == "index", "{what}: {:?}", answer.warnings);
            s3.heal();
            // Requests know the time of the clock, so the pause counts from there.
            let later_ms = sabre_runtime::clock::now_ms() + DAY_MS;
            store.gateway.sync(later_ms).await.unwrap();
            assert_eq!(store.series_count(everything()).await, 6, "{what}");
        }
    }
}

#[tokio::test]
async fn chunks_that_cannot_be_read_fail_the_requests_that_need_them() {
    for row in ROWS {
        let what = row.what;
        let (s3, bad) = FakeS3::with_two_blocks().await;
        let store = Store::over(&s3).await;
        store.gateway.sync(NOW_MS).await.unwrap();
        let idle_bytes = store.budget.usage().used_bytes;
        let key = format!("{bad}/chunks/000001");
        s3.spoil(&key, row);
        let status = store.series(everything()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unknown, "{what}: {status}");
        assert_says(what, &status, &and(&key, &and("get_range", row.says)));
        assert_eq!(store.series_count(of_cluster("good")).await, 3, "{what}");
        eventually("the release of memory", || {
            store.budget.usage().used_bytes == idle_bytes
        })
        .await;
        s3.heal();
        assert_eq!(
            store.series_count(everything()).await,
            6,
            "{what}: the block is still served"
        );
    }
}

#[tokio::test]
async fn a_block_that_the_bucket_does_not_take_stays_at_home_and_goes_later() {
    for row in ROWS.iter().filter(|row| row.what != "half a body") {
        for file in ["chunks/000001", "index", "meta.json"] {
            let what = format!("{} for {file}", row.what);
            let s3 = FakeS3::start().await;
            let dir = tempfile::tempdir().unwrap();
            let local = sabre_testkit::blocks::BlockBuilder::new(1).counters(2, 0..600_000, 15_000);
            let local = local.build().unwrap();
            local.write_to(dir.path()).unwrap();
            let id = local.meta.ulid.to_string();
            let key = format!("{id}/{file}");
            s3.spoil(&key, row);
            let error = ship(dir.path(), &s3.bucket()).await.unwrap_err().to_string();
            for part in and(&key, row.says) {
                assert!(error.contains(part), "{what}: {part:?} in {error}");
            }
            assert!(!recorded(dir.path()).contains(&id), "{what}");
            s3.heal();
            let report = ship(dir.path(), &s3.bucket()).await.unwrap();
            assert_eq!(report.shipped, [local.meta.ulid], "{what}");
            let keys: Vec<String> = s3.objects.lock().keys().cloned().collect();
            let want = ["chunks/000001", "index", "meta.json"].map(|file| format!("{id}/{file}"));
            assert_eq!(keys, want, "{what}");
            assert!(recorded(dir.path()).contains(&id), "{what}");
        }
    }
}
