//! A container of 192 MiB, which is what charts give each component that nobody thought of: all of them start in it with
//! their defaults, and do their work.

use std::{fs, path::Path};

use sabre_model::Labels;
use sabre_proto::thanos::{LabelMatcher, SeriesRequest, label_matcher, store_client::StoreClient};
use sabre_testkit::{
    blocks::BlockBuilder,
    prometheus::FakePrometheus,
    series::{SeriesAnswer, series},
};
use tonic::transport::Channel;

use super::support::{Component, binary, command, get};

/// The limit of the container.
const LIMIT_BYTES: u64 = 192 << 20;
/// What a process takes of it that finds the limit in its cgroup.
const BUDGET_BYTES: u64 = LIMIT_BYTES / 100 * 60;
const HOUR_MS: i64 = 3_600_000;
const SERIES: usize = 1_000;

fn start(what: &str, arguments: &[String], dir: &Path) -> Component {
    let dir = dir.join(format!("output of {what}"));
    fs::create_dir(&dir).unwrap();
    let mut command = command(binary());
    command.args(arguments).args([
        "--http-address=127.0.0.1:0".to_owned(),
        format!("--sabre.memory-budget={BUDGET_BYTES}B"),
    ]);
    if what != "compactor" {
        command.arg("--grpc-address=127.0.0.1:0");
    }
    Component::start(what, command, &dir)
}

/// So many blocks of two hours.
fn put_blocks(bucket: &Path, count: u64) {
    for number in 0..count {
        let start_ms = i64::try_from(number).unwrap() * 2 * HOUR_MS;
        let range = start_ms..start_ms + 2 * HOUR_MS;
        let builder = BlockBuilder::new(number + 1).ext_labels(&[("cluster", "eu1")]);
        let block = builder.time_range(range.clone()).counters(SERIES, range, 15_000);
        block.build().unwrap().write_to(bucket).unwrap();
    }
}

/// The flags of a store or compactor of this bucket.
fn on_bucket(bucket: &Path, data: &Path) -> [String; 2] {
    [
        format!(
            "--objstore.config={{type: FILESYSTEM, config: {{directory: {}}}}}",
            bucket.display()
        ),
        format!("--data-dir={}", data.display()),
    ]
}

/// Stops it, and says what it was that it never had more of.
async fn stop_within_limit(mut component: Component) {
    let peak = peak_bytes(&component);
    assert!(peak < LIMIT_BYTES, "{peak} bytes: the kernel would have ended it");
    assert!(component.stop().await.success(), "{}", component.stderr());
}

/// Waits until it is ready, and says where it serves HTTP.
async fn ready_at(component: &mut Component) -> String {
    let http = component.http_address().await;
    let http = http.unwrap_or_else(|| panic!("it ended: {}", component.stderr()));
    component.wait_until(&http, || true).await;
    http
}

/// Waits until it is ready.
async fn ready(component: &mut Component) -> StoreClient<Channel> {
    ready_at(component).await;
    let grpc = component.grpc_address().await.expect("it serves gRPC");
    let client = StoreClient::connect(format!("http://{grpc}")).await.unwrap();
    client.max_decoding_message_size(usize::MAX)
}

async fn everything(client: &mut StoreClient<Channel>) -> SeriesAnswer {
    let matcher = LabelMatcher {
        r#type: label_matcher::Type::Re as i32,
        name: "__name__".to_owned(),
        value: ".+".to_owned(),
    };
    let request = SeriesRequest {
        max_time: 8 * HOUR_MS,
        matchers: vec![matcher],
        ..SeriesRequest::default()
    };
    series(client, request).await.unwrap()
}

/// The most that was ever resident of a process, its code among it.
fn peak_bytes(component: &Component) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", component.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_starts_and_answers_in_192_mib() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = dir.path().join("bucket");
    put_blocks(&bucket, 2);
    let [objstore, data] = on_bucket(&bucket, &dir.path().join("data"));
    let mut store = start("store", &["store".to_owned(), objstore, data], dir.path());
    let mut client = ready(&mut store).await;
    // As many at once as the smallest windows allow, and each of them whole.
    let calls = (0..8).map(|_| {
        let mut client = client.clone();
        async move { everything(&mut client).await }
    });
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.by_labels().len(), SERIES, "{:?}", answer.warnings);
        let samples: u32 = answer.series.iter().map(|(_, chunks)| samples(chunks)).sum();
        assert_eq!(samples as usize, SERIES * 2 * 480);
    }
    assert_eq!(everything(&mut client).await.disorder(), None);
    stop_within_limit(store).await;
}

