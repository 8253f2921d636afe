//! Every chunk that real Prometheus and Thanos wrote, decoded and encoded again.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use sabre_tsdb::chunk::aggregate::{Aggregate, AggregateChunk};
use sabre_tsdb::chunk::histogram::{Appended, Codec, HistogramAppender, HistogramIter};
use sabre_tsdb::chunk::xor::{self, XorAppender, XorIter};
use sabre_tsdb::chunk::{Encoding, SAMPLES_PER_CHUNK, decode_samples, encode_stream, num_samples};
use sabre_tsdb::histogram::CounterResetHint;
use sabre_tsdb::segment::{
    ChunkRef, DEFAULT_SEGMENT_BYTES, MemorySink, Record, SegmentWriter, read_record, scan,
};

/// How many chunks and samples of a kind there were: the tests fail if the golden data loses its odd cases.
#[derive(Debug, Default)]
struct Seen(BTreeMap<String, (usize, usize)>);

impl Seen {
    fn add(&mut self, kind: impl Into<String>, samples: usize) {
        let (chunks, sum) = self.0.entry(kind.into()).or_default();
        *chunks += 1;
        *sum += samples;
    }

    fn require(&self, kinds: &[&str]) {
        for kind in kinds {
            assert!(
                self.0.contains_key(*kind),
                "no chunk of kind {kind} in {:?}",
                self.0
            );
        }
    }
}

