//! A stand-in for Prometheus' HTTP API: what a sidecar asks, answered from a data directory.
//!
//! It keeps Prometheus' manners where they matter to a sidecar: remote read streams encoded chunks in the order of the
//! TSDB, and adds the external labels to series that do not have them.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, anyhow};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use prost::Message;
use sabre_model::{Labels, Matcher, selector};
use sabre_proto::{
    convert::matchers_from_wire,
    prometheus::{self, ChunkedReadResponse, ChunkedSeries, ReadRequest},
    remote_read::encode_frame,
    thanos::Label,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    crew::AtWork,
    tsdb_dir::{OpenBlock, Places, TsdbDir, label_names, label_values, select},
};

/// A frame ends when it has this much.
const FRAME_BYTES: usize = 1 << 20;

/// What the stand-in says of itself.
#[derive(Debug)]
pub(crate) struct StandIn {
    pub(crate) external_labels: Labels,
    pub(crate) data: TsdbDir,
}

type Shared = State<Arc<StandIn>>;
type Params = Query<Vec<(String, String)>>;

/// Serves until `stop`; returns the address.
pub(crate) async fn serve(stand_in: StandIn, stop: CancellationToken, at_work: AtWork) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("bind a port for the stand-in for Prometheus")?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/-/ready", get(|| async { "ready" }))
        .route("/api/v1/status/flags", get(flags))
        .route(
            "/api/v1/status/buildinfo",
            get(|| async { success(json!({"version": "3.9.0"})) }),
        )
        .route("/api/v1/status/config", get(config))
        .route("/api/v1/labels", get(labels))
        .route("/api/v1/label/{name}/values", get(values))
        .route("/api/v1/series", get(series))
        .route("/api/v1/read", post(read))
        .with_state(Arc::new(stand_in));
    let server = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    tokio::spawn(async move {
        let _at_work = at_work;
        if let Err(error) = server.await {
            tracing::error!(%error, "the stand-in for Prometheus stopped");
        }
    });
    Ok(address)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the macro that builds the answer borrows it"
)]
fn success(data: Value) -> Json<Value> {
    Json(json!({"status": "success", "data": data}))
}

/// Errors in Prometheus' shape.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({"status": "error", "errorType": "bad_data", "error": self.1});
        (self.0, Json(body)).into_response()
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(StatusCode::UNPROCESSABLE_ENTITY, format!("{:#}", error.into()))
    }
}

async fn metrics(State(stand_in): Shared) -> Result<String, Failure> {
    let lowest = blocking(move || stand_in.data.lowest_ms()).await?;
    // MaxInt64 milliseconds is how Prometheus says that it has nothing.
    let seconds = lowest.map_or(9.223_372_036_854_775e15, |ms| ms as f64 / 1000.0);
    Ok(format!(
        "# TYPE prometheus_tsdb_lowest_timestamp_seconds gauge\nprometheus_tsdb_lowest_timestamp_seconds {seconds}\n"
    ))
}

async fn flags() -> Json<Value> {
    success(json!({"storage.tsdb.min-block-duration": "2h", "storage.tsdb.max-block-duration": "2h"}))
}

async fn config(State(stand_in): Shared) -> Json<Value> {
    let mut yaml = String::from("global:\n  scrape_interval: 15s\n  external_labels:\n");
    for (name, value) in &stand_in.external_labels {
        yaml.push_str(&format!("    {name}: {}\n", json!(value)));
    }
    success(json!({"yaml": yaml}))
}

async fn labels(State(stand_in): Shared, Query(params): Params) -> Result<Json<Value>, Failure> {
    let question = Question::read(&params)?;
    let names = blocking(move || {
        let blocks = stand_in.data.open(question.mint, question.maxt)?;
        match &question.matchers {
            None => Ok(label_names(&blocks)),
            Some(matchers) => {
                let series = select(&blocks, matchers, question.mint, question.maxt)?;
                Ok(series
                    .keys()
                    .flat_map(|labels| labels.iter().map(|(name, _)| name.to_string()))
                    .collect::<BTreeSet<_>>())
            }
        }
    })
    .await?;
    Ok(success(json!(names)))
}

async fn values(
    State(stand_in): Shared,
    Path(name): Path<String>,
    Query(params): Params,
) -> Result<Json<Value>, Failure> {
    let question = Question::read(&params)?;
    let values = blocking(move || {
        let blocks = stand_in.data.open(question.mint, question.maxt)?;
        match &question.matchers {
            None => Ok(label_values(&blocks, &name)),
            Some(matchers) => {
                let series = select(&blocks, matchers, question.mint, question.maxt)?;
                Ok(series
                    .keys()
                    .filter_map(|labels| labels.get(&name))
                    .map(str::to_string)
                    .collect::<BTreeSet<_>>())
            }
        }
    })
    .await?;
    Ok(success(json!(values)))
}

