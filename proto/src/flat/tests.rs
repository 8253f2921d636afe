use super::*;
use crate::thanos::chunk::Encoding;
use crate::thanos::{AggrChunk, Chunk, Label, Series, SeriesBatch};
use proptest::prelude::*;

fn message(response: &SeriesResponse) -> Vec<u8> {
    let body = response.encode_to_vec();
    let mut out = vec![0];
    out.extend_from_slice(&u32::try_from(body.len()).expect("short").to_be_bytes());
    out.extend_from_slice(&body);
    out
}

fn labels(series: &Series) -> Vec<u8> {
    let mut out = Vec::new();
    for label in &series.labels {
        encode_label(&label.name, &label.value, &mut out);
    }
    out
}

fn part(chunk: &Option<Chunk>) -> Option<ChunkPart<'_>> {
    chunk.as_ref().map(|chunk| ChunkPart {
        encoding: chunk.r#type(),
        data: &chunk.data,
        hash: chunk.hash,
    })
}

fn chunks(series: &Series) -> Vec<ChunkParts<'_>> {
    series
        .chunks
        .iter()
        .map(|chunk| ChunkParts {
            mint: chunk.min_time,
            maxt: chunk.max_time,
            raw: part(&chunk.raw),
            aggregates: Some(Box::new(AggregateParts {
                count: part(&chunk.count),
                sum: part(&chunk.sum),
                min: part(&chunk.min),
                max: part(&chunk.max),
                counter: part(&chunk.counter),
            })),
        })
        .collect()
}

#[test]
fn a_buffer_is_written_again_once_its_reader_has_dropped_it() {
    const ROOM_BYTES: usize = 100_000;
    let mut builder = SeriesFrameBuilder::default();
    let mut write = |text: &str| {
        builder.reserve(ROOM_BYTES);
        builder.warning(text).unwrap();
        builder.take()
    };
    let (first, second) = (write("one"), write("two"));
    let place = first.as_ptr();
    assert_ne!(second.as_ptr(), place, "the first is still read");
    drop(first);
    let third = write("three");
    assert_eq!(third.as_ptr(), place);
    let read = |frame: &Bytes| SeriesResponse::decode(&frame[MESSAGE_HEADER_BYTES..]).unwrap();
    let warning = |text: &str| SeriesResponse {
        result: Some(series_response::Result::Warning(text.to_owned())),
    };
    assert_eq!((read(&second), read(&third)), (warning("two"), warning("three")));
    // However many are read at once, few are remembered.
    let many: Vec<Bytes> = (0..20).map(|_| write("again")).collect();
    assert!(many.iter().all(|frame| read(frame) == warning("again")));
    assert!(builder.handed_out.len() <= REMEMBERED_BUFFERS);
}

#[test]
fn labels_of_every_length_are_written_as_protobuf_libraries_do() {
    let lengths = [
        0, 1, 60, 61, 62, 63, 64, 122, 123, 124, 127, 128, 255, 256, 20_000,
    ];
    for (name, value) in lengths
        .iter()
        .flat_map(|n| lengths.iter().map(move |v| ("n".repeat(*n), "v".repeat(*v))))
    {
        let mut own = Vec::new();
        encode_label(&name, &value, &mut own);
        let lens = (name.len(), value.len());
        let labels = vec![Label { name, value }];
        let theirs = Series {
            labels,
            chunks: Vec::new(),
        }
        .encode_to_vec();
        assert!(own == theirs, "{lens:?}");
    }
}

fn any_chunk() -> impl Strategy<Value = Option<Chunk>> {
    let hash = prop_oneof![Just(0u64), any::<u64>()];
    let data = proptest::collection::vec(any::<u8>(), 0..200);
    proptest::option::of((0..3i32, data, hash).prop_map(|(r#type, data, hash)| Chunk {
        r#type,
        data: data.into(),
        hash,
    }))
}

fn any_aggr_chunk() -> impl Strategy<Value = AggrChunk> {
    let time = prop_oneof![Just(0i64), any::<i64>(), 1_767_225_600_000..1_767_225_700_000i64];
    let parts = (
        any_chunk(),
        any_chunk(),
        any_chunk(),
        any_chunk(),
        any_chunk(),
        any_chunk(),
    );
    (time.clone(), time, parts).prop_map(|(min_time, max_time, (raw, count, sum, min, max, counter))| {
        AggrChunk {
            min_time,
            max_time,
            raw,
            count,
            sum,
            min,
            max,
            counter,
        }
    })
}

fn any_series() -> impl Strategy<Value = Series> {
    let label = (".{0,9}", ".{0,150}").prop_map(|(name, value)| Label { name, value });
    (
        proptest::collection::vec(label, 0..4),
        proptest::collection::vec(any_aggr_chunk(), 0..4),
    )
        .prop_map(|(labels, chunks)| Series { labels, chunks })
}

