use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};
use tokio::{sync::Notify, task::JoinHandle};
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tower::ServiceExt as _;

use super::*;
use crate::flags::{groups, parse_groups};

/// Answers by the name of the method; see [`Echo::call`].
#[derive(Debug, Clone, Default)]
struct Echo {
    go_on: Arc<Notify>,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let go_on = Arc::clone(&self.go_on);
        Box::pin(async move {
            let frames: Vec<Frame<Bytes>> = (0..40).map(|number| message(&payload(number))).collect();
            let path = request.uri().path().to_owned();
            request.into_body().collect().await.unwrap();
            Ok(match path.as_str() {
                "/test.Echo/Stream" => {
                    answer(stream::iter(frames).chain(stream::once(async { trailers(Code::Ok) })))
                }
                "/test.Echo/Late" => {
                    let rest = stream::once(async move {
                        go_on.notified().await;
                        trailers(Code::Ok)
                    });
                    answer(stream::iter([message(b"first")]).chain(rest))
                }
                "/test.Echo/PanicLate" => {
                    let rest = stream::once(async { panic!("late") });
                    answer(stream::iter([message(b"first")]).chain(rest))
                }
                "/test.Echo/Panic" => panic!("early"),
                "/test.Echo/Hang" => std::future::pending().await,
                "/test.Echo/Fail" => Status::not_found("no such block").into_http(),
                _ => answer(stream::iter([trailers(Code::DataLoss)])),
            })
        })
    }
}

fn payload(number: u8) -> Vec<u8> {
    vec![number; 100_000]
}

fn message(payload: &[u8]) -> Frame<Bytes> {
    let encoded = payload.to_vec().encode_to_vec();
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(encoded.len()).unwrap());
    framed.put_slice(&encoded);
    Frame::data(framed.freeze())
}

fn trailers(code: Code) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    Status::new(code, "").add_header(&mut trailers).unwrap();
    Frame::trailers(trailers)
}

fn answer(frames: impl Stream<Item = Frame<Bytes>> + Send + 'static) -> http::Response<Body> {
    let body = Body::new(StreamBody::new(frames.map(Ok::<_, Status>)));
    http::Response::builder()
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap()
}

fn descriptors() -> &'static [u8] {
    let method = |name: &str| MethodDescriptorProto {
        name: Some(name.to_owned()),
        server_streaming: Some(true),
        ..MethodDescriptorProto::default()
    };
    let methods = ["Stream", "Late", "PanicLate", "Panic", "Hang", "Fail", "Lossy"].map(method);
    let service = |name: &str| ServiceDescriptorProto {
        name: Some(name.to_owned()),
        method: methods.to_vec(),
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("test.proto".to_owned()),
        package: Some("test".to_owned()),
        service: vec![service("Echo"), service("NotServed")],
        ..FileDescriptorProto::default()
    };
    Box::leak(
        FileDescriptorSet { file: vec![file] }
            .encode_to_vec()
            .into_boxed_slice(),
    )
}

struct Running {
    channel: Channel,
    registry: Registry,
    probe: Probe,
    go_on: Arc<Notify>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(arguments: &[&str]) -> Running {
    start_at("--grpc-address=127.0.0.1:0", arguments).await
}

async fn start_at(address: &str, arguments: &[&str]) -> Running {
    let registry = Registry::new();
    let probe = Probe::new(&registry);
    let arguments = [&[address], arguments].concat();
    let flags = parse_groups(&[groups::grpc_server()], &arguments).unwrap();
    let echo = Echo::default();
    let go_on = Arc::clone(&echo.go_on);
    let server = GrpcServer::new(GrpcOptions::from_flags(&flags).unwrap())
        .service(echo)
        .descriptors(descriptors());
    let bound = server.bind(&registry, &probe).await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", bound.local_addr())).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(bound.serve(stop.clone()));
    let channel = endpoint.connect().await.unwrap();
    Running {
        channel,
        registry,
        probe,
        go_on,
        stop,
        task,
    }
}

impl Running {
    async fn call(
        &self,
        method: &'static str,
        request: Request<Vec<u8>>,
    ) -> Result<Streaming<Vec<u8>>, Status> {
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(method);
        let codec = ProstCodec::<Vec<u8>, Vec<u8>>::default();
        Ok(client.server_streaming(request, path, codec).await?.into_inner())
    }

