//! Metrics with labels whose names are fixed and whose values come at run time.

use std::{fmt, sync::Arc};

use prometheus_client::{
    encoding::{EncodeLabel as _, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder},
    metrics::{
        MetricType, TypedMetric,
        family::{Family, MetricConstructor},
        histogram::Histogram,
    },
};

use super::{Counter, Gauge};

/// Counters by label values.
pub type Counters<const N: usize> = Labelled<N, Counter, fn() -> Counter>;
/// Gauges by label values.
pub type Gauges<const N: usize> = Labelled<N, Gauge, fn() -> Gauge>;
/// Histograms by label values.
pub type Histograms<const N: usize> = Labelled<N, Histogram, Buckets>;

/// One metric per combination of label values. Clones share them.
pub struct Labelled<const N: usize, M, C> {
    names: [&'static str; N],
    family: Family<LabelValues<N>, M, C>,
}

/// Label names with their values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LabelValues<const N: usize> {
    names: [&'static str; N],
    values: [String; N],
}

/// Makes histograms with the same upper bounds.
#[derive(Debug, Clone)]
pub struct Buckets(Arc<[f64]>);

impl<const N: usize, M, C> Labelled<N, M, C>
where
    M: Clone,
    C: MetricConstructor<M>,
{
    pub(super) fn new(names: [&'static str; N], constructor: C) -> Self {
        Self {
            names,
            family: Family::new_with_constructor(constructor),
        }
    }

    /// Returns the metric of these label values, in the order of the names; makes it when it is new. A caller on a
    /// hot path keeps the answer.
    pub fn with(&self, values: [&str; N]) -> M {
        self.family.get_or_create_owned(&self.labels(values))
    }

    /// Forgets the metric of these label values.
    pub fn remove(&self, values: [&str; N]) {
        self.family.remove(&self.labels(values));
    }

    /// Forgets the metrics of all label values.
    pub fn clear(&self) {
        self.family.clear();
    }

    fn labels(&self, values: [&str; N]) -> LabelValues<N> {
        LabelValues {
            names: self.names,
            values: values.map(str::to_owned),
        }
    }
}

impl<const N: usize, M, C: Clone> Clone for Labelled<N, M, C> {
    fn clone(&self) -> Self {
        Self {
            names: self.names,
            family: self.family.clone(),
        }
    }
}

impl<const N: usize, M, C> fmt::Debug for Labelled<N, M, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Labelled")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl<const N: usize, M, C> EncodeMetric for Labelled<N, M, C>
where
    M: EncodeMetric + TypedMetric,
    C: MetricConstructor<M>,
{
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.family.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }

    fn is_empty(&self) -> bool {
        self.family.is_empty()
    }
}

impl<const N: usize> EncodeLabelSet for LabelValues<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        for (name, value) in self.names.iter().zip(&self.values) {
            (*name, value.as_str()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

impl Buckets {
    pub(super) fn new(bounds: &[f64]) -> Self {
        Self(bounds.into())
    }

    pub(super) fn histogram(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        self.histogram()
    }
}
