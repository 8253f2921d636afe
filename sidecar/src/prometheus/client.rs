//! The calls the sidecar makes to Prometheus' HTTP API. Every answer is bounded before it is read into memory.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use super::{
    body::{Charged, MAX_PAGE_BYTES, read_charged, read_error},
    client_metrics::ClientMetrics,
    config_yaml,
    http_config::HttpClient,
    metrics_page, params,
    params::Selection,
    queue::{ReadQueue, Turn},
};
use sabre_model::Labels;
use sabre_runtime::{
    budget::Budget,
    metrics::{Gauge, Registry},
};

/// What the answers being read may hold together, unless a budget is given.
const OWN_BUDGET_BYTES: u64 = 512 << 20;

/// A Prometheus, or what speaks its API.
#[derive(Clone, Debug)]
pub struct PrometheusClient {
    http: HttpClient,
    base: Url,
    timeout: Duration,
    budget: Budget,
    reads: ReadQueue,
    label_calls: ReadQueue,
    metrics: ClientMetrics,
}

/// What went wrong with a call.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// No answer.
    #[error("{call}: no answer from Prometheus: {reason}")]
    Unreachable {
        /// The call.
        call: &'static str,
        /// Why, with its causes.
        reason: String,
    },
    /// An answer that is not a success.
    #[error("{call}: Prometheus answered {status}: {body}")]
    Status {
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: StatusCode,
        /// The first of the body.
        body: String,
    },
    /// No memory for the answer.
    #[error("{call}: {reason}")]
    Budget {
        /// The call.
        call: &'static str,
        /// What the budget says.
        reason: String,
    },
    /// A success that does not make sense.
    #[error("{call}: Prometheus' answer cannot be used: {reason}")]
    Unusable {
        /// The call.
        call: &'static str,
        /// Why.
        reason: String,
    },
}

/// Flags of Prometheus that matter for shipping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TsdbFlags {
    /// `storage.tsdb.min-block-duration`, as Prometheus prints it.
    pub min_block_duration: String,
    /// `storage.tsdb.max-block-duration`.
    pub max_block_duration: String,
    /// `storage.tsdb.delay-compact-file.path`, empty when not set.
    pub delay_compact_file: String,
}

#[derive(Deserialize)]
struct Envelope<T> {
    status: String,
    data: Option<T>,
    #[serde(default)]
    error: String,
}

impl PrometheusClient {
    /// A client of the API below `base`, whose path is kept.
    pub fn new(http: HttpClient, base: Url, timeout: Duration) -> PrometheusClient {
        PrometheusClient {
            http,
            base,
            timeout,
            budget: Budget::new(OWN_BUDGET_BYTES, "no flag"),
            reads: ReadQueue::new(0, Gauge::default(), Gauge::default()),
            label_calls: ReadQueue::new(0, Gauge::default(), Gauge::default()),
            metrics: ClientMetrics::new(&Registry::new()),
        }
    }

    /// Counts calls in `metrics`.
    #[must_use]
    pub fn counted_in(self, metrics: ClientMetrics) -> PrometheusClient {
        PrometheusClient { metrics, ..self }
    }

    /// Has remote reads wait in `reads` for their turn.
    #[must_use]
    pub fn queued_in(self, reads: ReadQueue) -> PrometheusClient {
        PrometheusClient { reads, ..self }
    }

    /// Has questions for labels wait in `label_calls` for theirs.
    #[must_use]
    pub fn labels_queued_in(self, label_calls: ReadQueue) -> PrometheusClient {
        PrometheusClient { label_calls, ..self }
    }

    /// Charges the answers of JSON calls to `budget`.
    #[must_use]
    pub fn charged_to(self, budget: Budget) -> PrometheusClient {
        PrometheusClient { budget, ..self }
    }

    /// Where this Prometheus is.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The flags Prometheus runs with; `None` if it is too old, or no Prometheus, and does not tell.
    pub async fn tsdb_flags(&self) -> Result<Option<TsdbFlags>, PrometheusError> {
        const CALL: &str = "status/flags";
        let flags: Charged<serde_json::Map<String, serde_json::Value>> =
            match self.get(CALL, "api/v1/status/flags", &[]).await {
                Err(PrometheusError::Status {
                    status: StatusCode::NOT_FOUND,
                    ..
                }) => return Ok(None),
                other => other?,
            };
        let text = |name: &str| {
            flags
                .value
                .get(name)
                .and_then(|v| v.as_str())
                .unwrap_or_default()
                .to_string()
        };
        Ok(Some(TsdbFlags {
            min_block_duration: text("storage.tsdb.min-block-duration"),
            max_block_duration: text("storage.tsdb.max-block-duration"),
            delay_compact_file: text("storage.tsdb.delay-compact-file.path"),
        }))
    }

    /// Prometheus' version, such as `2.42.0`.
    pub async fn version(&self) -> Result<String, PrometheusError> {
        #[derive(Deserialize)]
        struct BuildInfo {
            #[serde(default)]
            version: String,
        }
        let info: Charged<BuildInfo> = self
            .get("status/buildinfo", "api/v1/status/buildinfo", &[])
            .await?;
        Ok(info.value.version)
    }