/// How many samples chunks say they have.
fn samples(chunks: &[sabre_proto::thanos::AggrChunk]) -> u32 {
    let counts = chunks.iter().map(|chunk| {
        let data = &chunk.raw.as_ref().unwrap().data;
        u32::from(u16::from_be_bytes([data[0], data[1]]))
    });
    counts.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_starts_and_answers_in_192_mib() {
    let dir = tempfile::tempdir().unwrap();
    let (data, bucket) = (dir.path().join("data"), dir.path().join("bucket"));
    fs::create_dir(&bucket).unwrap();
    let block = BlockBuilder::new(1).counters(SERIES, 0..2 * HOUR_MS, 15_000);
    let block = block.build().unwrap();
    block.write_to(&data).unwrap();
    let prometheus = FakePrometheus::start(&[("cluster", "eu1")]).await.unwrap();
    for number in 0..SERIES {
        let labels = [
            ("__name__", "requests_total"),
            ("series", &format!("{number:06}")),
        ];
        let samples = (0..480i32).map(|step| (i64::from(step) * 15_000, f64::from(step)));
        prometheus.floats(&labels, samples);
    }
    let arguments = [
        "sidecar".to_owned(),
        format!("--prometheus.url={}", prometheus.url()),
        format!("--tsdb.path={}", data.display()),
        format!(
            "--objstore.config={{type: FILESYSTEM, config: {{directory: {}}}}}",
            bucket.display()
        ),
    ];
    let mut sidecar = start("sidecar", &arguments, dir.path());
    let mut client = ready(&mut sidecar).await;
    let answer = everything(&mut client).await;
    assert_eq!(answer.by_labels().len(), SERIES, "{:?}", answer.warnings);
    let first: &Labels = &answer.series[0].0;
    assert_eq!(first.get("cluster"), Some("eu1"));
    let meta = bucket.join(block.meta.ulid.to_string()).join("meta.json");
    let http = sidecar.http_address().await.expect("it serves HTTP");
    sidecar.wait_until(&http, || meta.exists()).await;
    stop_within_limit(sidecar).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_querier_starts_and_answers_in_192_mib() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = dir.path().join("bucket");
    put_blocks(&bucket, 2);
    let [objstore, data] = on_bucket(&bucket, &dir.path().join("data"));
    let mut store = start("store", &["store".to_owned(), objstore, data], dir.path());
    ready(&mut store).await;
    let endpoint = format!("--endpoint={}", store.grpc_address().await.unwrap());
    let mut querier = start("querier", &["query".to_owned(), endpoint], dir.path());
    let http = ready_at(&mut querier).await;
    let query = "count(rate(requests_total[5m]))";
    for path in [
        format!("/api/v1/query?time=14000&query={query}"),
        format!("/api/v1/query_range?start=0&end=14000&step=60&query={query}"),
    ] {
        let (code, answer) = get(&http, &path).await.expect("an answer");
        assert_eq!(code, 200, "{answer}");
        assert!(answer.contains(&format!("\"{SERIES}\"")), "{answer}");
    }
    stop_within_limit(querier).await;
    stop_within_limit(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compactor_compacts_downsamples_and_waits_in_192_mib() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = dir.path().join("bucket");
    put_blocks(&bucket, 5);
    // Of a length at which it is downsampled.
    let long = BlockBuilder::new(9).ext_labels(&[("cluster", "eu2")]);
    let long = long
        .counters(SERIES / 10, 0..48 * HOUR_MS, 60_000)
        .build()
        .unwrap();
    long.write_to(&bucket).unwrap();
    let [objstore, data] = on_bucket(&bucket, &dir.path().join("data"));
    let arguments = ["compact".to_owned(), "--wait".to_owned(), objstore, data];
    let mut compactor = start("compactor", &arguments, dir.path());
    let http = ready_at(&mut compactor).await;
    // Those six, the one of eight hours that four were made into, and data of five minutes.
    compactor.wait_until(&http, || whole_blocks(&bucket) == 8).await;
    stop_within_limit(compactor).await;
}

/// How many blocks there are that somebody may read.
fn whole_blocks(bucket: &Path) -> usize {
    let folders = fs::read_dir(bucket).unwrap();
    let metas = folders.map(|folder| folder.unwrap().path().join("meta.json"));
    metas.filter(|meta| meta.exists()).count()
}
