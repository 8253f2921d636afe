//! Entry points for fuzzing: each takes any bytes, and panics only if this crate is wrong.

use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::segment::SeriesChunk;

use crate::{Attempt, Downsampler, Resolution, downsample_series};

/// Downsamples a series whose chunks are cut out of `data`, both ways: the result is the same, and can be
/// downsampled further.
pub fn raw_series(data: &[u8]) {
    let series = series(data, |kind| match kind % 3 {
        0 => Encoding::Xor,
        1 => Encoding::Histogram,
        _ => Encoding::FloatHistogram,
    });
    both_ways(&series, Resolution::FiveMinutes);
    if let Ok(chunks) = downsample_series(&series, Resolution::FiveMinutes) {
        both_ways(&chunks, Resolution::OneHour);
    }
}

/// Downsamples a series of aggregate chunks cut out of `data`, with chunks of samples among them.
pub fn aggregate_series(data: &[u8]) {
    let series = series(data, |kind| match kind % 8 {
        0 => Encoding::Xor,
        1 => Encoding::Histogram,
        2 => Encoding::FloatHistogram,
        _ => Encoding::Aggregate,
    });
    both_ways(&series, Resolution::OneHour);
}

/// Chunks of a byte of kind, a byte of length and so many bytes of data each, one behind the other in time.
fn series(mut data: &[u8], encoding: impl Fn(u8) -> Encoding) -> Vec<SeriesChunk> {
    let mut chunks = Vec::new();
    while let [kind, length, rest @ ..] = data {
        let (chunk, behind) = rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]));
        let mint = chunks.len() as i64 * 1_000_000;
        chunks.push(SeriesChunk::encode(mint, mint + 999_999, encoding(*kind), chunk));
        data = behind;
    }
    chunks
}

fn both_ways(series: &[SeriesChunk], target: Resolution) {
    let at_once = downsample_series(series, target);
    let mut sampler = Downsampler::new(target);
    let one_by_one = loop {
        if let Err(error) = series.iter().try_for_each(|chunk| sampler.push(chunk)) {
            break Err(error);
        }
        match sampler.finish() {
            Ok(Attempt::Again(next)) => sampler = next,
            Ok(Attempt::Done(chunks)) => break Ok(chunks),
            Err(error) => break Err(error),
        }
    };
    assert_eq!(at_once, one_by_one);
}
