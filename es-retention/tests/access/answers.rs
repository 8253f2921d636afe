//! What comes back, and what does not.

use std::time::Duration;

use sabre_es_retention::cluster::transport::{Method, Response, Transport, TransportError};
use sabre_testkit::s3::{Answer, ScriptedServer};
use tokio::net::TcpListener;

use crate::{request, transport};

async fn ask(answer: Answer, limit_bytes: usize) -> Result<Response, TransportError> {
    let server = ScriptedServer::start([answer]).await.unwrap();
    let transport = transport(&format!("http://{}", server.endpoint()), "{}");
    let mut request = request(Method::Get, &["a"]);
    request.max_response_bytes = limit_bytes;
    request.timeout = Duration::from_millis(1500);
    transport.send(request).await
}

#[tokio::test]
async fn an_answer_of_any_status_is_an_answer() {
    for status in [200, 201, 403, 404, 429, 500, 503] {
        let answer = ask(Answer::new(status).body("text"), 100).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (status, &b"text"[..]));
    }
    let busy = ask(Answer::new(429).header("retry-after", "7"), 100)
        .await
        .unwrap();
    assert_eq!(busy.retry_after, Some(Duration::from_secs(7)));
    let date = Answer::new(503).header("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT");
    assert_eq!(ask(date, 100).await.unwrap().retry_after, None);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = ScriptedServer::start([Answer::new(200)]).await.unwrap();
    let redirect = Answer::new(307).header("location", &format!("http://{}/", other.endpoint()));
    assert_eq!(ask(redirect, 100).await.unwrap().status, 307);
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit() {
    assert_eq!(
        ask(Answer::new(200).body("12345"), 5).await.unwrap().body.len(),
        5
    );
    let error = ask(Answer::new(200).body("123456"), 5).await.unwrap_err();
    assert_eq!(error, TransportError::TooLarge { limit_bytes: 5 });
}

/// 64 KiB of zeros, as gzip.
const ZEROS: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 237, 193, 1, 1, 0, 0, 0, 128, 144, 254, 175, 238, 8, 10, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 106, 235, 142, 151, 215, 0, 0, 1, 0,
];

#[tokio::test]
async fn the_limit_is_of_what_comes_out_of_decompression() {
    let packed = Answer::new(200).header("content-encoding", "gzip").body(ZEROS);
    let error = ask(packed.clone(), 1000).await.unwrap_err();
    assert_eq!(error, TransportError::TooLarge { limit_bytes: 1000 });
    assert_eq!(ask(packed, 1 << 20).await.unwrap().body.len(), 64 << 10);
}

#[tokio::test]
async fn a_cut_answer_is_no_answer() {
    let error = ask(Answer::new(200).body("12345").cut_after(3), 100)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Cut(_)), "{error}");
    let error = ask(Answer::hang_up(), 100).await.unwrap_err();
    assert!(matches!(error, TransportError::Cut(_)), "{error}");
}

#[tokio::test]
async fn silence_ends_with_the_time_of_the_request() {
    let limit = Duration::from_millis(1500);
    assert_eq!(
        ask(Answer::silence(), 100).await.unwrap_err(),
        TransportError::Timeout(limit)
    );
    let half = Answer::new(200).body("12345").hang_after(3);
    assert_eq!(ask(half, 100).await.unwrap_err(), TransportError::Timeout(limit));
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = transport(&format!("http://{address}"), "{}")
        .send(request(Method::Delete, &["a"]))
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Connect(_)), "{error}");
    let text = error.to_string();
    let begins = format!("cannot connect to http://{address}/: ");
    assert!(text.starts_with(&begins) && text.contains("refused"), "{text}");
}
