use super::*;
use crate::flat::{ChunkPart, ChunkParts, SeriesFrameBuilder, SeriesParts, encode_label};
use crate::raw_body::{FrameSender, frame_channel};
use crate::thanos::chunk::Encoding;
use crate::thanos::store_client::StoreClient;
use crate::thanos::{
    InfoRequest, LabelNamesRequest, LabelNamesResponse, LabelValuesRequest, SeriesResponse, series_response,
};
use http_body_util::{BodyExt, Full};
use prost::Message;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Server};

/// Answers by the first matcher's name; tells when a caller has gone.
#[derive(Default)]
struct Fake {
    cancelled: Arc<Notify>,
}

#[tonic::async_trait]
impl Store for Fake {
    async fn label_names(
        &self,
        request: Request<LabelNamesRequest>,
    ) -> Result<Response<LabelNamesResponse>, Status> {
        let names = vec![request.into_inner().start.to_string(), "x".repeat(5 << 20)];
        Ok(Response::new(LabelNamesResponse {
            names,
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl RawSeries for Fake {
    async fn series_raw(
        &self,
        request: Request<SeriesRequest>,
        deadline: Option<Instant>,
    ) -> Result<FrameReceiver, Status> {
        let (sender, receiver) = frame_channel(4);
        let name = request
            .get_ref()
            .matchers
            .first()
            .map(|matcher| matcher.name.clone())
            .unwrap_or_default();
        match name.as_str() {
            "refuse" => return Err(Status::resource_exhausted("x".repeat(100_000))),
            "big" => drop(tokio::spawn(send_series(sender, 64, vec![7; 1 << 20]))),
            "many" => drop(tokio::spawn(send_series(sender, 1000, vec![7; 100]))),
            "midway" => drop(tokio::spawn(fail_midway(sender))),
            "endless" => drop(tokio::spawn(send_until_cancelled(
                sender,
                Arc::clone(&self.cancelled),
            ))),
            "silent" => drop(tokio::spawn(wait_until_cancelled(
                sender,
                Arc::clone(&self.cancelled),
            ))),
            _ => {
                send_warning(&sender, &describe(&request, deadline)).await;
                sender.finish(Ok(()));
            }
        }
        Ok(receiver)
    }
}

fn describe(request: &Request<SeriesRequest>, deadline: Option<Instant>) -> String {
    let tenant = request
        .metadata()
        .get("thanos-tenant")
        .map(|value| value.to_str().expect("text"));
    let minutes = deadline.map(|at| at.duration_since(Instant::now()).as_secs().div_ceil(60));
    format!(
        "{tenant:?} {minutes:?} {} {}",
        request.get_ref().limit,
        request.remote_addr().is_some()
    )
}

async fn send_warning(sender: &FrameSender, text: &str) {
    let mut builder = SeriesFrameBuilder::default();
    builder.warning(text).expect("short");
    sender.send(builder.take()).await.expect("open");
}

/// Sends series `0..count`, two to a buffer, each with one chunk of `data`.
async fn send_series(sender: FrameSender, count: usize, data: Vec<u8>) {
    let mut builder = SeriesFrameBuilder::default();
    let part = ChunkPart {
        encoding: Encoding::Xor,
        data: &data,
        hash: 0,
    };
    let chunks = [ChunkParts::raw(1, 2, part)];
    for index in 0..count {
        let mut labels = Vec::new();
        encode_label("i", &index.to_string(), &mut labels);
        builder
            .series(&SeriesParts {
                labels: &labels,
                chunks: &chunks,
            })
            .expect("short");
        if index % 2 == 1 {
            sender.send(builder.take()).await.expect("open");
        }
    }
    sender.finish(Ok(()));
}

async fn fail_midway(sender: FrameSender) {
    let mut builder = SeriesFrameBuilder::default();
    builder.warning("one").expect("short");
    builder.warning("two").expect("short");
    sender.send(builder.take()).await.expect("open");
    sender.finish(Err(Status::aborted("block 01X: bad\nchunk")));
}

async fn send_until_cancelled(sender: FrameSender, cancelled: Arc<Notify>) {
    let mut builder = SeriesFrameBuilder::default();
    loop {
        builder.warning("again").expect("short");
        if sender.send(builder.take()).await.is_err() {
            break;
        }
    }
    cancelled.notify_one();
}

async fn wait_until_cancelled(sender: FrameSender, cancelled: Arc<Notify>) {
    sender.cancelled().await;
    cancelled.notify_one();
}

async fn serve() -> (Arc<Fake>, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr().expect("address")));
    let fake = Arc::new(Fake::default());
    let service = StoreService::new(Arc::clone(&fake));
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (fake, endpoint.expect("endpoint"))
}

async fn client(endpoint: Endpoint) -> StoreClient<Channel> {
    let channel = endpoint.connect().await.expect("connect");
    StoreClient::new(channel).max_decoding_message_size(64 << 20)
}

fn request(name: &str) -> SeriesRequest {
    let matcher = crate::thanos::LabelMatcher {
        name: name.into(),
        ..Default::default()
    };
    SeriesRequest {
        matchers: vec![matcher],
        limit: 3,
        ..Default::default()
    }
}

async fn series(client: &mut StoreClient<Channel>, name: &str) -> Result<Vec<SeriesResponse>, Status> {
    let mut stream = client.series(request(name)).await?.into_inner();
    let mut all = Vec::new();
    while let Some(message) = stream.message().await? {
        all.push(message);
    }
    Ok(all)
}

fn check_series(messages: &[SeriesResponse], count: usize, data_len: usize) {
    assert_eq!(messages.len(), count);
    for (index, message) in messages.iter().enumerate() {
        let Some(series_response::Result::Series(series)) = &message.result else {
            panic!("no series")
        };
        assert_eq!(series.labels[0].value, index.to_string());
        assert_eq!(
            series.chunks[0].raw.as_ref().expect("raw").data,
            vec![7u8; data_len]
        );
    }
}

#[tokio::test]
async fn several_messages_in_one_buffer_arrive_as_messages() {
    let (_, endpoint) = serve().await;
    check_series(
        &series(&mut client(endpoint).await, "many").await.expect("ok"),
        1000,
        100,
    );
}

#[tokio::test]
async fn big_answers_arrive_over_small_and_large_frames() {
    let (_, endpoint) = serve().await;
    for max_frame_bytes in [16 << 10, 1 << 20] {
        let mut client = client(endpoint.clone().max_frame_size(max_frame_bytes)).await;
        check_series(&series(&mut client, "big").await.expect("ok"), 64, 1 << 20);
    }
}

#[tokio::test]
async fn an_error_midway_comes_after_what_was_sent() {
    let (_, endpoint) = serve().await;
    let mut client = client(endpoint).await;
    let mut stream = client.series(request("midway")).await.expect("head").into_inner();
    for text in ["one", "two"] {
        let message = stream.message().await.expect("ok").expect("message");
        assert_eq!(
            message.result,
            Some(series_response::Result::Warning(text.into()))
        );
    }
    let status = stream.message().await.expect_err("status");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Aborted, "block 01X: bad\nchunk")
    );
}

#[tokio::test]
async fn an_error_at_once_is_the_answer() {
    let (_, endpoint) = serve().await;
    let status = series(&mut client(endpoint).await, "refuse")
        .await
        .expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().ends_with("x (cut off)"));
}

