//! The calls the sidecar makes to Prometheus' HTTP API. Every answer is bounded before it is read into memory.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use reqwest::{Method, Response, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use super::{config_yaml, http_config::HttpClient};
use sabre_model::Labels;

/// Prometheus' metrics page and configuration may be some megabytes.
const MAX_PAGE_BYTES: usize = 64 << 20;

/// How much of an error page is shown.
const MAX_ERROR_BYTES: usize = 2048;

/// `prometheus_tsdb_lowest_timestamp_seconds` of an empty TSDB: `MaxInt64` milliseconds in seconds.
const EMPTY_LOWEST_SECONDS: f64 = 9_223_372_036_854_775.0;

/// A Prometheus, or what speaks its API.
#[derive(Clone, Debug)]
pub struct PrometheusClient {
    http: HttpClient,
    base: Url,
    timeout: Duration,
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

/// What selects series: a selector text and a closed range of milliseconds.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// Such as `{job="a"}`; `None` selects all.
    pub selector: Option<&'a str>,
    /// First instant, in milliseconds.
    pub mint_ms: i64,
    /// Last instant, in milliseconds.
    pub maxt_ms: i64,
    /// At most this many entries; 0 is no limit.
    pub limit: i64,
}

impl PrometheusClient {
    /// A client of the API below `base`, whose path is kept.
    pub fn new(http: HttpClient, base: Url, timeout: Duration) -> PrometheusClient {
        PrometheusClient { http, base, timeout }
    }

    /// Where this Prometheus is.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The flags Prometheus runs with; `None` if it is too old, or no Prometheus, and does not tell.
    pub async fn tsdb_flags(&self) -> Result<Option<TsdbFlags>, PrometheusError> {
        const CALL: &str = "status/flags";
        let flags: serde_json::Map<String, serde_json::Value> =
            match self.get(CALL, "api/v1/status/flags", &[]).await {
                Err(PrometheusError::Status {
                    status: StatusCode::NOT_FOUND,
                    ..
                }) => return Ok(None),
                other => other?,
            };
        let text = |name: &str| {
            flags
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
        let info: BuildInfo = self
            .get("status/buildinfo", "api/v1/status/buildinfo", &[])
            .await?;
        Ok(info.version)
    }

    /// `global.external_labels` of the configuration in force.
    pub async fn external_labels(&self) -> Result<Labels, PrometheusError> {
        #[derive(Deserialize)]
        struct Config {
            yaml: String,
        }
        const CALL: &str = "status/config";
        let config: Config = self.get(CALL, "api/v1/status/config", &[]).await?;
        config_yaml::external_labels(&config.yaml)
            .map_err(|reason| PrometheusError::Unusable { call: CALL, reason })
    }

    /// The oldest timestamp in the TSDB in milliseconds; `None` when it is empty or not told.
    pub async fn lowest_timestamp_ms(&self) -> Result<Option<i64>, PrometheusError> {
        const CALL: &str = "metrics";
        let response = self.send(CALL, Method::GET, "metrics", &[]).await?;
        let body = read_bounded(CALL, response, MAX_PAGE_BYTES).await?;
        Ok(lowest_timestamp_ms(&String::from_utf8_lossy(&body)))
    }

    /// Label names of the selected series.
    pub async fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, PrometheusError> {
        self.get("labels", "api/v1/labels", &selection.params()).await
    }

    /// Values of the label `name` in the selected series.
    pub async fn label_values(
        &self,
        name: &str,
        selection: &Selection<'_>,
    ) -> Result<Vec<String>, PrometheusError> {
        let path = format!("api/v1/label/{}/values", escape_label_name(name));
        self.get("label values", &path, &selection.params()).await
    }

    /// Label sets of the selected series.
    pub async fn series(&self, selection: &Selection<'_>) -> Result<Vec<Labels>, PrometheusError> {
        self.get("series", "api/v1/series", &selection.params()).await
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
        let response = request.send().await.map_err(|error| unreachable(CALL, &error))?;
        check_status(CALL, response).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        call: &'static str,
        path: &str,
        params: &[(&str, String)],
    ) -> Result<T, PrometheusError> {
        let unusable = |reason: String| PrometheusError::Unusable { call, reason };
        let response = self.send(call, Method::GET, path, params).await?;
        let body = read_bounded(call, response, MAX_PAGE_BYTES).await?;
        let envelope: Envelope<T> =
            serde_json::from_slice(&body).map_err(|error| unusable(error.to_string()))?;
        match envelope.data {
            Some(data) if envelope.status == "success" => Ok(data),
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
        let request = self.http.request(method, url).timeout(self.timeout);
        let response = request.send().await.map_err(|error| unreachable(call, &error))?;
        check_status(call, response).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let joined = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&joined);
        url
    }
}

impl Selection<'_> {
    fn params(&self) -> Vec<(&'static str, String)> {
        let mut params = vec![("start", seconds(self.mint_ms)), ("end", seconds(self.maxt_ms))];
        if let Some(selector) = self.selector {
            params.push(("match[]", selector.to_string()));
        }
        if self.limit > 0 {
            params.push(("limit", self.limit.to_string()));
        }
        params
    }
}

