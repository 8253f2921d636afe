//! A container of 192 MiB, which is what charts give each component that nobody thought of: store and sidecar start in it
//! with their defaults, and answer.

use std::{fs, path::Path};

use sabre_model::Labels;
use sabre_proto::thanos::{LabelMatcher, SeriesRequest, label_matcher, store_client::StoreClient};
use sabre_testkit::{
    blocks::BlockBuilder,
    prometheus::FakePrometheus,
    series::{SeriesAnswer, series},
};
use tonic::transport::Channel;

use super::support::{Component, binary, command};

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
        "--grpc-address=127.0.0.1:0".to_owned(),
        format!("--sabre.memory-budget={BUDGET_BYTES}B"),
    ]);
    Component::start(what, command, &dir)
}

/// Waits until it is ready.
async fn ready(component: &mut Component) -> StoreClient<Channel> {
    let http = component.http_address().await;
    let http = http.unwrap_or_else(|| panic!("it ended: {}", component.stderr()));
    component.wait_until(&http, || true).await;
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
    for number in 0..2 {
        let start_ms = i64::try_from(number).unwrap() * 2 * HOUR_MS;
        let builder = BlockBuilder::new(number + 1).ext_labels(&[("cluster", "eu1")]);
        let block = builder.counters(SERIES, start_ms..start_ms + 2 * HOUR_MS, 15_000);
        block.build().unwrap().write_to(&bucket).unwrap();
    }
    let arguments = [
        "store".to_owned(),
        format!(
            "--objstore.config={{type: FILESYSTEM, config: {{directory: {}}}}}",
            bucket.display()
        ),
        format!("--data-dir={}", dir.path().join("data").display()),
    ];
    let mut store = start("store", &arguments, dir.path());
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
    let peak = peak_bytes(&store);
    assert!(peak < LIMIT_BYTES, "{peak} bytes: the kernel would have ended it");
    assert!(store.stop().await.success(), "{}", store.stderr());
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
    let peak = peak_bytes(&sidecar);
    assert!(peak < LIMIT_BYTES, "{peak} bytes: the kernel would have ended it");
    assert!(sidecar.stop().await.success(), "{}", sidecar.stderr());
}
