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
