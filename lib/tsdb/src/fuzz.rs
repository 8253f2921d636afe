//! Entry points for fuzzing: each takes any bytes, and panics only if this crate is wrong.

use std::sync::Arc;

use crate::chunk::aggregate::{Aggregate, AggregateChunk};
use crate::chunk::histogram::{Codec, HistogramIter};
use crate::chunk::xor::{self, XorIter};
use crate::chunk::{Encoding, Sample, decode_samples, encode_stream};
use crate::histogram::{CounterResetHint, NativeHistogram};
use crate::merge::{MergeError, OverlapRule, Trim, merge_chunks};
use crate::segment::{self, SeriesChunk};

pub use crate::index::fuzz::*;

/// Decodes a chunk of floats both ways, and encodes what it holds.
pub fn xor_chunk(data: &[u8]) {
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    let batch = xor::decode(data, &mut timestamps, &mut values);
    let Ok(samples) = XorIter::new(data) else { return };
    let mut good = 0;
    let failed = samples.into_iter().any(|sample| {
        let Ok((t, value)) = sample else { return true };
        if batch.is_ok() {
            assert_eq!(timestamps.get(good), Some(&t));
            assert_eq!(values.get(good).map(|v| v.to_bits()), Some(value.to_bits()));
        }
        good += 1;
        false
    });
    assert_eq!(failed, batch.is_err(), "the two decoders disagree");
    if !failed {
        assert_eq!(good, timestamps.len());
    }
    round_trip(Encoding::Xor, data);
}

/// Decodes a chunk of histograms with integer counts, and encodes what it holds.
pub fn histogram_chunk(data: &[u8]) {
    reuse::<i64>(data);
    float_counts(data);
    round_trip(Encoding::Histogram, data);
}

/// Decodes a chunk of histograms with float counts, and encodes what it holds.
pub fn float_histogram_chunk(data: &[u8]) {
    reuse::<f64>(data);
    round_trip(Encoding::FloatHistogram, data);
}

/// Takes an aggregate chunk apart and decodes its parts.
pub fn aggregate_chunk(data: &[u8]) {
    let Ok(chunk) = AggregateChunk::parse(data) else {
        return;
    };
    assert_eq!(AggregateChunk::parse(&chunk.encode()), Ok(chunk));
    for part in Aggregate::ALL
        .into_iter()
        .filter_map(|aggregate| chunk.get(aggregate))
    {
        let _ = decode_samples(part.encoding, part.data);
    }
}

/// Reads a segment file, and the chunks in it.
pub fn segment(data: &[u8]) {
    let _ = segment::read_record(data, 0);
    let Ok(records) = segment::scan(data) else { return };
    for (_, record) in records.flatten() {
        if let Ok(encoding) = Encoding::try_from(record.encoding) {
            let _ = decode_samples(encoding, record.data);
        }
    }
}

/// Merges the chunks of up to four sources, cut out of `data`, by every rule, and trims them.
pub fn merge(mut data: &[u8]) {
    let mut sources = vec![Vec::new(); 4];
    let mut starts = [0i64; 4];
    while let [kind, length, after, range, rest @ ..] = data {
        let (chunk, behind) = rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]));
        data = behind;
        let encoding = match kind % 4 {
            0 => Encoding::Xor,
            1 => Encoding::Histogram,
            2 => Encoding::FloatHistogram,
            _ => Encoding::Aggregate,
        };
        let source = usize::from(kind >> 3) % 4;
        let (Some(chunks), Some(start)) = (sources.get_mut(source), starts.get_mut(source)) else {
            return;
        };
        *start += i64::from(*after);
        chunks.push(SeriesChunk::encode(
            *start,
            *start + i64::from(*range),
            encoding,
            chunk,
        ));
    }
    let trim = Trim::new(20, 500, vec![(30, 90), (95, 96)]);
    for chunk in sources.iter().flatten() {
        let _ = trim.apply(chunk.clone());
    }
    for rule in [OverlapRule::Refuse, OverlapRule::OneToOne, OverlapRule::Penalty] {
        let lists = sources.iter().map(|chunks| chunks.iter().cloned().map(Ok));
        let mut written = 0usize;
        let merged = merge_chunks(rule, lists.collect(), |chunk| {
            written += 1;
            let _ = chunk.num_samples();
            Ok::<_, MergeError>(())
        });
        let given: usize = sources.iter().map(Vec::len).sum();
        assert!(rule != OverlapRule::Refuse || merged.is_err() || written <= given);
    }
}

/// A histogram that is used again holds the same as a new one.
fn reuse<B: Codec>(data: &[u8]) {
    let Ok(mut samples) = HistogramIter::<B>::new(data) else {
        return;
    };
    let mut used = NativeHistogram::default();
    for fresh in samples.clone() {
        match (fresh, samples.next_into(&mut used)) {
            (Ok((t, fresh)), Ok(used_t)) => {
                assert_eq!(Some(t), used_t);
                assert_eq!(format!("{fresh:?}"), format!("{used:?}"));
            }
            (fresh, used) => assert!(fresh.is_err() && used.is_err()),
        }
    }
}

/// Float counts come out the same whether they are decoded as such or made of integers; a shared layout changes nothing.
fn float_counts(data: &[u8]) {
    let (Ok(mut integers), Ok(mut floats)) =
        (HistogramIter::<i64>::new(data), HistogramIter::<i64>::new(data))
    else {
        return;
    };
    floats.share_layout(&mut Arc::new(integers.layout().as_ref().clone()));
    let (mut histogram, mut float) = (
        NativeHistogram::<i64>::default(),
        NativeHistogram::<f64>::default(),
    );
    loop {
        match (
            integers.next_into(&mut histogram),
            floats.next_float_into(&mut float),
        ) {
            (Ok(Some(t)), Ok(Some(float_t))) => {
                assert_eq!(t, float_t);
                assert_eq!(format!("{:?}", histogram.to_float()), format!("{float:?}"));
            }
            (Ok(None), Ok(None)) => return,
            (integers, floats) => {
                assert!(integers.is_err() && floats.is_err());
                return;
            }
        }
    }
}

/// Whatever can be decoded and encoded is the same when decoded again, but for zeros in wider layouts.
fn round_trip(encoding: Encoding, data: &[u8]) {
    let Ok(samples) = decode_samples(encoding, data) else {
        return;
    };
    let times: Vec<i64> = samples.iter().map(|sample| sample.t).collect();
    let Ok(chunks) = encode_stream(samples) else {
        return;
    };
    let decoded = chunks
        .iter()
        .map(|chunk| decode_samples(chunk.encoding, &chunk.data));
    let again: Result<Vec<Vec<Sample>>, _> = decoded.collect();
    let Ok(again) = again else {
        panic!("cannot read what was written")
    };
    assert!(again.iter().flatten().map(|sample| sample.t).eq(times));
    let unflagged = |chunk: &&crate::chunk::EncodedChunk| {
        chunk.encoding == Encoding::Xor
            || crate::chunk::histogram::header_flag(&chunk.data) == Ok(CounterResetHint::Unknown)
    };
    for (chunk, samples) in chunks.iter().zip(again).filter(|(chunk, _)| unflagged(chunk)) {
        if let Ok([first, ..]) = encode_stream(samples).as_deref() {
            assert_eq!(first.data, chunk.data, "a chunk encoded again differs");
        }
    }
}