    async fn code_of(&self, method: &'static str) -> Code {
        let mut stream = match self.call(method, Request::new(b"?".to_vec())).await {
            Ok(stream) => stream,
            Err(status) => return status.code(),
        };
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Code::Ok,
                Err(status) => return status.code(),
            }
        }
    }

    /// Waits until the page of metrics has this line.
    async fn exported(&self, line: &str) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !self.registry.classic().lines().any(|found| found == line) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{line} is missing from\n{}",
                self.registry.classic()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn handled(&self, method: &str, code: &str, count: u32) {
        self.exported(&format!(
            "grpc_server_handled_total{{grpc_code=\"{code}\",grpc_method=\"{method}\",\
             grpc_service=\"test.Echo\",grpc_type=\"server_stream\"}} {count}"
        ))
        .await;
    }
}

#[tokio::test]
async fn a_large_answer_arrives_whole_in_small_frames() {
    let server = start(&[]).await;
    let mut stream = server
        .call("/test.Echo/Stream", Request::new(b"?".to_vec()))
        .await
        .unwrap();
    for number in 0..40 {
        assert!(
            stream.message().await.unwrap().unwrap() == payload(number),
            "message {number}"
        );
    }
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn calls_are_counted_under_thanos_names() {
    let server = start(&[]).await;
    server.handled("Stream", "OK", 0).await;
    server.handled("Lossy", "DataLoss", 0).await;
    assert!(!server.registry.classic().contains("NotServed"));
    assert_eq!(server.code_of("/test.Echo/Stream").await, Code::Ok);
    assert_eq!(server.code_of("/test.Echo/Lossy").await, Code::DataLoss);
    assert_eq!(server.code_of("/test.Echo/Fail").await, Code::NotFound);
    server.handled("Stream", "OK", 1).await;
    server.handled("Lossy", "DataLoss", 1).await;
    server.handled("Fail", "NotFound", 1).await;
    let labels = "grpc_method=\"Stream\",grpc_service=\"test.Echo\",grpc_type=\"server_stream\"}";
    for (name, count) in [
        ("started_total", 1),
        ("msg_received_total", 1),
        ("msg_sent_total", 40),
    ] {
        server
            .exported(&format!("grpc_server_{name}{{{labels} {count}"))
            .await;
    }
    server
        .exported(&format!("grpc_server_handling_seconds_count{{{labels} 1"))
        .await;
}

#[tokio::test]
async fn a_path_that_is_not_served_makes_no_labels() {
    let server = start(&[]).await;
    assert_eq!(server.code_of("/test.Other/Thing").await, Code::Unimplemented);
    server
        .exported(
            "grpc_server_handled_total{grpc_code=\"Unimplemented\",grpc_method=\"unknown\",\
             grpc_service=\"unknown\",grpc_type=\"unary\"} 1",
        )
        .await;
    assert!(!server.registry.classic().contains("test.Other"));
}

#[tokio::test]
async fn panics_are_recovered_before_and_during_the_answer() {
    let server = start(&[]).await;
    assert_eq!(server.code_of("/test.Echo/Panic").await, Code::Internal);
    assert_eq!(server.code_of("/test.Echo/PanicLate").await, Code::Internal);
    server.exported("grpc_req_panics_recovered_total 2").await;
    server.handled("Panic", "Internal", 1).await;
    server.handled("PanicLate", "Internal", 1).await;
    assert_eq!(
        server.code_of("/test.Echo/Stream").await,
        Code::Ok,
        "the connection lives on"
    );
}

/// Without a network: tonic's client would keep the deadline itself.
#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_client_ends_a_call_on_the_server() {
    let registry = Registry::new();
    let methods = methods::methods(&registry, &[Echo::NAME], &[descriptors()]).unwrap();
    let router = tonic::service::Routes::new(Echo::default()).into_axum_router();
    let router = router.layer(call::CallLayer::new(
        &registry,
        methods,
        RequestLog::default(),
        None,
    ));
    for method in ["Hang", "Late"] {
        let request = http::Request::post(format!("/test.Echo/{method}")).header("grpc-timeout", "20S");
        let response = router
            .clone()
            .oneshot(request.body(axum::body::Body::empty()).unwrap())
            .await
            .unwrap();
        let at_once = Status::from_header_map(response.headers());
        let collected = response.into_body().collect().await.unwrap();
        let status = at_once
            .or_else(|| Status::from_header_map(collected.trailers().unwrap()))
            .unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        let line = format!(
            "grpc_server_handled_total{{grpc_code=\"DeadlineExceeded\",grpc_method=\"{method}\",\
             grpc_service=\"test.Echo\",grpc_type=\"server_stream\"}} 1\n"
        );
        assert!(registry.classic().contains(&line), "{line} is missing");
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_as_cancelled() {
    let server = start(&[]).await;
    let mut stream = server
        .call("/test.Echo/Late", Request::new(b"?".to_vec()))
        .await
        .unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap(), b"first");
    drop(stream);
    server.handled("Late", "Canceled", 1).await;
}

#[tokio::test]
async fn health_follows_the_readiness_probe() {
    let server = start(&[]).await;
    let mut health = HealthClient::new(server.channel.clone());
    let mut watch = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut next = async || loop {
        let status = watch.message().await.unwrap().unwrap().status();
        if status != tonic_health::pb::health_check_response::ServingStatus::Unknown {
            return status.as_str_name();
        }
    };
    // The reporter says "serving" until it has heard from the probe.
    while next().await != "NOT_SERVING" {}
    server.probe.set_ready();
    assert_eq!(next().await, "SERVING");
    server.probe.set_not_ready("lost contact");
    assert_eq!(next().await, "NOT_SERVING");
}

#[tokio::test]
async fn reflection_lists_what_is_served() {
    let server = start(&[]).await;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(server.channel.clone());
    let answers = client.server_reflection_info(stream::iter([ask])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list: {answer:?}");
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in [
        "test.Echo",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        assert!(names.contains(&name), "{name} is missing from {names:?}");
    }
}

#[tokio::test]
async fn an_old_connection_is_ended_once_its_calls_have_ended() {
    let server = start(&["--grpc-server-max-connection-age=20ms"]).await;
    let mut stream = server
        .call("/test.Echo/Late", Request::new(b"?".to_vec()))
        .await
        .unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap(), b"first");
    tokio::time::sleep(Duration::from_millis(60)).await;
    server.go_on.notify_one();
    assert!(
        stream.message().await.unwrap().is_none(),
        "the call outlived the age"
    );
    server.exported("sabre_grpc_connections 0").await;
}

#[tokio::test]
async fn a_call_in_flight_ends_well_after_stop() {
    let server = start(&["--grpc-grace-period=1h"]).await;
    let mut stream = server
        .call("/test.Echo/Late", Request::new(b"?".to_vec()))
        .await
        .unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap(), b"first");
    server.stop.cancel();
    tokio::task::yield_now().await;
    assert!(!server.task.is_finished());
    server.go_on.notify_one();
    assert!(stream.message().await.unwrap().is_none());
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off_after_the_grace_period() {
    let server = start(&["--grpc-grace-period=20ms"]).await;
    let mut stream = server
        .call("/test.Echo/Late", Request::new(b"?".to_vec()))
        .await
        .unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap(), b"first");
    server.stop.cancel();
    (&mut { server.task }).await.unwrap();
    assert!(stream.message().await.is_err());
}

