//! A sidecar as its command starts it, beside a fake Prometheus.

use sabre_proto::thanos::store_client::StoreClient;
use sabre_testkit::{grpc::connect, prometheus::FakePrometheus};
use sabre_tests::in_process::{self, Running};
use tonic::transport::Channel;

use super::support::{and, eventually};

/// It stops when this is dropped.
pub(crate) struct Sidecar {
    pub(crate) prometheus: FakePrometheus,
    running: Running,
    channel: Channel,
}

impl Sidecar {
    pub(crate) async fn start(more_flags: &[&str]) -> Self {
        let prometheus = FakePrometheus::start(&[("cluster", "eu1")]).await.unwrap();
        let url = format!("--prometheus.url={}", prometheus.url());
        let running = in_process::sidecar(&and(&url, more_flags)).await.unwrap();
        Self {
            prometheus,
            channel: connect(running.grpc).await.unwrap(),
            running,
        }
    }

    pub(crate) fn client(&self) -> StoreClient<Channel> {
        StoreClient::new(self.channel.clone()).max_decoding_message_size(1 << 30)
    }

    /// A figure of the memory budget, such as `used`.
    pub(crate) fn budget_bytes(&self, figure: &str) -> u64 {
        let name = format!("sabre_memory_budget_{figure}_bytes");
        self.running.metric(&name).unwrap() as u64
    }

    /// Waits until nothing of the budget is held.
    pub(crate) async fn memory_is_back(&self) {
        eventually("the release of memory", || self.budget_bytes("used") == 0).await;
    }
}