/// Milliseconds as Prometheus' API reads them. It refuses what does not fit its own range of times, so times
/// "before everything" and "after everything" are cut to years that do.
fn seconds(ms: i64) -> String {
    const YEAR_1: i64 = -62_135_596_800_000;
    const YEAR_9999: i64 = 253_402_300_799_000;
    let ms = ms.clamp(YEAR_1, YEAR_9999);
    let sign = if ms < 0 { "-" } else { "" };
    let (whole, rest) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    if rest == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{rest:03}")
    }
}

/// Names that are not letters, digits and underscores are escaped as Prometheus' API wants them in a path.
fn escape_label_name(name: &str) -> String {
    let legacy = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(legacy) {
        return name.to_string();
    }
    let mut escaped = String::from("U__");
    for (position, c) in name.chars().enumerate() {
        match c {
            '_' => escaped.push_str("__"),
            c if legacy(c) && !(position == 0 && c.is_ascii_digit()) => escaped.push(c),
            c => escaped.push_str(&format!("_{:x}_", u32::from(c))),
        }
    }
    escaped
}

fn lowest_timestamp_ms(page: &str) -> Option<i64> {
    let line = page
        .lines()
        .find(|line| line.starts_with("prometheus_tsdb_lowest_timestamp_seconds"))?;
    let value: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    if !(0.0..EMPTY_LOWEST_SECONDS).contains(&value) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "below EMPTY_LOWEST_SECONDS the product fits"
    )]
    Some((value * 1000.0) as i64)
}

async fn check_status(call: &'static str, response: Response) -> Result<Response, PrometheusError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let (body, _) = read_up_to(call, response.bytes_stream(), MAX_ERROR_BYTES)
        .await
        .unwrap_or_default();
    Err(PrometheusError::Status {
        call,
        status,
        body: String::from_utf8_lossy(&body).trim().to_string(),
    })
}

/// Reads a whole body of at most `max_bytes`.
pub async fn read_bounded(
    call: &'static str,
    response: Response,
    max_bytes: usize,
) -> Result<Bytes, PrometheusError> {
    let (body, whole) = read_up_to(call, response.bytes_stream(), max_bytes).await?;
    if whole {
        return Ok(body);
    }
    Err(PrometheusError::Unusable {
        call,
        reason: format!("it is longer than {max_bytes} bytes"),
    })
}

/// Reads up to `max_bytes`; the flag says whether that was all.
async fn read_up_to(
    call: &'static str,
    mut stream: impl Stream<Item = reqwest::Result<Bytes>> + Unpin,
    max_bytes: usize,
) -> Result<(Bytes, bool), PrometheusError> {
    let mut body = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| unreachable(call, &error))?;
        let room = max_bytes.saturating_sub(body.len());
        body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        if piece.len() > room {
            return Ok((body.freeze(), false));
        }
    }
    Ok((body.freeze(), true))
}

/// reqwest's own text leaves the cause out, which is the part worth reading.
fn unreachable(call: &'static str, error: &reqwest::Error) -> PrometheusError {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason.push_str(": ");
        reason.push_str(&cause.to_string());
        source = cause.source();
    }
    PrometheusError::Unreachable { call, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_cut_to_what_prometheus_parses() {
        assert_eq!(seconds(1_500), "1.500");
        assert_eq!(seconds(-1_500), "-1.500");
        assert_eq!(seconds(-500), "-0.500");
        assert_eq!(seconds(2_000), "2");
        assert_eq!(seconds(i64::MIN), "-62135596800");
        assert_eq!(seconds(i64::MAX), "253402300799");
    }

    #[test]
    fn odd_label_names_are_escaped() {
        assert_eq!(escape_label_name("job"), "job");
        assert_eq!(escape_label_name("http.status_code"), "U__http_2e_status__code");
        assert_eq!(escape_label_name("0a"), "U___30_a");
        assert_eq!(escape_label_name("été"), "U___e9_t_e9_");
    }

    #[test]
    fn the_lowest_timestamp_is_found() {
        let page =
            |value: &str| format!("# HELP x y\nprometheus_tsdb_lowest_timestamp_seconds {value}\nother 1\n");
        assert_eq!(
            lowest_timestamp_ms(&page("1.7672256e+09")),
            Some(1_767_225_600_000)
        );
        assert_eq!(
            lowest_timestamp_ms(&page("9.223372036854776e+15")),
            None,
            "an empty TSDB"
        );
        assert_eq!(lowest_timestamp_ms(&page("9.223372036854775e+15")), None);
        assert_eq!(lowest_timestamp_ms(&page("NaN")), None);
        assert_eq!(lowest_timestamp_ms("nothing 1\n"), None);
    }
}
