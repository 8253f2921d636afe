//! A querier that compresses its requests with Thanos' `snappy` is answered by every service, of a sidecar and of a store.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed step fails the test"
)]

use sabre_proto::thanos::{
    LabelMatcher, LabelNamesRequest, LabelNamesResponse, SeriesRequest, SeriesResponse, info, series_response,
};
use sabre_testkit::{
    blocks::BlockBuilder,
    grpc::{connect, snappy_call},
    prometheus::FakePrometheus,
};
use sabre_tests::in_process::{self, Running};
use tonic::{Code, transport::Channel};

/// Series, label names and Info, each asked once.
async fn ask(channel: &Channel) -> (Vec<String>, Vec<String>, String) {
    let up = LabelMatcher {
        name: "__name__".to_owned(),
        value: "up".to_owned(),
        ..LabelMatcher::default()
    };
    let series = SeriesRequest {
        max_time: i64::MAX,
        matchers: vec![up],
        ..SeriesRequest::default()
    };
    let series: Vec<SeriesResponse> = snappy_call(channel, "/thanos.Store/Series", &series)
        .await
        .unwrap();
    let jobs = series.into_iter().filter_map(|message| match message.result {
        Some(series_response::Result::Series(series)) => {
            let job = series.labels.iter().find(|label| label.name == "job").unwrap();
            Some(job.value.clone())
        }
        _ => None,
    });
    let names = LabelNamesRequest {
        end: i64::MAX,
        ..LabelNamesRequest::default()
    };
    let names: Vec<LabelNamesResponse> = snappy_call(channel, "/thanos.Store/LabelNames", &names)
        .await
        .unwrap();
    let info: Vec<info::InfoResponse> = snappy_call(channel, "/thanos.info.Info/Info", &info::InfoRequest {})
        .await
        .unwrap();
    (
        jobs.collect(),
        names[0].names.clone(),
        info[0].component_type.clone(),
    )
}

async fn check(running: &Running, component: &str) {
    let channel = connect(running.grpc).await.unwrap();
    let (jobs, names, named) = ask(&channel).await;
    assert_eq!(jobs, ["a", "b"]);
    assert_eq!(names, ["__name__", "cluster", "job"]);
    assert_eq!(named, component);
    // A method that does not exist is unimplemented, compressed or not.
    let unknown =
        snappy_call::<SeriesResponse>(&channel, "/thanos.Store/Nothing", &info::InfoRequest {}).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_reads_compressed_requests() {
    let prometheus = FakePrometheus::start(&[("cluster", "eu1")]).await.unwrap();
    prometheus.floats(&[("__name__", "up"), ("job", "a")], [(1000, 1.0)]);
    prometheus.floats(&[("__name__", "up"), ("job", "b")], [(1000, 1.0)]);
    let url = format!("--prometheus.url={}", prometheus.url());
    let sidecar = in_process::sidecar(&[&url]).await.unwrap();
    check(&sidecar, "sidecar").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_reads_compressed_requests() {
    let dir = tempfile::tempdir().unwrap();
    let block = BlockBuilder::new(1)
        .ext_labels(&[("cluster", "eu1")])
        .floats(&[("__name__", "up"), ("job", "a")], [(1000, 1.0)])
        .floats(&[("__name__", "up"), ("job", "b")], [(1000, 1.0)]);
    block
        .build()
        .unwrap()
        .write_to(&dir.path().join("bucket"))
        .unwrap();
    let bucket = format!(
        "--objstore.config={{type: FILESYSTEM, config: {{directory: {}}}}}",
        dir.path().join("bucket").display()
    );
    let data_dir = format!("--data-dir={}", dir.path().join("data").display());
    let store = in_process::store(&[&bucket, &data_dir]).await.unwrap();
    // Ready after the first look at the bucket.
    while store.metric("thanos_bucket_store_blocks_loaded").unwrap() < 1.0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    check(&store, "store").await;
}
