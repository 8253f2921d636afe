use super::*;
use crate::prometheus::{Chunk, ChunkedSeries, chunk};
use crate::thanos::Label;
use proptest::prelude::*;

const MAX: usize = 64 << 10;

fn frame(payload: &[u8]) -> Vec<u8> {
    encode_frame(payload).to_vec()
}

/// Pushes `stream` in pieces of `piece_len` and collects the payloads.
fn decode(stream: &[u8], piece_len: usize) -> Result<Vec<Bytes>, FrameError> {
    let mut decoder = FrameDecoder::new(MAX);
    let mut payloads = Vec::new();
    for piece in stream.chunks(piece_len) {
        decoder.push(Bytes::copy_from_slice(piece));
        while let Some(frame) = decoder.next_frame()? {
            payloads.push(frame.payload);
        }
    }
    decoder.finish().map(|()| payloads)
}

fn response() -> ChunkedReadResponse {
    let chunk = |mint, data: &'static [u8]| Chunk {
        min_time_ms: mint,
        max_time_ms: mint + 9,
        r#type: chunk::Encoding::Xor.into(),
        data: Bytes::from_static(data),
    };
    ChunkedReadResponse {
        chunked_series: vec![ChunkedSeries {
            labels: vec![Label {
                name: "job".into(),
                value: "a".into(),
            }],
            chunks: vec![chunk(10, b"first chunk"), chunk(20, b"second chunk")],
        }],
        query_index: 0,
    }
}

proptest! {
    #[test]
    fn payloads_come_back_however_the_bytes_arrive(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..6),
        piece_len in 1..500usize,
    ) {
        let stream: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload)).collect();
        prop_assert_eq!(decode(&stream, piece_len).expect("valid"), payloads);
    }

    #[test]
    fn a_flipped_bit_is_found(payload in proptest::collection::vec(any::<u8>(), 1..300), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut stream = frame(&payload);
        let at = at.index(stream.len());
        stream[at] ^= 1u8 << bit;
        prop_assert!(decode(&stream, 64).is_err());
    }

    #[test]
    fn any_bytes_are_survived(stream in proptest::collection::vec(any::<u8>(), 0..2000), piece_len in 1..99usize) {
        if let Ok(payloads) = decode(&stream, piece_len) {
            for payload in payloads {
                let _ = Frame { offset: 0, payload }.decode();
            }
        }
    }

    #[test]
    fn series_by_series_is_what_comes_at_once(payload in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), Just(0x0a), Just(0x12), any::<u8>()], 0..60)) {
        let frame = Frame { offset: 0, payload: Bytes::from(payload) };
        let each: Result<Vec<ChunkedSeries>, FrameError> = frame.clone().series().map(|series| series?.decode()).collect();
        // Only of the number of the query, which nobody wants, more can be wrong.
        if let Ok(at_once) = frame.decode() {
            prop_assert_eq!(each, Ok(at_once.chunked_series));
        }
    }
}

#[test]
fn a_frame_is_size_checksum_and_payload() {
    // CRC-32C of "123456789" is a published check value; the size of 300 bytes takes two.
    assert_eq!(frame(b"123456789"), *b"\x09\xe3\x06\x92\x83123456789");
    assert_eq!(frame(&[7; 300])[..2], [0xac, 0x02]);
    assert_eq!(frame(b""), [0; 5]);
}

#[test]
fn a_cut_stream_is_truncated_at_every_offset_but_frame_ends() {
    let stream = [frame(b"one"), frame(b"another")].concat();
    for end in 0..stream.len() {
        let result = decode(&stream[..end], 5);
        if end == 0 || end == frame(b"one").len() {
            assert!(result.is_ok(), "{end}");
        } else {
            let error = result.expect_err("cut");
            let offset = if end < 8 { 0 } else { 8 };
            assert_eq!(
                error,
                FrameError::Truncated {
                    offset,
                    held_bytes: end - offset as usize
                }
            );
        }
    }
}

#[test]
fn a_payload_above_the_limit_is_refused_before_it_arrives() {
    let mut decoder = FrameDecoder::new(1000);
    decoder.push(Bytes::from_static(&[0xe9, 0x07])); // 1001, no checksum yet
    let error = decoder.next_frame().expect_err("too large");
    assert_eq!(
        error,
        FrameError::TooLarge {
            offset: 0,
            size_bytes: 1001,
            max_bytes: 1000
        }
    );
    assert_eq!(decoder.next_frame().expect_err("stays failed"), error);
    assert_eq!(decoder.finish().expect_err("stays failed"), error);
}

