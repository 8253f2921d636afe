//! The suite of StoreAPI on the sidecar, beside a Prometheus in this process that streams chunks, and one that answers
//! samples.

use async_trait::async_trait;
use std::{sync::Arc, time::Duration};

use sabre_model::time::TimeOrDuration;
use sabre_proto::{StoreService, thanos::info::info_server::InfoServer};
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_sidecar::{
    known::{Known, contact},
    metrics::SidecarMetrics,
    prometheus::{HttpClientConfig, PrometheusClient, ReadQueue},
    store_api::SidecarApi,
};
use sabre_testkit::{
    grpc::serve,
    prometheus::{FakePrometheus, ReadMode},
    storeapi::acceptance::{DataSet, Running, START_MS, Subject, acceptance},
};

struct Sidecar(ReadMode);

#[async_trait]
impl Subject for Sidecar {
    fn name(&self) -> &str {
        match self.0 {
            ReadMode::Streamed { .. } => "sidecar on streamed chunks",
            ReadMode::Sampled => "sidecar on samples",
        }
    }

    fn serves_many(&self) -> bool {
        false
    }

    fn refuses_external_matchers_alone(&self) -> bool {
        true
    }

    async fn start(&self, data: &[DataSet]) -> anyhow::Result<Running> {
        let [set] = data else {
            anyhow::bail!("a sidecar has one Prometheus")
        };
        let external: Vec<(&str, &str)> = set.external.iter().collect();
        let prometheus = FakePrometheus::start(&external).await?;
        prometheus.set_read_mode(self.0);
        let mut label_names = std::collections::BTreeSet::new();
        for (labels, samples) in &set.series {
            let pairs: Vec<(&str, &str)> = labels.iter().collect();
            label_names.extend(pairs.iter().map(|(name, _)| name.to_string()));
            prometheus.floats(&pairs, samples.iter().copied());
        }
        let (writer, reader) = contact();
        writer.up(Known {
            external_labels: set.external.clone(),
            lowest_ms: Some(START_MS),
            label_names: Arc::new(label_names),
            ..Known::default()
        });
        let http = HttpClientConfig::default().build()?;
        let metrics = SidecarMetrics::new(&Registry::new());
        let reads = ReadQueue::new(8, metrics.reads_in_flight.clone(), metrics.reads_waiting.clone());
        let client =
            PrometheusClient::new(http, prometheus.url().parse()?, Duration::from_secs(60)).queued_in(reads);
        let budget = Budget::new(256 << 20, "--sabre.memory-budget");
        let min_time = TimeOrDuration::parse("0000-01-01T00:00:00Z")?;
        let api = Arc::new(SidecarApi::new(client, reader, min_time, budget, metrics));
        let router = tonic::service::Routes::new(StoreService::new(Arc::clone(&api)))
            .add_service(InfoServer::from_arc(api));
        let served = serve(router).await?;
        Ok(Running {
            channel: served.channel.clone(),
            alive: Box::new((prometheus, writer, served)),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_streamed_chunks() {
    // A series takes two chunks, so that frames end within series as well as between them.
    let subject = Sidecar(ReadMode::Streamed { chunks_per_frame: 3 });
    acceptance(&subject).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_samples() {
    acceptance(&Sidecar(ReadMode::Sampled)).await.assert_passed();
}
