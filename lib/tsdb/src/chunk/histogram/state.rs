//! What reader and writer of a histogram chunk remember from sample to sample.

use super::codec::Codec;
use super::layout::too_many_buckets;
use crate::bits::{BitReader, BitWriter, Field, XorField, read_varbit_int, write_varbit_int};
use crate::error::Corruption;
use crate::histogram::{Layout, NativeHistogram, Span, bucket_count};
use crate::stale::is_stale;

/// The sample read or written last.
#[derive(Debug, Clone)]
pub(super) struct State<B: Codec> {
    pub(super) t: i64,
    t_delta: i64,
    pub(super) count: B::CountField,
    pub(super) zero_count: B::CountField,
    pub(super) sum: XorField,
    pub(super) positive: Vec<B::BucketField>,
    pub(super) negative: Vec<B::BucketField>,
}

impl<B: Codec> State<B> {
    pub(super) fn read_first(reader: &mut BitReader<'_>, layout: &Layout) -> Result<Self, Corruption> {
        let state = Self {
            t: read_varbit_int(reader),
            t_delta: 0,
            count: Field::read_first(reader),
            zero_count: Field::read_first(reader),
            sum: Field::read_first(reader),
            positive: read_buckets(reader, &layout.positive_spans)?,
            negative: read_buckets(reader, &layout.negative_spans)?,
        };
        reader.check()?;
        Ok(state)
    }

    pub(super) fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<(), Corruption> {
        self.t_delta = self.t_delta.wrapping_add(read_varbit_int(reader));
        self.t = self.t.wrapping_add(self.t_delta);
        self.count.read_next(reader)?;
        self.zero_count.read_next(reader)?;
        self.sum.read_next(reader)?;
        if !is_stale(self.sum.value()) {
            Field::read_all_next(&mut self.positive, reader)?;
            Field::read_all_next(&mut self.negative, reader)?;
        }
        reader.check()
    }

    pub(super) fn write_first(writer: &mut BitWriter, t: i64, histogram: &NativeHistogram<B>) -> Self {
        write_varbit_int(writer, t);
        Self {
            t,
            t_delta: 0,
            count: Field::write_first(writer, histogram.count),
            zero_count: Field::write_first(writer, histogram.zero_count),
            sum: Field::write_first(writer, histogram.sum),
            positive: histogram
                .positive
                .iter()
                .map(|&bucket| Field::write_first(writer, bucket))
                .collect(),
            negative: histogram
                .negative
                .iter()
                .map(|&bucket| Field::write_first(writer, bucket))
                .collect(),
        }
    }

    /// Writes a histogram that has as many buckets as the first one, or is stale.
    pub(super) fn write_next(&mut self, writer: &mut BitWriter, t: i64, histogram: &NativeHistogram<B>) {
        let delta = t.wrapping_sub(self.t);
        write_varbit_int(writer, delta.wrapping_sub(self.t_delta));
        (self.t, self.t_delta) = (t, delta);
        if histogram.is_stale() {
            self.count.write_stale(writer);
            self.zero_count.write_stale(writer);
            self.sum.write_next(writer, histogram.sum);
            return;
        }
        self.count.write_next(writer, histogram.count);
        self.zero_count.write_next(writer, histogram.zero_count);
        self.sum.write_next(writer, histogram.sum);
        write_buckets(&mut self.positive, writer, &histogram.positive);
        write_buckets(&mut self.negative, writer, &histogram.negative);
    }
}

fn read_buckets<F: Field>(reader: &mut BitReader<'_>, spans: &[Span]) -> Result<Vec<F>, Corruption> {
    let announced = bucket_count(spans);
    let room = reader.remaining() / F::MIN_FIRST_BITS;
    match usize::try_from(announced) {
        Ok(count) if count <= room => Ok((0..count).map(|_| F::read_first(reader)).collect()),
        _ => Err(too_many_buckets(announced, room)),
    }
}

fn write_buckets<F: Field>(fields: &mut [F], writer: &mut BitWriter, buckets: &[F::Value]) {
    for (field, &bucket) in fields.iter_mut().zip(buckets) {
        field.write_next(writer, bucket);
    }
}
