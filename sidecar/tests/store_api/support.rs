//! A sidecar as its command starts it, beside a fake Prometheus.

use std::time::Duration;

use prost::Message;
use sabre_model::{Labels, MatchKind};
use sabre_proto::{
    prometheus::{Query, ReadRequest},
    thanos::{AggrChunk, LabelMatcher, SeriesRequest, info, store_client::StoreClient},
};
use sabre_runtime::{
    flags::{App, groups},
    metrics::Registry,
};
use sabre_sidecar::{flags::command, run::run};
use sabre_testkit::{
    prometheus::FakePrometheus,
    series::{SeriesAnswer, series},
};
use sabre_tsdb::chunk::{Encoding, Sample, Value, decode_samples};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// A sidecar in the test process. It stops when this is dropped.
pub(crate) struct Sidecar {
    pub(crate) prometheus: FakePrometheus,
    pub(crate) registry: Registry,
    pub(crate) channel: Channel,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

/// A Prometheus `{cluster="eu1", replica="a"}`.
pub(crate) async fn prometheus() -> FakePrometheus {
    FakePrometheus::start(&[("cluster", "eu1"), ("replica", "a")])
        .await
        .unwrap()
}

impl Sidecar {
    /// Starts a sidecar that asks `prometheus` how it is every 20 ms, and waits until it has an answer, or has ended.
    pub(crate) async fn start(prometheus: FakePrometheus, more_flags: &[&str]) -> Self {
        let sidecar = Self::start_unanswered(prometheus, more_flags).await;
        eventually("the first contact", || {
            sidecar.task.is_finished() || sidecar.metric("thanos_sidecar_prometheus_up") == 1.0
        })
        .await;
        sidecar
    }

    /// The same, without the waiting.
    pub(crate) async fn start_unanswered(prometheus: FakePrometheus, more_flags: &[&str]) -> Self {
        let url = format!("--prometheus.url={}", prometheus.url());
        let arguments = [
            "sabre",
            "sidecar",
            &url,
            "--prometheus.get_config_interval=20ms",
            "--http-address=127.0.0.1:0",
            "--grpc-address=127.0.0.1:0",
        ];
        let app = App::new("sabre", "test", "")
            .global(groups::global())
            .command(command());
        let parsed = app.parse(arguments.iter().chain(more_flags)).unwrap();
        let (registry, stop) = (Registry::new(), CancellationToken::new());
        let (sender, listening) = oneshot::channel();
        let task = tokio::spawn({
            let (registry, stop) = (registry.clone(), stop.clone());
            async move { run(&parsed.flags, registry, stop, Some(sender)).await }
        });
        let listening = listening.await.unwrap();
        Self {
            prometheus,
            registry,
            // It may have ended already, which is not for every call to find out.
            channel: Endpoint::from_shared(format!("http://{}", listening.grpc))
                .unwrap()
                .connect_lazy(),
            task,
            stop,
        }
    }

    pub(crate) fn client(&self) -> StoreClient<Channel> {
        StoreClient::new(self.channel.clone()).max_decoding_message_size(1 << 30)
    }

    pub(crate) async fn series(&self, request: SeriesRequest) -> Result<SeriesAnswer, Status> {
        series(&mut self.client(), request).await
    }

    pub(crate) async fn info(&self) -> Result<info::InfoResponse, Status> {
        let mut client = info::info_client::InfoClient::new(self.channel.clone());
        Ok(client.info(info::InfoRequest {}).await?.into_inner())
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.registry.classic();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    /// Waits until nothing of the memory budget is held any more.
    pub(crate) async fn all_memory_is_back(&self) {
        eventually("the release of memory", || {
            self.metric("sabre_memory_budget_used_bytes") == 0.0
        })
        .await;
    }

    /// The queries that remote read was asked, in their order.
    pub(crate) fn queries(&self) -> Vec<Query> {
        let requests = self.prometheus.requests("/api/v1/read");
        let queries = requests.iter().map(|request| {
            let plain = snap::raw::Decoder::new().decompress_vec(&request.body).unwrap();
            ReadRequest::decode(&*plain).unwrap().queries.remove(0)
        });
        queries.collect()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits until something is so that comes about by itself, and no longer than a minute.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let patience = Duration::from_secs(60);
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(patience, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} never came"));
}

pub(crate) fn matcher(kind: MatchKind, name: &str, value: &str) -> LabelMatcher {
    LabelMatcher {
        r#type: kind.to_wire(),
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// A request for all times.
pub(crate) fn request(matchers: &[(MatchKind, &str, &str)]) -> SeriesRequest {
    SeriesRequest {
        min_time: i64::MIN,
        max_time: i64::MAX,
        matchers: matchers
            .iter()
            .map(|(kind, name, value)| matcher(*kind, name, value))
            .collect(),
        ..SeriesRequest::default()
    }
}

/// All series there are.
pub(crate) fn everything() -> SeriesRequest {
    request(&[(MatchKind::Re, "__name__", ".+")])
}

/// The series of an answer as text, with the number of their chunks.
pub(crate) fn shape(answer: &SeriesAnswer) -> Vec<(String, usize)> {
    let series = answer.series.iter();
    series
        .map(|(labels, chunks)| (labels.to_string(), chunks.len()))
        .collect()
}

/// The samples of a series of an answer.
pub(crate) fn samples(answer: &SeriesAnswer, labels: &Labels) -> Vec<Sample> {
    let (_, chunks) = answer.series.iter().find(|(found, _)| found == labels).unwrap();
    chunks.iter().flat_map(decode).collect()
}

/// The samples of a raw chunk.
pub(crate) fn decode(chunk: &AggrChunk) -> Vec<Sample> {
    let raw = chunk.raw.as_ref().unwrap();
    // StoreAPI counts from zero what files count from one.
    let encoding = Encoding::try_from(u8::try_from(raw.r#type + 1).unwrap()).unwrap();
    let samples = decode_samples(encoding, &raw.data).unwrap();
    assert_eq!(samples.first().map(|sample| sample.t), Some(chunk.min_time));
    assert_eq!(samples.last().map(|sample| sample.t), Some(chunk.max_time));
    samples
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

/// `count` floats, 15 s apart from `start_ms` on.
pub(crate) fn floats(start_ms: i64, count: i64) -> Vec<(i64, f64)> {
    (0..count)
        .map(|n| (start_ms + n * 15_000, n as f64 * 1.5))
        .collect()
}

/// The same as samples.
pub(crate) fn float_samples(start_ms: i64, count: i64) -> Vec<Sample> {
    let floats = floats(start_ms, count).into_iter();
    floats
        .map(|(t, value)| Sample {
            t,
            value: Value::Float(value),
        })
        .collect()
}