    /// What Prometheus keeps, such as `15d or 10GiB`.
    pub async fn retention(&self) -> Result<String, PrometheusError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct RuntimeInfo {
            #[serde(default)]
            storage_retention: String,
        }
        let info: Charged<RuntimeInfo> = self
            .get("status/runtimeinfo", "api/v1/status/runtimeinfo", &[])
            .await?;
        Ok(info.value.storage_retention)
    }

    /// Has Prometheus load its configuration anew; it answers once it has. The caller says how long that may take.
    pub async fn reload(&self) -> Result<(), PrometheusError> {
        const CALL: &str = "reload";
        let request = self.http.request(Method::POST, self.url("-/reload"));
        self.dispatch(CALL, &Method::POST, request).await.map(drop)
    }

    /// `global.external_labels` of the configuration in force.
    pub async fn external_labels(&self) -> Result<Labels, PrometheusError> {
        #[derive(Deserialize)]
        struct Config {
            yaml: String,
        }
        const CALL: &str = "status/config";
        let config: Charged<Config> = self.get(CALL, "api/v1/status/config", &[]).await?;
        config_yaml::external_labels(&config.value.yaml)
            .map_err(|reason| PrometheusError::Unusable { call: CALL, reason })
    }

    /// The oldest timestamp in the TSDB in milliseconds; `None` when it is empty or not told.
    pub async fn lowest_timestamp_ms(&self) -> Result<Option<i64>, PrometheusError> {
        const CALL: &str = "metrics";
        let response = self.send(CALL, Method::GET, "metrics", &[]).await?;
        metrics_page::lowest_timestamp_ms(response.bytes_stream(), MAX_PAGE_BYTES)
            .await
            .map_err(|error| unreachable(CALL, &error))
    }

    /// Label names of the selected series.
    pub async fn label_names(
        &self,
        selection: &Selection<'_>,
    ) -> Result<Charged<Vec<String>>, PrometheusError> {
        self.get("labels", "api/v1/labels", &selection.params()).await
    }

    /// Values of the label `name` in the selected series.
    pub async fn label_values(
        &self,
        name: &str,
        selection: &Selection<'_>,
    ) -> Result<Charged<Vec<String>>, PrometheusError> {
        let path = format!("api/v1/label/{}/values", params::escape_label_name(name));
        self.get("label values", &path, &selection.params()).await
    }

    /// Label sets of the selected series.
    pub async fn series(&self, selection: &Selection<'_>) -> Result<Charged<Vec<Labels>>, PrometheusError> {
        self.get("series", "api/v1/series", &selection.params()).await
    }

    /// Waits until a remote read over so many milliseconds may begin; it may go on as long as the turn is held.
    pub(crate) async fn read_turn(&self, range_ms: u64) -> Turn {
        self.reads.turn(range_ms).await
    }

    /// Waits until labels over so many milliseconds may be asked for. Such an answer is one page, held whole.
    pub(crate) async fn label_turn(&self, range_ms: u64) -> Turn {
        self.label_calls.turn(range_ms).await
    }

    /// Sends a remote read request: a snappy block holding a `prometheus.ReadRequest`. The caller reads the answer.
    pub async fn remote_read(&self, snappy_body: Vec<u8>) -> Result<Response, PrometheusError> {
        const CALL: &str = "remote read";
        let request = self
            .http
            .request(Method::POST, self.url("api/v1/read"))
            .header(header::CONTENT_ENCODING, "snappy")
            .header(header::CONTENT_TYPE, "application/x-stream-protobuf")
            .header("X-Prometheus-Remote-Read-Version", "0.1.0")
            .body(snappy_body);
        self.dispatch(CALL, &Method::POST, request).await
    }

    /// The `data` of an answer of the API.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        call: &'static str,
        path: &str,
        params: &[(&str, String)],
    ) -> Result<Charged<T>, PrometheusError> {
        let unusable = |reason: String| PrometheusError::Unusable { call, reason };
        let response = self.send(call, Method::GET, path, params).await?;
        let body = read_charged(call, response, &self.budget).await?;
        let envelope: Envelope<T> =
            serde_json::from_slice(&body.value).map_err(|error| unusable(error.to_string()))?;
        match envelope.data {
            Some(data) if envelope.status == "success" => Ok(body.map(|_| data)),
            _ => Err(unusable(format!(
                "status {:?}: {}",
                envelope.status, envelope.error
            ))),
        }
    }

    async fn send(
        &self,
        call: &'static str,
        method: Method,
        path: &str,
        params: &[(&str, String)],
    ) -> Result<Response, PrometheusError> {
        let mut url = self.url(path);
        if !params.is_empty() {
            url.query_pairs_mut().extend_pairs(params);
        }
        let request = self.http.request(method.clone(), url).timeout(self.timeout);
        self.dispatch(call, &method, request).await
    }

    async fn dispatch(
        &self,
        call: &'static str,
        method: &Method,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, PrometheusError> {
        let sent = self.metrics.send(method, request);
        let response = match self.http.head_timeout {
            None => sent.await,
            Some(limit) => match tokio::time::timeout(limit, sent).await {
                Ok(response) => response,
                Err(_) => {
                    let reason = format!("none within {limit:?} (transport_config.response_header_timeout)");
                    return Err(PrometheusError::Unreachable { call, reason });
                }
            },
        };
        check_status(call, response.map_err(|error| unreachable(call, &error))?).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let joined = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&joined);
        url
    }
}

async fn check_status(call: &'static str, response: Response) -> Result<Response, PrometheusError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = read_error(response).await;
    Err(PrometheusError::Status { call, status, body })
}

/// reqwest's own text leaves the cause out, which is the part worth reading.
pub(crate) fn unreachable(call: &'static str, error: &reqwest::Error) -> PrometheusError {
    let reason = sabre_runtime::with_causes(error);
    PrometheusError::Unreachable { call, reason }
}