fn for_each_record(archive: &str, mut check: impl FnMut(&str, &[u8], u64, Record<'_>)) {
    let Some(files) = support::archive(archive) else {
        return;
    };
    let mut records = 0;
    for (path, file) in support::segments(&files) {
        for item in scan(file).unwrap_or_else(|error| panic!("{path}: {error}")) {
            let (offset, record) = item.unwrap_or_else(|error| panic!("{path}: {error}"));
            check(&format!("{path} offset {offset}"), file, offset, record);
            records += 1;
        }
    }
    assert!(records > 1000, "{records} chunks in {archive}");
}

fn encode_again(at: &str, encoding: Encoding, data: &[u8], seen: &mut Seen) {
    match encoding {
        Encoding::Xor => encode_floats(at, data, seen),
        Encoding::Histogram => encode_histograms::<i64>(at, "int", data, seen),
        Encoding::FloatHistogram => encode_histograms::<f64>(at, "float", data, seen),
        Encoding::Aggregate => encode_aggregates(at, data, seen),
    }
}

fn encode_floats(at: &str, data: &[u8], seen: &mut Seen) {
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    xor::decode(data, &mut timestamps, &mut values).unwrap_or_else(|error| panic!("{at}: {error}"));
    let mut appender = XorAppender::new();
    for sample in XorIter::new(data).unwrap().zip(timestamps.iter().zip(&values)) {
        let ((t, value), (&batch_t, &batch_value)) = (sample.0.unwrap(), sample.1);
        assert_eq!((t, value.to_bits()), (batch_t, batch_value.to_bits()), "{at}");
        appender.append(t, value).unwrap();
    }
    assert_eq!(appender.finish(), data, "{at}");
    assert_eq!(
        num_samples(Encoding::Xor, data),
        Ok(timestamps.len() as u16),
        "{at}"
    );
    seen.add("floats", timestamps.len());
}

/// The header flag and the gauge hint of stale samples are what decoding loses: both are given back here.
fn encode_histograms<B: Codec>(at: &str, kind: &str, data: &[u8], seen: &mut Seen) {
    let samples = HistogramIter::<B>::new(data).unwrap_or_else(|error| panic!("{at}: {error}"));
    let (flag, layout) = (samples.flag(), Arc::clone(samples.layout()));
    let mut appender: Option<HistogramAppender<B>> = None;
    let mut count = 0;
    for sample in samples {
        let (t, mut histogram) = sample.unwrap_or_else(|error| panic!("{at}: {error}"));
        count += 1;
        if histogram.is_stale() {
            seen.add(format!("{kind} stale"), 1);
            if flag == CounterResetHint::Gauge {
                histogram.hint = CounterResetHint::Gauge;
            }
        }
        match &mut appender {
            None => appender = Some(HistogramAppender::begin_with_flag(flag, t, &histogram).unwrap()),
            Some(appender) => {
                let appended = appender.append(t, &mut histogram).unwrap();
                assert_eq!(appended, Appended::Extended, "{at}: sample {count}");
            }
        }
    }
    assert_eq!(appender.unwrap().finish(), data, "{at}");
    assert_eq!(num_samples(B::ENCODING, data), Ok(count), "{at}");
    seen.add(format!("{kind} {flag:?}"), count.into());
    if layout.has_custom_buckets() {
        seen.add(format!("{kind} custom buckets"), count.into());
    }
    if !layout.negative_spans.is_empty() {
        seen.add(format!("{kind} negative buckets"), count.into());
    }
}

fn encode_aggregates(at: &str, data: &[u8], seen: &mut Seen) {
    let chunk = AggregateChunk::parse(data).unwrap_or_else(|error| panic!("{at}: {error}"));
    assert_eq!(chunk.encode(), data, "{at}");
    let mut again = AggregateChunk::default();
    for aggregate in Aggregate::ALL {
        let part = chunk.get(aggregate);
        again.set(aggregate, part);
        if let Some(part) = part {
            encode_again(&format!("{at} {aggregate:?}"), part.encoding, part.data, seen);
            seen.add(format!("{aggregate:?}"), 1);
        }
    }
    assert_eq!(again, chunk, "{at}");
    let count = chunk.get(Aggregate::Count).unwrap();
    assert_eq!(
        num_samples(Encoding::Aggregate, data),
        num_samples(count.encoding, count.data),
        "{at}"
    );
}

#[test]
fn every_raw_chunk_encoded_again_is_the_same() {
    let mut seen = Seen::default();
    for_each_record("raw.tar.zst", |at, _, _, record| {
        encode_again(
            at,
            Encoding::try_from(record.encoding).unwrap(),
            record.data,
            &mut seen,
        );
    });
    eprintln!("{seen:#?}");
    if !seen.0.is_empty() {
        seen.require(&[
            "floats",
            "int Unknown",
            "int CounterReset",
            "int NotCounterReset",
            "int Gauge",
            "float NotCounterReset",
            "float CounterReset",
            "int custom buckets",
            "int negative buckets",
        ]);
    }
}

#[test]
fn every_chunk_of_compacted_and_downsampled_blocks_encoded_again_is_the_same() {
    let mut seen = Seen::default();
    for_each_record("thanos.tar.zst", |at, _, _, record| {
        encode_again(
            at,
            Encoding::try_from(record.encoding).unwrap(),
            record.data,
            &mut seen,
        );
    });
    eprintln!("{seen:#?}");
    if !seen.0.is_empty() {
        seen.require(&["floats", "Count", "Sum", "Min", "Max", "Counter", "float Gauge"]);
    }
}

/// What a merge makes of the samples of one chunk: that chunk, but for its flag, unless it holds more than 120.
#[test]
fn a_stream_of_the_samples_of_a_chunk_gives_that_chunk_again() {
    let (mut same, mut long) = (0usize, 0usize);
    for archive in ["raw.tar.zst", "thanos.tar.zst"] {
        for_each_record(archive, |at, _, _, record| {
            let encoding = Encoding::try_from(record.encoding).unwrap();
            if encoding == Encoding::Aggregate {
                return;
            }
            let samples = decode_samples(encoding, record.data).unwrap();
            let count = samples.len();
            let (mint, maxt) = (samples[0].t, samples[count - 1].t);
            let chunks = encode_stream(samples).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert_eq!(chunks.len(), count.div_ceil(SAMPLES_PER_CHUNK.into()), "{at}");
            assert_eq!(
                (chunks[0].mint, chunks[chunks.len() - 1].maxt),
                (mint, maxt),
                "{at}"
            );
            match chunks.as_slice() {
                [chunk] => {
                    assert_eq!(chunk.encoding, encoding, "{at}");
                    assert_eq!(
                        unflagged(encoding, &chunk.data),
                        unflagged(encoding, record.data),
                        "{at}"
                    );
                    same += 1;
                }
                _ => long += 1,
            }
        });
    }
    eprintln!("{same} chunks the same, {long} of more than 120 samples");
}

/// The flag is lost where it is not that of a gauge.
fn unflagged(encoding: Encoding, data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    let histogram = matches!(encoding, Encoding::Histogram | Encoding::FloatHistogram);
    if histogram && data[2] >> 6 != 0b11 {
        data[2] = 0;
    }
    data
}

#[test]
fn every_segment_written_again_is_the_same() {
    for archive in ["raw.tar.zst", "thanos.tar.zst"] {
        let Some(files) = support::archive(archive) else {
            return;
        };
        for (path, file) in support::segments(&files) {
            let (mut encoded, mut copied) = (MemorySink::default(), MemorySink::default());
            let mut encoder = SegmentWriter::new(DEFAULT_SEGMENT_BYTES);
            let mut copier = SegmentWriter::new(DEFAULT_SEGMENT_BYTES);
            for item in scan(file).unwrap() {
                let (offset, record) = item.unwrap();
                let at = ChunkRef::new(0, offset as u32);
                assert_eq!(
                    encoder
                        .write_chunk(&mut encoded, record.encoding, record.data)
                        .unwrap(),
                    at
                );
                assert_eq!(copier.write_record(&mut copied, &record).unwrap(), at);
            }
            assert!(encoded.segments == [file], "{path} encoded");
            assert!(copied.segments == [file], "{path} copied");
        }
    }
}

#[test]
fn every_chunk_is_found_by_offset_alone() {
    for_each_record("raw.tar.zst", |at, file, offset, record| {
        let rest = &file[offset as usize..];
        assert_eq!(read_record(rest, offset), Ok(record), "{at}");
        assert!(
            read_record(&rest[..record.bytes.len() - 1], offset).is_err(),
            "{at}"
        );
    });
}

/// One bit of every hundredth chunk at a time.
#[test]
fn a_flipped_bit_is_found_by_the_checksum_and_harmless_without() {
    let mut number = 0usize;
    for_each_record("raw.tar.zst", |at, _, offset, record| {
        number += 1;
        if !number.is_multiple_of(100) {
            return;
        }
        for bit in (0..record.bytes.len() * 8).step_by(7) {
            let mut bytes = record.bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_record(&bytes, offset).is_err(), "{at}: bit {bit}");
        }
        for bit in (0..record.data.len() * 8).step_by(7) {
            let mut data = record.data.to_vec();
            data[bit / 8] ^= 1 << (bit % 8);
            match record.encoding {
                1 => sabre_tsdb::fuzz::xor_chunk(&data),
                2 => sabre_tsdb::fuzz::histogram_chunk(&data),
                _ => sabre_tsdb::fuzz::float_histogram_chunk(&data),
            }
        }
    });
}
