//! Stores that do as they are told, for tests.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use sabre_model::{Labels, selector::parse_selector};
use sabre_proto::{
    RawSeries, StoreService,
    convert::labels_to_wire,
    flat::SeriesFrameBuilder,
    raw_body::{FrameReceiver, FrameSender, frame_channel},
    thanos::{
        AggrChunk, Chunk, InfoRequest, InfoResponse as OldInfo, LabelNamesRequest, LabelNamesResponse,
        LabelValuesRequest, LabelValuesResponse, Series, SeriesBatch, SeriesRequest, SeriesResponse,
        info::{
            self, InfoResponse, StoreInfo,
            info_server::{Info, InfoServer},
        },
        series_response,
        store_server::Store,
    },
};
use sabre_testkit::grpc::{Served, serve};
use tokio::sync::Notify;
use tonic::{Request, Response, Status, service::Routes};

/// What a store sends.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Series(Series),
    Batch(Vec<Series>),
    Warning(String),
    /// These bytes as they are.
    Raw(Bytes),
    /// Nothing more, and no end.
    Hang,
    /// An error in place of an end.
    Fail(Status),
    /// This series again and again, with another label each time if it is told so.
    Endless(Series, bool),
}

/// A store that sends what it is told to whoever asks.
#[derive(Debug, Default)]
pub(crate) struct FakeStore {
    pub(crate) steps: Vec<Step>,
    /// Names and values of labels.
    pub(crate) texts: Vec<String>,
    pub(crate) info: Option<InfoResponse>,
    pub(crate) old_info: Option<OldInfo>,
    pub(crate) seen: Mutex<Vec<(SeriesRequest, Option<String>)>>,
    /// Whether it does not say who it is any more.
    pub(crate) mute: AtomicBool,
    /// Told when a caller went away.
    pub(crate) cancelled: Arc<Notify>,
}

/// What a modern store says of itself.
pub(crate) fn modern() -> InfoResponse {
    InfoResponse {
        component_type: "store".to_owned(),
        store: Some(StoreInfo {
            min_time: 0,
            max_time: i64::MAX,
            supports_sharding: true,
            supports_without_replica_labels: true,
            ..StoreInfo::default()
        }),
        ..InfoResponse::default()
    }
}

/// `a="1",b="2"` as labels.
pub(crate) fn labels(text: &str) -> Labels {
    let matchers = parse_selector(&format!("{{{text}}}")).unwrap();
    Labels::from_pairs(
        matchers
            .iter()
            .map(|m| (m.name().to_owned(), m.value().to_owned())),
    )
    .unwrap()
}

/// A series with a raw chunk at each of these times.
pub(crate) fn series(text: &str, chunks: &[(i64, i64, &str)]) -> Series {
    let chunk = |&(min_time, max_time, data): &(i64, i64, &str)| AggrChunk {
        min_time,
        max_time,
        raw: Some(Chunk {
            data: Bytes::copy_from_slice(data.as_bytes()),
            ..Chunk::default()
        }),
        ..AggrChunk::default()
    };
    Series {
        labels: labels_to_wire(&labels(text)),
        chunks: chunks.iter().map(chunk).collect(),
    }
}