#[tokio::test]
async fn a_caller_that_goes_cancels_the_producer() {
    let (fake, endpoint) = serve().await;
    let mut client = client(endpoint).await;
    let mut stream = client
        .series(request("endless"))
        .await
        .expect("head")
        .into_inner();
    assert!(stream.message().await.expect("ok").is_some());
    drop(stream);
    fake.cancelled.notified().await;
    let silent = client.series(request("silent")).await.expect("head");
    drop(silent);
    fake.cancelled.notified().await;
}

#[tokio::test]
async fn metadata_address_and_deadline_reach_the_handler() {
    let (_, endpoint) = serve().await;
    let mut client = client(endpoint).await;
    let mut request = Request::new(request("other"));
    request
        .metadata_mut()
        .insert("thanos-tenant", "team-a".parse().expect("value"));
    request.set_timeout(Duration::from_secs(7200));
    let message = client
        .series(request)
        .await
        .expect("head")
        .into_inner()
        .message()
        .await;
    let Some(series_response::Result::Warning(text)) = message.expect("ok").expect("one").result else {
        panic!("no warning")
    };
    assert_eq!(text, "Some(\"team-a\") Some(120) 3 true");
}

/// Sends a request body as it is and returns status and `grpc-accept-encoding`.
async fn raw_call(endpoint: &Endpoint, encoding: &'static str, body: Vec<u8>) -> (Code, Option<String>) {
    use tower::ServiceExt as _;
    let mut channel = endpoint.connect().await.expect("connect");
    let request = http::Request::post(SERIES_PATH)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", encoding)
        .body(tonic::body::Body::new(Full::new(Bytes::from(body))))
        .expect("request");
    let response = channel
        .ready()
        .await
        .expect("ready")
        .call(request)
        .await
        .expect("answer");
    let (head, body) = response.into_parts();
    let trailers = body
        .collect()
        .await
        .expect("body")
        .trailers()
        .cloned()
        .unwrap_or_default();
    let status = Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(&trailers));
    let accepted = head
        .headers
        .get("grpc-accept-encoding")
        .map(|value| value.to_str().expect("text").to_owned());
    (status.expect("status").code(), accepted)
}

