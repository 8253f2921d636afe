//! Results of queries as time series.

use sabre_model::Labels;
use sabre_promql::{
    histogram::{CounterResetHint, FloatHistogram, Span},
    value::{SampleValue, Value},
};
use sabre_proto::{
    convert::labels_to_wire,
    prometheus_copy::{
        BucketSpan, Histogram, Sample, TimeSeries,
        histogram::{Count, ResetHint, ZeroCount},
    },
};

/// The series of a result; a scalar is a series without labels, a text cannot be sent.
pub(super) fn time_series(value: Value) -> Box<dyn Iterator<Item = TimeSeries> + Send> {
    match value {
        Value::Scalar { t, value } => Box::new(std::iter::once(floats(&Labels::default(), [(t, value)]))),
        Value::String { .. } => Box::new(std::iter::empty()),
        Value::Vector(samples) => Box::new(samples.into_iter().map(|sample| match sample.value {
            SampleValue::Float(value) => floats(&sample.labels, [(sample.t, value)]),
            SampleValue::Histogram(value) => TimeSeries {
                histograms: vec![histogram(sample.t, &value)],
                ..floats(&sample.labels, [])
            },
        })),
        Value::Matrix(series) => Box::new(series.into_iter().map(|series| {
            TimeSeries {
                histograms: series
                    .histograms
                    .iter()
                    .map(|(t, value)| histogram(*t, value))
                    .collect(),
                ..floats(&series.labels, series.floats)
            }
        })),
    }
}

fn floats(labels: &Labels, samples: impl IntoIterator<Item = (i64, f64)>) -> TimeSeries {
    let samples = samples
        .into_iter()
        .map(|(timestamp, value)| Sample { value, timestamp });
    TimeSeries {
        labels: labels_to_wire(labels),
        samples: samples.collect(),
        ..TimeSeries::default()
    }
}

fn histogram(timestamp: i64, value: &FloatHistogram) -> Histogram {
    let layout = &value.layout;
    let hint = match value.hint {
        CounterResetHint::Unknown => ResetHint::Unknown,
        CounterResetHint::CounterReset => ResetHint::Yes,
        CounterResetHint::NotCounterReset => ResetHint::No,
        CounterResetHint::Gauge => ResetHint::Gauge,
    };
    Histogram {
        sum: value.sum,
        schema: layout.schema,
        zero_threshold: layout.zero_threshold,
        negative_spans: spans(&layout.negative_spans),
        negative_counts: value.negative.clone(),
        positive_spans: spans(&layout.positive_spans),
        positive_counts: value.positive.clone(),
        reset_hint: hint.into(),
        timestamp,
        custom_values: layout.custom_bounds.clone(),
        count: Some(Count::CountFloat(value.count)),
        zero_count: Some(ZeroCount::ZeroCountFloat(value.zero_count)),
        ..Histogram::default()
    }
}

fn spans(spans: &[Span]) -> Vec<BucketSpan> {
    let span = |span: &Span| BucketSpan {
        offset: span.offset,
        length: span.length,
    };
    spans.iter().map(span).collect()
}
