use std::io::Write;

use tonic::Code;
use tower::{Layer as _, ServiceExt as _};

use super::*;

fn compress(plain: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).expect("write");
    encoder.into_inner().expect("flush")
}

fn message(flag: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![flag];
    out.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
    out.extend(payload);
    out
}

#[test]
fn compressed_and_stored_messages_come_out_stored() {
    let plain = vec![7u8; 100_000];
    let body = [
        message(1, &compress(&plain)),
        message(0, b"as it is"),
        message(1, b""),
    ]
    .concat();
    let expected = [message(0, &plain), message(0, b"as it is"), message(0, b"")].concat();
    assert_eq!(
        decompress_messages(body.into(), 200_000).expect("valid"),
        expected
    );
}

#[test]
fn a_bomb_is_refused() {
    let body = message(1, &compress(&vec![0u8; 1 << 20]));
    let status = decompress_messages(body.into(), 1000).expect_err("too long");
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[test]
fn damaged_requests_are_invalid_arguments() {
    let whole = message(1, &compress(b"some text that is long enough"));
    for end in 1..whole.len() {
        let status = decompress_messages(whole[..end].to_vec().into(), 1000).expect_err("cut");
        assert_eq!(status.code(), Code::InvalidArgument, "{end}");
    }
    for bad in [message(2, b"x"), message(1, b"no snappy")] {
        let status = decompress_messages(bad.into(), 1000).expect_err("bad");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}

/// Answers with the request: its encoding in a header, its body as the body.
async fn echo(request: Request) -> Result<Response, Infallible> {
    let mut response = Response::new(Body::empty());
    if let Some(encoding) = request.headers().get(ENCODING) {
        response.headers_mut().insert("seen", encoding.clone());
    }
    *response.body_mut() = request.into_body();
    Ok(response)
}

async fn call(encoding: Option<&str>, body: Vec<u8>) -> Response {
    let service = SnappyLayer.layer(tower::service_fn(echo));
    let mut request = Request::new(Body::from(body));
    if let Some(encoding) = encoding {
        let value = http::HeaderValue::from_str(encoding).expect("text");
        request.headers_mut().insert(ENCODING, value);
    }
    service.oneshot(request).await.expect("infallible")
}

async fn body_of(response: Response) -> Bytes {
    response.into_body().collect().await.expect("whole").to_bytes()
}

#[tokio::test]
async fn a_compressed_request_reaches_the_service_as_if_it_never_was() {
    let response = call(Some("snappy"), message(1, &compress(b"plain"))).await;
    assert!(response.headers().get("seen").is_none());
    assert_eq!(body_of(response).await, message(0, b"plain"));
}

#[tokio::test]
async fn other_encodings_are_left_to_the_service() {
    for encoding in ["gzip", "identity"] {
        let response = call(Some(encoding), message(1, b"as it is")).await;
        assert_eq!(response.headers()["seen"], encoding);
        assert_eq!(body_of(response).await, message(1, b"as it is"));
    }
    assert_eq!(body_of(call(None, b"x".to_vec()).await).await, "x");
}

#[tokio::test]
async fn a_request_that_is_no_snappy_does_not_reach_the_service() {
    let response = call(Some("snappy"), message(1, b"no snappy")).await;
    let status = Status::from_header_map(response.headers()).expect("a status");
    assert_eq!(status.code(), Code::InvalidArgument);
}
