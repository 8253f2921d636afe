//! Results.

use std::sync::Arc;

use sabre_model::Labels;

use crate::annotation::Annotations;
use crate::histogram::FloatHistogram;

/// What a query gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number at a time.
    Scalar {
        /// Milliseconds since 1970.
        t: i64,
        /// The number.
        value: f64,
    },
    /// A text at a time.
    String {
        /// Milliseconds since 1970.
        t: i64,
        /// The text.
        value: String,
    },
    /// A sample for each series, in the order of the query.
    Vector(Vec<InstantSample>),
    /// The samples of each series, sorted by labels.
    Matrix(Vec<RangeSeries>),
}

/// A sample of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct InstantSample {
    /// The labels of the series.
    pub labels: Labels,
    /// Milliseconds since 1970.
    pub t: i64,
    /// The value.
    pub value: SampleValue,
}

/// A number or a histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A number.
    Float(f64),
    /// A histogram.
    Histogram(Arc<FloatHistogram>),
}

/// The samples of a series; a time has a float or a histogram, not both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeSeries {
    /// The labels of the series.
    pub labels: Labels,
    /// Times in milliseconds and numbers, in order.
    pub floats: Vec<(i64, f64)>,
    /// Times in milliseconds and histograms, in order.
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
}

/// A result and the remarks on it.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryResult {
    /// The result.
    pub value: Value,
    /// Warnings and infos.
    pub annotations: Annotations,
}

impl Value {
    /// The memory that the value takes, histograms by what one usually takes.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Value::Scalar { .. } => 0,
            Value::String { value, .. } => value.capacity(),
            Value::Vector(samples) => samples.iter().map(InstantSample::memory_bytes).sum(),
            Value::Matrix(series) => series.iter().map(RangeSeries::memory_bytes).sum(),
        }
    }
}

/// What a histogram usually takes.
const HISTOGRAM_BYTES: usize = 400;

impl InstantSample {
    /// The memory that the sample takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let histogram = match self.value {
            SampleValue::Float(_) => 0,
            SampleValue::Histogram(_) => HISTOGRAM_BYTES,
        };
        size_of::<InstantSample>() + self.labels.heap_bytes() + histogram
    }
}

impl RangeSeries {
    /// The memory that the series takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let floats = self.floats.capacity() * size_of::<(i64, f64)>();
        size_of::<RangeSeries>()
            + self.labels.heap_bytes()
            + floats
            + self.histograms.capacity() * HISTOGRAM_BYTES
    }
}
