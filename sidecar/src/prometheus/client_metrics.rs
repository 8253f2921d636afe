//! How calls to Prometheus go, under Thanos' names. What a round trip is inside, DNS and TLS, is not told apart.

use reqwest::{Method, Response};
use sabre_runtime::metrics::{Counters, Gauge, Histograms, InFlight, Registry};
use tokio::time::Instant;

const BUCKETS: [f64; 7] = [0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Handles; cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientMetrics {
    in_flight: Gauge,
    requests: Counters<2>,
    seconds: Histograms<2>,
}

impl ClientMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> ClientMetrics {
        ClientMetrics {
            in_flight: registry.gauge(
                "thanos_sidecar_http_client_in_flight_requests",
                "A gauge of in-flight requests.",
            ),
            requests: registry.counters(
                "thanos_sidecar_http_client_request_total",
                "Total http client request by code and method.",
                ["code", "method"],
            ),
            seconds: registry.histograms(
                "thanos_sidecar_http_client_request_duration_seconds",
                "A histogram of request latencies.",
                ["code", "method"],
                &BUCKETS,
            ),
        }
    }

    /// Sends a request; what counts is the time to the head of the answer. A call without an answer has no code and is
    /// counted nowhere.
    pub(super) async fn send(
        &self,
        method: &Method,
        request: reqwest::RequestBuilder,
    ) -> reqwest::Result<Response> {
        let started = Instant::now();
        let in_flight = InFlight::new(&self.in_flight);
        let response = request.send().await?;
        drop(in_flight);
        let code = response.status().as_u16().to_string();
        let labels = [code.as_str(), &method.as_str().to_ascii_lowercase()];
        self.requests.with(labels).inc();
        self.seconds.with(labels).observe(started.elapsed().as_secs_f64());
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ScriptedPrometheus;

    #[tokio::test]
    async fn calls_are_counted_by_what_prometheus_answers() {
        let registry = Registry::new();
        let prometheus = ScriptedPrometheus::start().await;
        let client = prometheus.client().counted_in(ClientMetrics::new(&registry));
        client.reload().await.unwrap_err();
        prometheus.answers("-/reload", 200, "");
        client.reload().await.unwrap();
        client.tsdb_flags().await.unwrap();
        let page = registry.classic();
        for line in [
            r#"thanos_sidecar_http_client_request_total{code="404",method="post"} 1"#,
            r#"thanos_sidecar_http_client_request_total{code="200",method="post"} 1"#,
            r#"thanos_sidecar_http_client_request_total{code="404",method="get"} 1"#,
            r#"thanos_sidecar_http_client_request_duration_seconds_count{code="404",method="get"} 1"#,
            "thanos_sidecar_http_client_in_flight_requests 0",
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
    }
}