async fn series(State(stand_in): Shared, Query(params): Params) -> Result<Json<Value>, Failure> {
    let question = Question::read(&params)?;
    let matchers = question
        .matchers
        .ok_or_else(|| anyhow!("no match[] parameter provided"))?;
    let found = blocking(move || {
        let blocks = stand_in.data.open(question.mint, question.maxt)?;
        let series = select(&blocks, &matchers, question.mint, question.maxt)?;
        Ok(series.keys().map(Labels::to_map).collect::<Vec<_>>())
    })
    .await?;
    Ok(success(json!(found)))
}

/// Remote read, streamed: one series a frame, more frames for a long one.
async fn read(State(stand_in): Shared, body: Bytes) -> Result<Response, Failure> {
    let request = ReadRequest::decode(&*snap::raw::Decoder::new().decompress_vec(&body)?)?;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    tokio::task::spawn_blocking(move || {
        for (number, query) in request.queries.iter().enumerate() {
            let index = i64::try_from(number).unwrap_or_default();
            if let Err(error) = answer(&stand_in, query, index, &sender) {
                // The client sees a broken stream, as it would of a Prometheus that fails midway.
                let _ = sender.blocking_send(Err(std::io::Error::other(format!("{error:#}"))));
                return;
            }
        }
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let content_type = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    Ok(([(header::CONTENT_TYPE, content_type)], Body::from_stream(stream)).into_response())
}

fn answer(
    stand_in: &StandIn,
    query: &prometheus::Query,
    query_index: i64,
    sender: &mpsc::Sender<Result<Bytes, std::io::Error>>,
) -> Result<()> {
    let matchers = matchers_from_wire(&query.matchers)?;
    let (mint, maxt) = (query.start_timestamp_ms, query.end_timestamp_ms);
    let blocks = stand_in.data.open(mint, maxt)?;
    for (labels, places) in select(&blocks, &matchers, mint, maxt)? {
        // As Prometheus does it: the series' own labels win, and the order stays that of the TSDB.
        let labels = stand_in.external_labels.overlaid(&labels);
        for chunks in frames_of(&blocks, &places) {
            let series = ChunkedSeries {
                labels: wire_labels(&labels),
                chunks: chunks?,
            };
            let payload = ChunkedReadResponse {
                chunked_series: vec![series],
                query_index,
            }
            .encode_to_vec();
            if sender.blocking_send(Ok(encode_frame(&payload))).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The chunks of a series in groups that make a frame each.
fn frames_of<'a>(
    blocks: &'a [OpenBlock],
    places: &'a Places,
) -> impl Iterator<Item = Result<Vec<prometheus::Chunk>>> + 'a {
    let mut chunks = places
        .iter()
        .flat_map(move |(number, chunks)| chunks.iter().map(move |chunk| (*number, chunk)));
    std::iter::from_fn(move || {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while bytes < FRAME_BYTES {
            let Some((number, chunk)) = chunks.next() else {
                break;
            };
            let stored = match blocks
                .get(number)
                .ok_or_else(|| anyhow!("block {number} is not open"))
                .and_then(|b| b.chunk(chunk))
            {
                Ok(stored) => stored,
                Err(error) => return Some(Err(error)),
            };
            bytes += stored.data.len();
            group.push(prometheus::Chunk {
                min_time_ms: stored.mint,
                max_time_ms: stored.maxt,
                r#type: i32::from(stored.encoding),
                data: stored.data.into(),
            });
        }
        (!group.is_empty()).then_some(Ok(group))
    })
}

fn wire_labels(labels: &Labels) -> Vec<Label> {
    labels
        .iter()
        .map(|(name, value)| Label {
            name: name.to_string(),
            value: value.to_string(),
        })
        .collect()
}

/// The parameters of a label or series call.
struct Question {
    /// `None` selects everything.
    matchers: Option<Vec<Matcher>>,
    mint: i64,
    maxt: i64,
}

impl Question {
    fn read(params: &[(String, String)]) -> Result<Question> {
        let find = |name: &str| {
            params
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, value)| value.as_str())
        };
        let matchers = find("match[]")
            .map(|text| selector::parse_selector(text).map_err(|error| anyhow!("match[]: {error}")));
        Ok(Question {
            matchers: matchers.transpose()?,
            mint: find("start").map_or(Ok(i64::MIN), milliseconds)?,
            maxt: find("end").map_or(Ok(i64::MAX), milliseconds)?,
        })
    }
}

fn milliseconds(seconds: &str) -> Result<i64> {
    let seconds: f64 = seconds.parse().with_context(|| format!("time {seconds:?}"))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float becomes the nearest i64, which is what is wanted"
    )]
    Ok((seconds * 1000.0) as i64)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("the stand-in for Prometheus failed")?
}
