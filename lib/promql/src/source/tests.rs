use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::chunk::aggregate::{Aggregate, AggregateChunk, SubChunk};
use sabre_tsdb::chunk::xor::XorAppender;

use super::*;

fn xor(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut appender = XorAppender::new();
    for (t, value) in samples {
        appender.append(*t, *value).unwrap();
    }
    appender.finish()
}

fn raw(samples: &[(i64, f64)]) -> RawChunk {
    RawChunk {
        mint: samples[0].0,
        maxt: samples[samples.len() - 1].0,
        encoding: Encoding::Xor,
        data: xor(samples).into(),
    }
}

/// A downsampled chunk of two windows.
fn downsampled() -> RawChunk {
    let parts = [
        (Aggregate::Count, xor(&[(100, 4.0), (200, 2.0)])),
        (Aggregate::Sum, xor(&[(100, 12.0), (200, 7.0)])),
        (Aggregate::Min, xor(&[(100, 1.0), (200, 3.0)])),
        (Aggregate::Max, xor(&[(100, 5.0), (200, 4.0)])),
        (
            Aggregate::Counter,
            xor(&[(10, 1.0), (100, 5.0), (200, 9.0), (200, 4.0)]),
        ),
    ];
    let mut chunk = AggregateChunk::default();
    for (aggregate, data) in &parts {
        let encoding = Encoding::Xor;
        chunk.set(*aggregate, Some(SubChunk { encoding, data }));
    }
    RawChunk {
        mint: 10,
        maxt: 200,
        encoding: Encoding::Aggregate,
        data: chunk.encode().into(),
    }
}

fn samples(chunks: &[RawChunk], choice: AggregateChoice) -> Result<Vec<(i64, f64)>, SourceError> {
    let mut source = ChunkSource::with_choice(chunks.iter().cloned().map(Ok), choice);
    let mut buffer = SampleBuffer::default();
    while source.next_into(&mut buffer)? {}
    Ok(buffer.timestamps.into_iter().zip(buffer.values).collect())
}

#[test]
fn each_function_takes_its_aggregate_of_downsampled_series() {
    for (func, choice, wanted) in [
        ("min", AggregateChoice::Min, [(100, 1.0), (200, 3.0)]),
        ("min_over_time", AggregateChoice::Min, [(100, 1.0), (200, 3.0)]),
        ("max_over_time", AggregateChoice::Max, [(100, 5.0), (200, 4.0)]),
        ("count", AggregateChoice::Count, [(100, 4.0), (200, 2.0)]),
        ("count_values", AggregateChoice::Count, [(100, 4.0), (200, 2.0)]),
        ("sum_over_time", AggregateChoice::Sum, [(100, 12.0), (200, 7.0)]),
        ("sum", AggregateChoice::Average, [(100, 3.0), (200, 3.5)]),
        (
            "avg_over_time",
            AggregateChoice::Average,
            [(100, 3.0), (200, 3.5)],
        ),
        ("", AggregateChoice::Average, [(100, 3.0), (200, 3.5)]),
    ] {
        assert_eq!(AggregateChoice::for_function(func), choice, "{func}");
        assert_eq!(samples(&[downsampled()], choice).unwrap(), wanted, "{func}");
    }
    for func in ["rate", "increase", "irate", "resets"] {
        assert_eq!(AggregateChoice::for_function(func), AggregateChoice::Counter);
    }
}

#[test]
fn resets_of_counters_are_added_up_over_chunks() {
    // The last sample of the chunk is the true one: 4, and 6 goes on from it.
    let chunks = [
        downsampled(),
        raw(&[(300, 6.0), (400, 1.0), (500, f64::NAN), (600, 2.0)]),
    ];
    let wanted = [
        (10, 1.0),
        (100, 5.0),
        (200, 9.0),
        (300, 11.0),
        (400, 12.0),
        (600, 13.0),
    ];
    assert_eq!(samples(&chunks, AggregateChoice::Counter).unwrap(), wanted);
}

