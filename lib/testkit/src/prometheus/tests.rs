use prost::Message;
use sabre_proto::{
    prometheus::{Query, ReadRequest, ReadResponse, read_request::ResponseType},
    remote_read::FrameDecoder,
    thanos::LabelMatcher,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

/// Sends one request and returns status line and body.
async fn ask(prometheus: &FakePrometheus, method: &str, target: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(prometheus.address).await.unwrap();
    let head = format!(
        "{method} {target} HTTP/1.1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = String::from_utf8_lossy(&answer[..end])
        .lines()
        .next()
        .unwrap()
        .to_owned();
    (status, answer[end + 4..].to_vec())
}

async fn prometheus() -> FakePrometheus {
    let prometheus = FakePrometheus::start(&[("cluster", "eu1")]).await.unwrap();
    prometheus.floats(
        &[("__name__", "up"), ("job", "a")],
        (0..300).map(|n| (n * 1000, n as f64)),
    );
    prometheus.floats(
        &[("__name__", "up"), ("cluster", "own"), ("job", "b")],
        [(5000, 1.0)],
    );
    prometheus
}

fn read_request(response_type: ResponseType) -> Vec<u8> {
    let up = LabelMatcher {
        name: "__name__".to_owned(),
        value: "up".to_owned(),
        ..LabelMatcher::default()
    };
    let query = Query {
        start_timestamp_ms: 0,
        end_timestamp_ms: i64::MAX,
        matchers: vec![up],
        hints: None,
    };
    let request = ReadRequest {
        queries: vec![query],
        accepted_response_types: vec![response_type as i32],
    };
    snap::raw::Encoder::new()
        .compress_vec(&request.encode_to_vec())
        .unwrap()
}

#[tokio::test]
async fn streamed_reads_split_long_series_and_add_external_labels_to_those_without() {
    let prometheus = prometheus().await;
    prometheus.set_read_mode(ReadMode::Streamed { chunks_per_frame: 2 });
    let (status, body) = ask(
        &prometheus,
        "POST",
        "/api/v1/read",
        &read_request(ResponseType::StreamedXorChunks),
    )
    .await;
    assert!(status.contains("200"), "{status}");
    let mut decoder = FrameDecoder::new(1 << 20);
    decoder.push(body.into());
    let mut seen = Vec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        for series in frame.decode().unwrap().chunked_series {
            let labels = sabre_proto::convert::labels_from_wire(&series.labels).unwrap();
            seen.push((labels.get("cluster").unwrap().to_owned(), series.chunks.len()));
        }
    }
    decoder.finish().unwrap();
    let want = [("own", 1), ("eu1", 2), ("eu1", 1)];
    assert_eq!(seen, want.map(|(cluster, chunks)| (cluster.to_owned(), chunks)));
}

#[tokio::test]
async fn sampled_reads_are_one_message() {
    let prometheus = prometheus().await;
    let (_, body) = ask(
        &prometheus,
        "POST",
        "/api/v1/read",
        &read_request(ResponseType::Samples),
    )
    .await;
    let plain = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    let answer = ReadResponse::decode(&*plain).unwrap();
    let counts: Vec<usize> = answer.results[0]
        .timeseries
        .iter()
        .map(|series| series.samples.len())
        .collect();
    assert_eq!(counts, [1, 300]);
}

#[tokio::test]
async fn the_label_api_selects_limits_and_refuses() {
    let prometheus = prometheus().await;
    let data =
        |body: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&body).unwrap()["data"].to_string();
    let (_, body) = ask(&prometheus, "GET", "/api/v1/label/job/values?end=4", b"").await;
    assert_eq!(data(body), r#"["a"]"#, "the other series has no sample by then");
    let (_, body) = ask(
        &prometheus,
        "GET",
        "/api/v1/labels?match[]=%7Bjob%3D%22b%22%7D&limit=2",
        b"",
    )
    .await;
    assert_eq!(data(body), r#"["__name__","cluster"]"#);
    let (status, _) = ask(&prometheus, "GET", "/api/v1/series", b"").await;
    assert!(status.contains("400"), "{status}");
    let (_, body) = ask(&prometheus, "GET", "/metrics", b"").await;
    assert_eq!(body, b"prometheus_tsdb_lowest_timestamp_seconds 0\n");
}

#[tokio::test]
async fn faults_end_and_a_restart_keeps_port_and_series() {
    let mut prometheus = prometheus().await;
    prometheus.fail("/labels", 1, Answer::new(503));
    assert!(
        ask(&prometheus, "GET", "/api/v1/labels", b"")
            .await
            .0
            .contains("503")
    );
    assert!(
        ask(&prometheus, "GET", "/api/v1/labels", b"")
            .await
            .0
            .contains("200")
    );
    assert_eq!(prometheus.requests("/labels").len(), 2);
    prometheus.stop().await;
    assert!(TcpStream::connect(prometheus.address).await.is_err());
    prometheus.restart().await.unwrap();
    assert!(
        ask(&prometheus, "GET", "/api/v1/labels", b"")
            .await
            .0
            .contains("200")
    );
}