#[tokio::test]
async fn headers_that_are_too_long_are_refused() {
    /// More than a client sends besides.
    const OTHERS_BYTES: usize = 1_000;
    let server = start(&[]).await;
    for (bytes, is_refused) in [
        (MAX_HEADERS_BYTES as usize - OTHERS_BYTES, false),
        (MAX_HEADERS_BYTES as usize, true),
    ] {
        let mut request = Request::new(b"?".to_vec());
        request
            .metadata_mut()
            .insert("x", "a".repeat(bytes).parse().unwrap());
        let refused = match server.call("/test.Echo/Stream", request).await {
            Ok(mut stream) => stream.message().await.is_err(),
            Err(_) => true,
        };
        assert_eq!(refused, is_refused, "{bytes}");
    }
    // The connection may be told to go, which the next request meets once.
    let mut code = server.code_of("/test.Echo/Stream").await;
    for _ in 0..3 {
        if code != Code::Ok {
            code = server.code_of("/test.Echo/Stream").await;
        }
    }
    assert_eq!(code, Code::Ok, "others go on");
}

#[test]
fn an_age_of_zero_means_never() {
    let age = |text: &str| {
        let argument = format!("--grpc-server-max-connection-age={text}");
        let flags = parse_groups(&[groups::grpc_server()], &[&argument]).unwrap();
        GrpcOptions::from_flags(&flags).unwrap().max_connection_age
    };
    assert_eq!(age("0s"), None);
    assert_eq!(age("60m"), Some(Duration::from_secs(3_600)));
}

#[tokio::test]
async fn an_address_of_ipv6_is_served() {
    if tokio::net::TcpListener::bind("[::1]:0").await.is_err() {
        return; // The machine has no IPv6.
    }
    let running = start_at("--grpc-address=[::1]:0", &[]).await;
    assert_eq!(running.code_of("/test.Echo/Stream").await, Code::Ok);
    running.stop.cancel();
    running.task.await.unwrap();
}
