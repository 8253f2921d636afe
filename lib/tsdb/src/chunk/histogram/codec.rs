//! What tells chunks of the two kinds of histograms apart.

use super::super::Encoding;
use crate::bits::{CountField, DeltaField, Field, XorField};
use crate::histogram::{Bucket, CounterResetHint};

/// A type of buckets that chunks can hold: `i64` and `f64`, and no others.
pub trait Codec: Bucket {
    /// How a bucket is written.
    type BucketField: Field<Value = Self>;
    /// How the counts of all observations and of the zero bucket are written.
    type CountField: Field<Value = Self::Count>;
    /// The encoding of the chunks.
    const ENCODING: Encoding;
    /// The flag of a chunk that begins because its first histogram is no gauge, while those before it were.
    const FLAG_AFTER_GAUGE: CounterResetHint;

    /// The flag of a chunk behind another one, where comparing its first histogram with that chunk gave `flag`.
    fn flag_behind(flag: CounterResetHint) -> CounterResetHint;
}

impl Codec for i64 {
    type BucketField = DeltaField;
    type CountField = CountField;
    const ENCODING: Encoding = Encoding::Histogram;
    const FLAG_AFTER_GAUGE: CounterResetHint = CounterResetHint::NotCounterReset;

    fn flag_behind(flag: CounterResetHint) -> CounterResetHint {
        flag
    }
}

impl Codec for f64 {
    type BucketField = XorField;
    type CountField = XorField;
    const ENCODING: Encoding = Encoding::FloatHistogram;
    const FLAG_AFTER_GAUGE: CounterResetHint = CounterResetHint::Unknown;

    fn flag_behind(flag: CounterResetHint) -> CounterResetHint {
        match flag {
            CounterResetHint::CounterReset | CounterResetHint::Gauge => flag,
            CounterResetHint::Unknown | CounterResetHint::NotCounterReset => {
                CounterResetHint::NotCounterReset
            }
        }
    }
}
