//! Results of queries, a piece at a time. What is written is let go of.

use std::{sync::Arc, vec::IntoIter};

use sabre_promql::{
    histogram::FloatHistogram,
    value::{InstantSample, RangeSeries, SampleValue, Value},
};

use super::{histogram::histogram, text};

/// Writes a result.
#[derive(Debug)]
pub(crate) struct ValueWriter {
    items: Items,
    /// Whether `[` was written, and whether something after it.
    begun: bool,
    any: bool,
}

#[derive(Debug)]
enum Items {
    /// Scalars and texts are written at once.
    Small(Vec<u8>),
    Vector(IntoIter<InstantSample>),
    Matrix(IntoIter<RangeSeries>, Option<OpenSeries>),
}

/// A series of which the beginning is written.
#[derive(Debug)]
struct OpenSeries {
    floats: IntoIter<(i64, f64)>,
    histograms: IntoIter<(i64, Arc<FloatHistogram>)>,
    list: List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    None,
    Floats,
    Histograms,
}

impl ValueWriter {
    /// The `resultType` of a value.
    pub(crate) fn type_of(value: &Value) -> &'static str {
        match value {
            Value::Scalar { .. } => "scalar",
            Value::String { .. } => "string",
            Value::Vector(_) => "vector",
            Value::Matrix(_) => "matrix",
        }
    }

    pub(crate) fn new(value: Value) -> Self {
        let items = match value {
            Value::Scalar { t, value } => Items::Small(pair(t, |out| text::float(out, value))),
            Value::String { t, value } => Items::Small(pair(t, |out| text::string(out, &value))),
            Value::Vector(samples) => Items::Vector(samples.into_iter()),
            Value::Matrix(series) => Items::Matrix(series.into_iter(), None),
        };
        Self {
            items,
            begun: false,
            any: false,
        }
    }

    /// Writes until `out` has `enough` bytes. Returns whether all is written.
    pub(crate) fn fill(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        if let Items::Small(text) = &mut self.items {
            out.append(text);
            return true;
        }
        if !self.begun {
            out.push(b'[');
            self.begun = true;
        }
        while out.len() < enough {
            if !self.step(out) {
                out.push(b']');
                return true;
            }
        }
        false
    }

    /// Writes the next sample or the beginning or end of a series; `false` if there is none.
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        match &mut self.items {
            Items::Small(_) => false,
            Items::Vector(samples) => {
                let Some(sample) = samples.next() else {
                    return false;
                };
                separate(out, &mut self.any);
                write_sample(out, &sample);
                true
            }
            Items::Matrix(series, open) => {
                if let Some(opened) = open {
                    if !opened.step(out) {
                        *open = None;
                    }
                    return true;
                }
                let Some(next) = series.next() else {
                    return false;
                };
                separate(out, &mut self.any);
                *open = Some(OpenSeries::begin(out, next));
                true
            }
        }
    }
}

impl OpenSeries {
    fn begin(out: &mut Vec<u8>, series: RangeSeries) -> Self {
        out.extend_from_slice(br#"{"metric":"#);
        text::labels(out, &series.labels);
        Self {
            floats: series.floats.into_iter(),
            histograms: series.histograms.into_iter(),
            list: List::None,
        }
    }

    /// Writes a sample, or the end of the series; `false` after the latter.
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some((t, value)) = self.floats.next() {
            self.enter(out, List::Floats);
            sample(out, t, |out| text::float(out, value));
            return true;
        }
        if let Some((t, value)) = self.histograms.next() {
            self.enter(out, List::Histograms);
            sample(out, t, |out| histogram(out, &value));
            return true;
        }
        out.extend_from_slice(if self.list == List::None { b"}" } else { b"]}" });
        false
    }

    fn enter(&mut self, out: &mut Vec<u8>, list: List) {
        if self.list == list {
            out.push(b',');
            return;
        }
        if self.list != List::None {
            out.push(b']');
        }
        out.extend_from_slice(match list {
            List::Histograms => br#","histograms":["#.as_slice(),
            _ => br#","values":["#,
        });
        self.list = list;
    }
}

fn write_sample(out: &mut Vec<u8>, sample: &InstantSample) {
    out.extend_from_slice(br#"{"metric":"#);
    text::labels(out, &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            out.extend_from_slice(br#","value":"#);
            self::sample(out, sample.t, |out| text::float(out, *value));
        }
        SampleValue::Histogram(value) => {
            out.extend_from_slice(br#","histogram":"#);
            self::sample(out, sample.t, |out| histogram(out, value));
        }
    }
    out.push(b'}');
}

fn sample(out: &mut Vec<u8>, t: i64, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'[');
    text::timestamp(out, t);
    out.push(b',');
    write(out);
    out.push(b']');
}

fn pair(t: i64, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    sample(&mut out, t, write);
    out
}

fn separate(out: &mut Vec<u8>, any: &mut bool) {
    if *any {
        out.push(b',');
    }
    *any = true;
}