proptest! {
    #[test]
    fn a_series_is_what_prost_writes(series in any_series()) {
        let (labels, chunks) = (labels(&series), chunks(&series));
        let mut builder = SeriesFrameBuilder::default();
        let parts = SeriesParts { labels: &labels, chunks: &chunks };
        prop_assert_eq!(parts.encoded_len(), series.encoded_len());
        builder.series(&parts).expect("short");
        let response = SeriesResponse { result: Some(series_response::Result::Series(series.clone())) };
        prop_assert_eq!(builder.take(), message(&response));
        prop_assert!(builder.is_empty());
    }

    #[test]
    fn a_batch_is_what_prost_writes(batch in proptest::collection::vec(any_series(), 1..5)) {
        let encoded: Vec<_> = batch.iter().map(|series| (labels(series), chunks(series))).collect();
        let parts: Vec<_> =
            encoded.iter().map(|(labels, chunks)| SeriesParts { labels, chunks }).collect();
        let mut builder = SeriesFrameBuilder::with_capacity(64);
        builder.batch(&parts).expect("short");
        builder.batch(&parts[..1]).expect("short");
        let response = |series: &[Series]| SeriesResponse {
            result: Some(series_response::Result::Batch(SeriesBatch { series: series.to_vec() })),
        };
        let mut expected = message(&response(&batch));
        expected.extend(message(&response(&batch[..1])));
        prop_assert_eq!(builder.take(), expected);
    }

    #[test]
    fn warnings_and_hints_are_what_prost_writes(text in ".{0,300}", value in proptest::collection::vec(any::<u8>(), 0..9)) {
        let any = prost_types::Any { type_url: "type.googleapis.com/hintspb.X".into(), value };
        let mut builder = SeriesFrameBuilder::default();
        builder.warning(&text).expect("short");
        builder.hints(any.clone()).expect("short");
        let mut expected = message(&SeriesResponse { result: Some(series_response::Result::Warning(text)) });
        expected.extend(message(&SeriesResponse { result: Some(series_response::Result::Hints(any)) }));
        prop_assert_eq!(builder.take(), expected);
    }
}

#[test]
fn the_worked_example_of_the_format_is_equal_to_the_byte() {
    let mut labels = Vec::new();
    encode_label("job", "a", &mut labels);
    let part = ChunkPart {
        encoding: Encoding::Xor,
        data: &[0, 1, 2],
        hash: 0,
    };
    let hash_bytes: [u8; 10] = [0xdd, 0xcb, 0xf1, 0x9d, 0xd3, 0xe8, 0xee, 0xe3, 0xe5, 0x01];
    let hash = hash_bytes
        .iter()
        .rev()
        .fold(0u64, |sum, byte| (sum << 7) | u64::from(byte & 0x7f));
    let chunks = [ChunkParts::raw(1000, 61007, ChunkPart { hash, ..part })];
    let mut builder = SeriesFrameBuilder::default();
    builder
        .series(&SeriesParts {
            labels: &labels,
            chunks: &chunks,
        })
        .expect("short");
    let mut expected = vec![
        0, 0, 0, 0, 0x27, 0x0a, 0x25, 0x0a, 0x08, 0x0a, 0x03, 0x6a, 0x6f, 0x62, 0x12, 0x01, 0x61,
    ];
    expected.extend([
        0x12, 0x19, 0x08, 0xe8, 0x07, 0x10, 0xcf, 0xdc, 0x03, 0x1a, 0x10, 0x12, 0x03, 0, 1, 2, 0x18,
    ]);
    expected.extend(hash_bytes);
    assert_eq!(builder.take(), expected);
}

#[test]
fn an_empty_batch_writes_nothing() {
    let mut builder = SeriesFrameBuilder::default();
    builder.batch(&[]).expect("short");
    assert!(builder.is_empty());
}

#[test]
fn a_message_longer_than_grpc_allows_is_refused_and_leaves_no_trace() {
    let data = vec![0u8; 1 << 20];
    let part = ChunkPart {
        encoding: Encoding::Xor,
        data: &data,
        hash: 0,
    };
    let chunks = vec![ChunkParts::raw(0, 0, part); 2048];
    let mut builder = SeriesFrameBuilder::default();
    let error = builder
        .series(&SeriesParts {
            labels: &[],
            chunks: &chunks,
        })
        .expect_err("too long");
    assert!(error.bytes > MAX_MESSAGE_BYTES);
    assert!(
        error
            .to_string()
            .contains("is longer than gRPC allows (2147483647 bytes)"),
        "{error}"
    );
    assert!(builder.is_empty());
    assert_eq!(builder.buffer.capacity(), 0);
}