#[test]
fn of_overlapping_chunks_the_earlier_one_counts() {
    let chunks = [raw(&[(1, 1.0), (3, 3.0)]), raw(&[(2, 9.0), (3, 9.0), (4, 4.0)])];
    let wanted = [(1, 1.0), (3, 3.0), (4, 4.0)];
    assert_eq!(samples(&chunks, AggregateChoice::Average).unwrap(), wanted);
}

#[test]
fn an_aggregate_that_is_missing_is_an_error() {
    let mut chunk = AggregateChunk::default();
    let data = xor(&[(1, 1.0)]);
    let encoding = Encoding::Xor;
    chunk.set(
        Aggregate::Count,
        Some(SubChunk {
            encoding,
            data: &data,
        }),
    );
    let chunk = RawChunk {
        data: chunk.encode().into(),
        ..downsampled()
    };
    let error = samples(std::slice::from_ref(&chunk), AggregateChoice::Sum).unwrap_err();
    assert!(error.to_string().contains("no valid chunk found"), "{error}");
    assert_eq!(samples(&[chunk], AggregateChoice::Count).unwrap(), [(1, 1.0)]);
}

/// A downsampled chunk of native histograms: counts of one bucket in three windows of two samples each.
fn downsampled_histograms() -> RawChunk {
    use sabre_tsdb::chunk::{Sample, Value, encode_stream};
    let layout = Arc::new(sabre_tsdb::histogram::Layout {
        positive_spans: vec![sabre_tsdb::histogram::Span { offset: 0, length: 1 }],
        ..Default::default()
    });
    let sum = |t: i64, count: f64| Sample {
        t,
        value: Value::FloatHistogram(Box::new(FloatHistogram {
            hint: sabre_tsdb::histogram::CounterResetHint::Gauge,
            count,
            sum: count,
            positive: vec![count],
            layout: Arc::clone(&layout),
            ..FloatHistogram::default()
        })),
    };
    let sums = encode_stream([sum(100, 4.0), sum(200, 6.0), sum(300, 8.0)]).unwrap();
    let counts = xor(&[(100, 2.0), (200, 2.0), (300, 2.0)]);
    let mut chunk = AggregateChunk::default();
    let part = |encoding, data| Some(SubChunk { encoding, data });
    chunk.set(Aggregate::Count, part(Encoding::Xor, &counts));
    chunk.set(Aggregate::Sum, part(Encoding::FloatHistogram, &sums[0].data));
    RawChunk {
        mint: 100,
        maxt: 300,
        encoding: Encoding::Aggregate,
        data: chunk.encode().into(),
    }
}

#[test]
fn means_of_histograms_are_true_or_those_of_thanos() {
    let buckets = |means| {
        let chunks = [Ok(downsampled_histograms())].into_iter();
        let mut source = ChunkSource::new(chunks).with_means(means);
        let mut buffer = SampleBuffer::default();
        assert!(source.next_into(&mut buffer).unwrap());
        let counts: Vec<f64> = buffer.histograms.iter().map(|(_, h)| h.count).collect();
        assert_eq!(counts, [2.0, 3.0, 4.0]);
        let buckets = buffer.histograms.iter().map(|(_, h)| h.positive[0]);
        buckets.collect::<Vec<f64>>()
    };
    assert_eq!(buckets(HistogramMeans::True), [2.0, 3.0, 4.0]);
    // 6 is written as what differs from the bits of 4, and read as what differs from those of 2: as 3.
    let second = f64::from_bits(2f64.to_bits() ^ 4f64.to_bits() ^ 6f64.to_bits()) / 2.0;
    let third = f64::from_bits(second.to_bits() ^ 6f64.to_bits() ^ 8f64.to_bits()) / 2.0;
    assert_eq!(buckets(HistogramMeans::AsThanos), [2.0, second, third]);
    assert_ne!(second, 3.0);
}