fn framed(flag: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![flag];
    out.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
    out.extend(payload);
    out
}

#[tokio::test]
async fn an_unknown_encoding_is_unimplemented_and_the_known_ones_are_named() {
    let (_, endpoint) = serve().await;
    let answer = raw_call(&endpoint, "br", framed(1, b"?")).await;
    assert_eq!(answer, (Code::Unimplemented, Some("gzip,zstd,identity".into())));
}

#[tokio::test]
async fn compressed_requests_are_read() {
    let (_, endpoint) = serve().await;
    let plain = request("many").encode_to_vec();
    assert_eq!(
        raw_call(&endpoint, "identity", framed(0, &plain)).await.0,
        Code::Ok
    );
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = client(endpoint.clone()).await.send_compressed(encoding);
        check_series(&series(&mut client, "many").await.expect("ok"), 1000, 100);
    }
}

#[tokio::test]
async fn a_request_of_no_or_two_messages_is_an_invalid_argument() {
    let (_, endpoint) = serve().await;
    let message = framed(0, &request("many").encode_to_vec());
    assert_eq!(
        raw_call(&endpoint, "identity", Vec::new()).await.0,
        Code::InvalidArgument
    );
    let twice = [message.clone(), message].concat();
    assert_eq!(
        raw_call(&endpoint, "identity", twice).await.0,
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_request_above_the_limit_is_refused_by_its_header() {
    let mut service = StoreService::new(Arc::new(Fake::default())).max_request_bytes(1000);
    let header = Bytes::from_static(&[0, 0, 0, 0x03, 0xe9]);
    let request = http::Request::post(SERIES_PATH)
        .body(Full::new(header))
        .expect("request");
    let response = service.call(request).await.expect("infallible");
    let status = Status::from_header_map(response.headers()).expect("status");
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test]
async fn other_calls_go_to_the_generated_server() {
    let (_, endpoint) = serve().await;
    let mut client = client(endpoint).await;
    let names = client
        .label_names(LabelNamesRequest {
            start: 5,
            ..Default::default()
        })
        .await
        .expect("ok");
    assert_eq!(names.into_inner().names[0], "5");
    let status = client.info(InfoRequest {}).await.expect_err("not offered");
    assert_eq!(status.code(), Code::Unimplemented);
    let status = client
        .label_values(LabelValuesRequest::default())
        .await
        .expect_err("not offered");
    assert_eq!(status.code(), Code::Unimplemented);
}

/// The encoding that an answer says it has, with its bytes.
async fn answer_to(endpoint: &Endpoint, accepted: Option<&'static str>) -> (Option<String>, Bytes) {
    use tower::ServiceExt;

    let mut call = http::Request::post(SERIES_PATH)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(accepted) = accepted {
        call = call.header("grpc-accept-encoding", accepted);
    }
    let body = Full::new(Bytes::from(framed(0, &request("many").encode_to_vec())));
    let channel = endpoint.connect().await.expect("listens");
    let call = call.body(tonic::body::Body::new(body)).expect("valid");
    let answer = channel.oneshot(call).await.expect("an answer");
    let encoding = answer.headers().get("grpc-encoding");
    let encoding = encoding.map(|value| value.to_str().expect("text").to_owned());
    (
        encoding,
        answer.into_body().collect().await.expect("a body").to_bytes(),
    )
}

#[tokio::test]
async fn answers_are_compressed_for_callers_that_speak_zstd_and_for_no_others() {
    let (_, endpoint) = serve().await;
    let (none, plain) = answer_to(&endpoint, None).await;
    // What Thanos' queriers say.
    let (of_thanos, same) = answer_to(&endpoint, Some("snappy,gzip")).await;
    assert_eq!((none, of_thanos, &same), (None, None, &plain));
    let (encoding, packed) = answer_to(&endpoint, Some("gzip, zstd")).await;
    assert_eq!(encoding.as_deref(), Some("zstd"));
    assert!(
        packed.len() < plain.len(),
        "{} of {} bytes",
        packed.len(),
        plain.len()
    );

    let mut client = client(endpoint)
        .await
        .accept_compressed(CompressionEncoding::Zstd);
    let messages = series(&mut client, "many").await.expect("an answer");
    check_series(&messages, 1000, 100);
    let failed = series(&mut client, "midway").await;
    assert_eq!(failed.expect_err("fails midway").code(), Code::Aborted);
    let names = client
        .label_names(LabelNamesRequest::default())
        .await
        .expect("an answer");
    assert_eq!(names.into_inner().names[1].len(), 5 << 20);
}

/// What a request says that holds so many matchers with nothing in them.
async fn of_matchers(call: &str, (hints, field): (&[u8], u8), matchers: usize) -> Result<(), Status> {
    let mut service = StoreService::new(Arc::new(Fake::default()));
    let message = [hints, &[field << 3 | 2, 0].repeat(matchers)].concat();
    let request = http::Request::post(format!("/thanos.Store/{call}"))
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from(framed(0, &message))))
        .expect("request");
    let response = service.call(request).await.expect("infallible");
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn a_request_that_is_short_on_the_wire_and_long_in_memory_is_refused() {
    for (call, hints, field) in [("Series", 9, 3), ("LabelNames", 5, 6), ("LabelValues", 6, 7)] {
        // Hints need not be what they should.
        let hints: [u8; 5] = [hints << 3 | 2, 3, 0x12, 1, 0xff];
        for hints in [&[][..], &hints] {
            let status = of_matchers(call, (hints, field), 1_000_000)
                .await
                .expect_err(call);
            assert_eq!(status.code(), Code::ResourceExhausted, "{call}: {status}");
            assert!(status.message().contains("64 MiB"), "{status}");
        }
        let few = of_matchers(call, (&[], field), 10).await;
        assert!(
            few.as_ref()
                .err()
                .is_none_or(|status| status.code() == Code::Unimplemented),
            "{call}: {few:?}"
        );
    }
}

/// Notes when it is dropped.
struct Noted(Arc<std::sync::atomic::AtomicBool>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Holds something with each answer, and refuses what is heavy.
#[derive(Default)]
struct Holding(Arc<std::sync::atomic::AtomicBool>);

#[tonic::async_trait]
impl Store for Holding {
    async fn label_names(
        &self,
        _: Request<LabelNamesRequest>,
    ) -> Result<Response<LabelNamesResponse>, Status> {
        let noted = Noted(Arc::clone(&self.0));
        Ok(Held::until_sent(LabelNamesResponse::default(), Some(noted)))
    }
}

#[tonic::async_trait]
impl RawSeries for Holding {
    async fn series_raw(
        &self,
        _: Request<SeriesRequest>,
        _: Option<Instant>,
    ) -> Result<FrameReceiver, Status> {
        Err(Status::unimplemented("no series"))
    }

    fn admit(&self, _: u64) -> Option<Held> {
        None
    }
}

fn names_request(message: &[u8]) -> http::Request<Full<Bytes>> {
    http::Request::post(LABEL_NAMES_PATH)
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from(framed(0, message))))
        .expect("request")
}