impl FakeStore {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self {
            steps,
            info: Some(modern()),
            ..Self::default()
        }
    }

    /// Series without chunks, one message each.
    pub(crate) fn of(series: &[&str]) -> Self {
        Self::new(
            series
                .iter()
                .map(|text| Step::Series(self::series(text, &[])))
                .collect(),
        )
    }

    /// Serves it on a free port.
    pub(crate) async fn serve(self) -> (Served, Arc<Self>) {
        let store = Arc::new(self);
        let mut routes = Routes::new(StoreService::new(Arc::clone(&store)));
        if store.info.is_some() {
            routes = routes.add_service(InfoServer::from_arc(Arc::clone(&store)));
        }
        (serve(routes).await.unwrap(), store)
    }

    async fn play(steps: Vec<Step>, sender: FrameSender, cancelled: Arc<Notify>) {
        for step in steps {
            let sent = match step {
                Step::Series(series) => send(&sender, series_response::Result::Series(series)).await,
                Step::Batch(series) => {
                    send(&sender, series_response::Result::Batch(SeriesBatch { series })).await
                }
                Step::Warning(text) => send(&sender, series_response::Result::Warning(text)).await,
                Step::Raw(bytes) => sender.send(bytes).await.is_ok(),
                Step::Fail(status) => {
                    sender.finish(Err(status));
                    return;
                }
                Step::Hang => {
                    sender.cancelled().await;
                    cancelled.notify_one();
                    return;
                }
                Step::Endless(series, growing) => {
                    let mut count = 0_u64;
                    loop {
                        let mut series = series.clone();
                        if growing {
                            series.labels[0].value = format!("{count:020}");
                        }
                        count += 1;
                        if !send(&sender, series_response::Result::Series(series)).await {
                            cancelled.notify_one();
                            return;
                        }
                    }
                }
            };
            if !sent {
                cancelled.notify_one();
                return;
            }
        }
        sender.finish(Ok(()));
    }
}

async fn send(sender: &FrameSender, result: series_response::Result) -> bool {
    let mut builder = SeriesFrameBuilder::default();
    builder
        .response(&SeriesResponse { result: Some(result) })
        .unwrap();
    sender.send(builder.take()).await.is_ok()
}

/// A message that is none, framed as one.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed.into()
}

/// A series as a whole framed message.
pub(crate) fn framed_series(series: Series) -> Bytes {
    let result = Some(series_response::Result::Series(series));
    framed(&SeriesResponse { result }.encode_to_vec())
}

#[tonic::async_trait]
impl RawSeries for FakeStore {
    async fn series_raw(
        &self,
        request: Request<SeriesRequest>,
        _deadline: Option<tokio::time::Instant>,
    ) -> Result<FrameReceiver, Status> {
        let tenant = request.metadata().get("thanos-tenant");
        let tenant = tenant.map(|value| value.to_str().unwrap().to_owned());
        self.seen.lock().push((request.into_inner(), tenant));
        let (sender, receiver) = frame_channel(4);
        tokio::spawn(Self::play(
            self.steps.clone(),
            sender,
            Arc::clone(&self.cancelled),
        ));
        Ok(receiver)
    }
}

#[tonic::async_trait]
impl Store for FakeStore {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<OldInfo>, Status> {
        let info = self
            .old_info
            .clone()
            .filter(|_| !self.mute.load(Ordering::Relaxed));
        info.map(Response::new)
            .ok_or_else(|| Status::unimplemented("no such call"))
    }

    async fn label_names(
        &self,
        _: Request<LabelNamesRequest>,
    ) -> Result<Response<LabelNamesResponse>, Status> {
        self.fail()?;
        Ok(Response::new(LabelNamesResponse {
            names: self.texts.clone(),
            ..LabelNamesResponse::default()
        }))
    }

    async fn label_values(
        &self,
        _: Request<LabelValuesRequest>,
    ) -> Result<Response<LabelValuesResponse>, Status> {
        self.fail()?;
        Ok(Response::new(LabelValuesResponse {
            values: self.texts.clone(),
            ..LabelValuesResponse::default()
        }))
    }
}

impl FakeStore {
    fn fail(&self) -> Result<(), Status> {
        match self.steps.first() {
            Some(Step::Fail(status)) => Err(status.clone()),
            _ => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl Info for FakeStore {
    async fn info(&self, _: Request<info::InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let info = self.info.clone();
        info.map(Response::new)
            .ok_or_else(|| Status::unavailable("not ready"))
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Kept {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().push(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// What is logged meanwhile on this thread, a line of `field=value` each.
pub(crate) fn logged(act: impl FnOnce()) -> Vec<String> {
    let kept = Kept::default();
    tracing::subscriber::with_default(kept.clone(), act);
    let lines = kept.0.lock();
    lines.clone()
}