#[test]
fn a_size_above_64_bits_is_refused() {
    for size in [
        [0xff; 10],
        [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02],
    ] {
        let mut decoder = FrameDecoder::new(1000);
        decoder.push(Bytes::copy_from_slice(&size));
        assert_eq!(
            decoder.next_frame().expect_err("no varint"),
            FrameError::Size { offset: 0 }
        );
    }
}

#[test]
fn chunk_data_are_slices_of_what_was_pushed() {
    let stream = Bytes::from(frame(&response().encode_to_vec()));
    let mut decoder = FrameDecoder::new(DEFAULT_MAX_FRAME_BYTES);
    decoder.push(stream.clone());
    let decoded = decoder
        .next_frame()
        .expect("valid")
        .expect("whole")
        .decode()
        .expect("message");
    assert_eq!(decoded, response());
    for chunk in &decoded.chunked_series[0].chunks {
        assert!(stream.as_ptr_range().contains(&chunk.data.as_ptr()));
    }
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn a_payload_that_is_no_message_names_its_offset() {
    let stream = [frame(b""), frame(&[0x0a, 0xff])].concat();
    let mut decoder = FrameDecoder::new(MAX);
    decoder.push(Bytes::from(stream));
    assert_eq!(
        decoder.next_frame().expect("valid").expect("whole").decode(),
        Ok(ChunkedReadResponse::default())
    );
    let error = decoder
        .next_frame()
        .expect("valid")
        .expect("whole")
        .decode()
        .expect_err("cut message");
    assert!(
        error
            .to_string()
            .starts_with("remote read frame at offset 5: payload is no"),
        "{error}"
    );
}

/// What decoding takes in all, counted after it: capacities, and texts.
fn taken_bytes(series: &ChunkedSeries) -> usize {
    let texts = series.labels.iter();
    series.labels.capacity() * size_of::<Label>()
        + series.chunks.capacity() * size_of::<Chunk>()
        + texts
            .map(|label| label.name.capacity() + label.value.capacity())
            .sum::<usize>()
}

#[test]
fn what_a_series_takes_is_told_before_it_is_decoded() {
    let label = |name: &str| Label {
        name: name.to_owned(),
        value: "v".repeat(40),
    };
    let table = [
        ChunkedSeries::default(),
        response().chunked_series.remove(0),
        ChunkedSeries {
            labels: vec![Label::default(); 1025],
            chunks: vec![Chunk::default(); 4097],
        },
        ChunkedSeries {
            labels: vec![label("a"), label("b")],
            chunks: Vec::new(),
        },
    ];
    let all = ChunkedReadResponse {
        chunked_series: table.to_vec(),
        query_index: 7,
    };
    let payload = Bytes::from(all.encode_to_vec());
    let mut count = 0;
    for (series, expected) in (Frame { offset: 0, payload }).series().zip(table) {
        let series = series.expect("valid");
        let told = series.decoded_bytes().expect("valid");
        let decoded = series.decode().expect("valid");
        assert!(told >= taken_bytes(&decoded), "{told}");
        assert_eq!(decoded, expected);
        count += 1;
    }
    assert_eq!(count, 4);
    // Two bytes each on the wire.
    let empty = [0x12, 0].repeat(1000);
    assert!(weight::CHUNKED_SERIES.weigh(&empty).expect("valid") >= 1000 * size_of::<Chunk>());
}

#[test]
fn what_samples_take_is_told_before_they_are_decoded() {
    // Of a result, a thousand series that are empty; and a series with as many empty samples.
    let nested = |field: u8, inner: &[u8]| {
        let mut out = vec![field << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut out);
        out.extend(inner);
        out
    };
    let series = nested(1, &nested(1, &[]).repeat(1000));
    let of_series = decoded_bytes(&series).expect("valid");
    assert!(of_series >= 1000 * size_of::<crate::prometheus_copy::TimeSeries>());
    let samples = nested(1, &nested(1, &nested(2, &[]).repeat(1000)));
    assert!(decoded_bytes(&samples).expect("valid") >= 1000 * size_of::<crate::prometheus_copy::Sample>());
    assert_eq!(decoded_bytes(&[0x0a, 0xff]), None);
}

#[test]
fn a_series_that_is_cut_off_is_named_and_ends_the_payload() {
    let payload = Bytes::from_static(&[0x0a, 0, 0x0a, 9, 1]);
    let mut series = Frame { offset: 77, payload }.series();
    assert!(series.next().expect("one").is_ok());
    let error = series.next().expect("another").expect_err("cut").to_string();
    assert!(
        error.contains("offset 77") && error.contains("9 bytes where 1 are left"),
        "{error}"
    );
    assert!(series.next().is_none());
}