#[tokio::test]
async fn what_an_answer_to_a_call_for_labels_holds_is_held_until_it_is_sent() {
    let dropped = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_dropped = || dropped.load(std::sync::atomic::Ordering::Relaxed);
    let mut service = StoreService::new(Arc::new(Holding(Arc::clone(&dropped))));
    let response = service.call(names_request(&[])).await.expect("infallible");
    let (_, body) = response.into_parts();
    assert!(!is_dropped());
    let sent = body.collect().await.expect("a body");
    assert!(!is_dropped(), "its bytes are still there");
    drop(sent);
    assert!(is_dropped());
}

#[tokio::test]
async fn heavy_requests_are_charged_and_light_ones_are_not() {
    let mut service = StoreService::new(Arc::new(Holding::default()));
    let heavy = [6 << 3 | 2, 0].repeat(10_000);
    let response = service.call(names_request(&heavy)).await.expect("infallible");
    let status = Status::from_header_map(response.headers()).expect("a status");
    assert!(
        status.code() == Code::ResourceExhausted && status.message().contains("--sabre.memory-budget"),
        "{status}"
    );
    let light = [6 << 3 | 2, 0].repeat(10);
    let response = service.call(names_request(&light)).await.expect("infallible");
    assert!(Status::from_header_map(response.headers()).is_none());
}
