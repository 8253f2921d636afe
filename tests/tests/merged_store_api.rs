//! The suite of StoreAPI on a querier before a store and sidecars: each holds a part of every data set.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says what it saw"
)]

use std::{any::Any, collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use sabre_model::{Labels, time::TimeOrDuration};
use sabre_objstore::{Bucket, MemoryBucket};
use sabre_proto::{StoreService, thanos::info::info_server::InfoServer};
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_sidecar::{
    known::{Known, contact},
    metrics::SidecarMetrics,
    prometheus::{HttpClientConfig, PrometheusClient, ReadQueue},
    store_api::SidecarApi,
};
use sabre_store::{StoreConfig, StoreGateway};
use sabre_testkit::{
    blocks::BlockBuilder,
    grpc::{Served, connect, serve},
    prometheus::{FakePrometheus, ReadMode},
    storeapi::acceptance::{
        DataSet, Running, SAMPLES, START_MS, STEP_MS, Subject, acceptance, acceptance_of_many,
    },
};
use sabre_tests::in_process;
use sabre_tsdb::chunk::{Sample, Value};
use tonic::service::Routes;

/// Samples from here on are those of the sidecars, where a series is in both.
const MIDDLE_MS: i64 = START_MS + SAMPLES / 2 * STEP_MS;

const BUDGET_BYTES: u64 = 256 << 20;

type Series = (Labels, Vec<(i64, f64)>);
type Alive = Box<dyn Any + Send + Sync>;

/// A querier before them. Several data sets are a test of their own, so that none takes long.
struct Merged;

#[async_trait]
impl Subject for Merged {
    fn name(&self) -> &str {
        "querier before a store and sidecars"
    }

    fn serves_many(&self) -> bool {
        false
    }

    async fn start(&self, data: &[DataSet]) -> anyhow::Result<Running> {
        let bucket = Arc::new(MemoryBucket::new("test"));
        let (mut addresses, mut alive): (Vec<_>, Vec<Alive>) = (Vec::new(), Vec::new());
        for (number, set) in (1u64..).zip(data) {
            let (old, new) = parts(set);
            put(&*bucket, number, &set.external, &old).await?;
            let (served, kept) = sidecar(&set.external, &new).await?;
            addresses.push(served.address);
            alive.push(Box::new((served, kept)));
        }
        let (served, kept) = store(bucket).await?;
        addresses.push(served.address);
        alive.push(Box::new((served, kept)));
        let flags: Vec<String> = addresses
            .iter()
            .map(|address| format!("--endpoint={address}"))
            .collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let querier = in_process::querier(&flags).await?;
        Ok(Running {
            channel: connect(querier.grpc).await?,
            alive: Box::new((querier, alive)),
        })
    }
}

/// What the store has of a data set, and what its sidecar has: a third of the series each alone, the rest until and
/// from the middle.
fn parts(set: &DataSet) -> (Vec<Series>, Vec<Series>) {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for (number, (labels, samples)) in set.series.iter().enumerate() {
        match number % 3 {
            0 => old.push((labels.clone(), samples.clone())),
            1 => new.push((labels.clone(), samples.clone())),
            _ => {
                let (before, after) = samples.iter().partition(|(at, _)| *at < MIDDLE_MS);
                old.push((labels.clone(), before));
                new.push((labels.clone(), after));
            }
        }
    }
    (old, new)
}

async fn put(bucket: &dyn Bucket, number: u64, external: &Labels, series: &[Series]) -> anyhow::Result<()> {
    let external: Vec<(&str, &str)> = external.iter().collect();
    let mut block = BlockBuilder::new(number)
        .time_range(START_MS..START_MS + SAMPLES * STEP_MS)
        .ext_labels(&external);
    for (labels, samples) in series {
        let samples = samples.iter().map(|&(t, value)| Sample {
            t,
            value: Value::Float(value),
        });
        block = block.samples(labels.clone(), samples);
    }
    block.build()?.put_into(bucket).await?;
    Ok(())
}

async fn store(bucket: Arc<MemoryBucket>) -> anyhow::Result<(Served, Alive)> {
    let data_dir = tempfile::tempdir()?;
    let budget = Budget::new(BUDGET_BYTES, "--sabre.memory-budget");
    let gateway = StoreGateway::new(
        bucket,
        StoreConfig::new(data_dir.path()),
        budget,
        &Registry::new(),
    );
    gateway.sync(START_MS).await?;
    let routes = Routes::new(gateway.store_service()).add_service(gateway.info_service());
    Ok((serve(routes).await?, Box::new((gateway, data_dir))))
}

async fn sidecar(external: &Labels, series: &[Series]) -> anyhow::Result<(Served, Alive)> {
    let pairs: Vec<(&str, &str)> = external.iter().collect();
    let prometheus = FakePrometheus::start(&pairs).await?;
    prometheus.set_read_mode(ReadMode::Streamed { chunks_per_frame: 3 });
    let mut label_names = BTreeSet::new();
    for (labels, samples) in series {
        let pairs: Vec<(&str, &str)> = labels.iter().collect();
        label_names.extend(pairs.iter().map(|(name, _)| name.to_string()));
        prometheus.floats(&pairs, samples.iter().copied());
    }
    let (writer, reader) = contact();
    writer.up(Known {
        external_labels: external.clone(),
        lowest_ms: Some(START_MS),
        label_names: Arc::new(label_names),
        ..Known::default()
    });
    let metrics = SidecarMetrics::new(&Registry::new());
    let reads = ReadQueue::new(8, metrics.reads_in_flight.clone(), metrics.reads_waiting.clone());
    let http = HttpClientConfig::default().build()?;
    let client =
        PrometheusClient::new(http, prometheus.url().parse()?, Duration::from_secs(60)).queued_in(reads);
    let budget = Budget::new(BUDGET_BYTES, "--sabre.memory-budget");
    let min_time = TimeOrDuration::parse("0000-01-01T00:00:00Z")?;
    let api = Arc::new(SidecarApi::new(client, reader, min_time, budget, metrics));
    let routes = Routes::new(StoreService::new(Arc::clone(&api))).add_service(InfoServer::from_arc(api));
    Ok((serve(routes).await?, Box::new((prometheus, writer))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_querier_before_a_store_and_a_sidecar_is_a_store_api() {
    acceptance(&Merged).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_before_several_sidecars() {
    acceptance_of_many(&Merged).await.assert_passed();
}
