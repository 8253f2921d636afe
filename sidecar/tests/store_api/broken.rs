//! Answers of Prometheus that are none: each fails its own call, names what is wrong and where, and leaves nothing behind.

use sabre_testkit::s3::Answer;
use tonic::Code;

use super::support::{Sidecar, everything, floats, prometheus};

const STREAMED: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// Two series; the first takes 3 frames of one chunk, the second one.
async fn sidecar() -> Sidecar {
    let prometheus = prometheus().await;
    prometheus.set_read_mode(sabre_testkit::prometheus::ReadMode::Streamed { chunks_per_frame: 1 });
    prometheus.floats(&[("__name__", "up"), ("job", "a")], floats(0, 300));
    prometheus.floats(&[("__name__", "up"), ("job", "b")], floats(0, 10));
    Sidecar::start(prometheus, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_damaged_fails_the_call_and_names_the_offset() {
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let table: [(&str, Damage, Code, &str); 7] = [
        (
            "a bit of the first payload",
            |mut body| {
                body[20] ^= 1;
                body
            },
            Code::Unknown,
            "frame at offset 0: payload has checksum",
        ),
        (
            "a bit of a checksum",
            |mut body| {
                body[3] ^= 0x10;
                body
            },
            Code::Unknown,
            "frame at offset 0: payload has checksum",
        ),
        (
            "the last byte is missing",
            |mut body| {
                body.pop();
                body
            },
            Code::Unavailable,
            "ends within the frame at offset",
        ),
        (
            "a frame of 4 GiB",
            |body| [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &body].concat(),
            Code::Unknown,
            "payload of 4294967295 bytes is above the limit",
        ),
        (
            "a size that has no end",
            |_| vec![0xff; 64],
            Code::Unknown,
            "size is no valid varint",
        ),
        (
            "a payload that is no message",
            |_| sabre_proto::remote_read::encode_frame(&[0x0a, 0xff]).to_vec(),
            Code::Unknown,
            "payload is no ChunkedReadResponse",
        ),
        (
            "garbage behind the last frame",
            |mut body| {
                body.extend([9, 9]);
                body
            },
            Code::Unavailable,
            "ends within the frame at offset",
        ),
    ];
    let sidecar = sidecar().await;
    for (what, damage, code, says) in table {
        sidecar.prometheus.damage_read(damage);
        let status = sidecar.series(everything()).await.unwrap_err();
        assert_eq!(status.code(), code, "{what}: {status}");
        assert!(status.message().contains(says), "{what}: {status}");
        sidecar.all_memory_is_back().await;
        sidecar.prometheus.heal();
        assert_eq!(
            sidecar.series(everything()).await.unwrap().series.len(),
            2,
            "{what}: afterwards"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cut_and_every_flipped_bit_of_a_stream_is_noticed() {
    let sidecar = sidecar().await;
    let whole = sidecar.series(everything()).await.unwrap();
    let length = std::sync::Arc::new(parking_lot::Mutex::new(0));
    sidecar.prometheus.damage_read({
        let length = std::sync::Arc::clone(&length);
        move |body| {
            *length.lock() = body.len();
            body
        }
    });
    sidecar.series(everything()).await.unwrap();
    let length = *length.lock();
    for at in (0..length).step_by(37) {
        sidecar.prometheus.damage_read(move |mut body| {
            body[at] ^= 1 << (at % 8);
            body
        });
        assert!(sidecar.series(everything()).await.is_err(), "bit flipped at {at}");
        sidecar.prometheus.damage_read(move |mut body| {
            body.truncate(at);
            body
        });
        // Frames have no count: a cut between two of them cannot be told from an end, it shows as fewer chunks.
        if let Ok(answer) = sidecar.series(everything()).await {
            assert_ne!(answer, whole, "cut at {at}");
        }
    }
    sidecar.all_memory_is_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_streams_are_named() {
    let page = || {
        Answer::new(200)
            .header("content-type", "text/html")
            .body("<html>a proxy</html>")
    };
    let samples = |body: &'static [u8]| {
        Answer::new(200)
            .header("content-type", "application/x-protobuf")
            .body(body)
    };
    let table = [
        ("a page", page(), Code::Unknown, "text/html"),
        (
            "samples that are not snappy",
            samples(b"no snappy"),
            Code::Unknown,
            "remote read: ",
        ),
        (
            "samples that claim 4 GiB",
            samples(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]),
            Code::ResourceExhausted,
            "4294967295 bytes of samples",
        ),
        (
            "a body that breaks off",
            Answer::new(200)
                .header("content-type", STREAMED)
                .body(sabre_proto::remote_read::encode_frame(&[0; 100]))
                .cut_after(50),
            Code::Unavailable,
            "remote read",
        ),
        (
            "no answer at all",
            Answer::hang_up(),
            Code::Unavailable,
            "no answer from Prometheus",
        ),
    ];
    let sidecar = sidecar().await;
    for (what, answer, code, says) in table {
        sidecar.prometheus.fail("/api/v1/read", 1, answer);
        let status = sidecar.series(everything()).await.unwrap_err();
        assert_eq!(status.code(), code, "{what}: {status}");
        assert!(status.message().contains(says), "{what}: {status}");
        sidecar.all_memory_is_back().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_refuses_is_passed_on_with_its_words() {
    let sidecar = sidecar().await;
    for (status_code, code) in [
        (400, Code::InvalidArgument),
        (404, Code::NotFound),
        (422, Code::Internal),
        (500, Code::Unknown),
        (503, Code::Unavailable),
        (504, Code::DeadlineExceeded),
    ] {
        let answer = Answer::new(status_code).body("exceeded sample limit");
        sidecar.prometheus.fail("/api/v1/read", 1, answer);
        let status = sidecar.series(everything()).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        let says = format!("Prometheus answered {status_code}");
        assert!(
            status.message().contains(&says) && status.message().contains("exceeded sample limit"),
            "{status}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_is_stopped_by_the_memory_budget() {
    let prometheus = prometheus().await;
    prometheus.floats(&[("__name__", "up")], floats(0, 10));
    let sidecar = Sidecar::start(prometheus, &["--sabre.memory-budget=16MB"]).await;
    // One series, whose chunks go on for ever: it would have to be held whole.
    let frame = {
        let chunk = sabre_proto::prometheus::Chunk {
            min_time_ms: 0,
            max_time_ms: 1,
            r#type: 1,
            data: vec![0_u8; 100_000].into(),
        };
        let series = sabre_proto::prometheus::ChunkedSeries {
            labels: Vec::new(),
            chunks: vec![chunk],
        };
        let payload = sabre_proto::prometheus::ChunkedReadResponse {
            chunked_series: vec![series],
            query_index: 0,
        };
        sabre_proto::remote_read::encode_frame(&prost::Message::encode_to_vec(&payload))
    };
    let endless = Answer::new(200)
        .header("content-type", STREAMED)
        .body(frame)
        .endless();
    sidecar.prometheus.fail("/api/v1/read", 1, endless);
    let status = sidecar.series(everything()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("--sabre.memory-budget"), "{status}");
    sidecar.all_memory_is_back().await;
    assert!(sidecar.metric("sabre_memory_budget_high_water_bytes") <= 16e6 * 1.05);
    assert_eq!(sidecar.series(everything()).await.unwrap().series.len(), 1);
}

/// It is no answer at all: what matters is that it is refused before it is held, and not when it is decoded.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_samples_is_charged_while_it_comes() {
    let sidecar = Sidecar::start(prometheus().await, &["--sabre.memory-budget=16MB"]).await;
    let answer = Answer::new(200)
        .header("content-type", "application/x-protobuf")
        .body(vec![7; 48 << 20]);
    sidecar.prometheus.fail("/api/v1/read", 1, answer);
    let status = sidecar.series(everything()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("--sabre.memory-budget"), "{status}");
    sidecar.all_memory_is_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_charged_while_it_comes() {
    let sidecar = Sidecar::start(prometheus().await, &["--sabre.memory-budget=16MB"]).await;
    let frame = sabre_proto::remote_read::encode_frame(&vec![7; 60 << 20]);
    // It breaks off, which shows that nobody waited for its end.
    let answer = Answer::new(200)
        .header("content-type", STREAMED)
        .body(frame)
        .cut_after(50 << 20);
    sidecar.prometheus.fail("/api/v1/read", 1, answer);
    let status = sidecar.series(everything()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("--sabre.memory-budget"), "{status}");
    sidecar.all_memory_is_back().await;
    assert!(sidecar.metric("sabre_memory_budget_high_water_bytes") <= 16e6 * 1.05);
}

/// An empty message within another is two bytes on the wire, and fifty in memory.
#[tokio::test(flavor = "multi_thread")]
async fn entries_with_nothing_in_them_are_charged_before_they_are_decoded() {
    let nested = |field: u8, inner: &[u8]| {
        let mut out = vec![field << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut out);
        out.extend(inner);
        out
    };
    let streamed = |payload: &[u8]| {
        Answer::new(200)
            .header("content-type", STREAMED)
            .body(sabre_proto::remote_read::encode_frame(payload))
    };
    let sampled = |message: &[u8]| {
        Answer::new(200)
            .header("content-type", "application/x-protobuf")
            .body(snap::raw::Encoder::new().compress_vec(message).unwrap())
    };
    let many = |field: u8| [field << 3 | 2, 0].repeat(1 << 20);
    let table = [
        ("labels of a series", streamed(&nested(1, &many(1)))),
        ("chunks of a series", streamed(&nested(1, &many(2)))),
        ("series in samples", sampled(&nested(1, &many(1)))),
        ("samples of a series", sampled(&nested(1, &nested(1, &many(2))))),
    ];
    let sidecar = Sidecar::start(prometheus().await, &["--sabre.memory-budget=16MB"]).await;
    for (what, answer) in table {
        sidecar.prometheus.fail("/api/v1/read", 1, answer);
        let status = sidecar.series(everything()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{what}: {status}");
        assert!(
            status.message().contains("--sabre.memory-budget"),
            "{what}: {status}"
        );
        sidecar.all_memory_is_back().await;
    }
    // Of series only one is held decoded at a time: these are all the same one, and take nothing.
    sidecar.prometheus.fail("/api/v1/read", 1, streamed(&many(1)));
    assert_eq!(sidecar.series(everything()).await.unwrap().series.len(), 1);
    sidecar.all_memory_is_back().await;
}
