//! Warnings and infos that come with a result.

use std::collections::BTreeSet;

use crate::go_text::quoted;
use crate::position::PosRange;

/// How serious a remark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The result may be wrong.
    Warning,
    /// The query may mean something else.
    Info,
}

/// A remark on a place of the query, or one of the source of the series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Annotation {
    severity: Severity,
    text: String,
    /// Start and end of the place.
    place: Option<(usize, usize)>,
}

/// The remarks on a query, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    all: BTreeSet<Annotation>,
}

/// Which computation of histograms a remark is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistogramOperation {
    Addition,
    Subtraction,
    Aggregation,
}

impl HistogramOperation {
    fn as_str(self) -> &'static str {
        match self {
            HistogramOperation::Addition => "addition",
            HistogramOperation::Subtraction => "subtraction",
            HistogramOperation::Aggregation => "aggregation",
        }
    }
}

impl Annotation {
    fn new(severity: Severity, pos: PosRange, text: String) -> Annotation {
        Annotation {
            severity,
            text,
            place: Some((pos.start, pos.end)),
        }
    }

    fn warning(pos: PosRange, text: impl std::fmt::Display) -> Annotation {
        Annotation::new(Severity::Warning, pos, format!("PromQL warning: {text}"))
    }

    fn info(pos: PosRange, text: impl std::fmt::Display) -> Annotation {
        Annotation::new(Severity::Info, pos, format!("PromQL info: {text}"))
    }

    /// A warning of the source of the series.
    pub(crate) fn of_source(text: String) -> Annotation {
        Annotation {
            severity: Severity::Warning,
            text,
            place: None,
        }
    }

    pub(crate) fn invalid_quantile(q: f64, pos: PosRange) -> Annotation {
        let q = crate::go_text::format_g(q);
        Annotation::warning(pos, format!("quantile value should be between 0 and 1, got {q}"))
    }

    pub(crate) fn invalid_ratio(ratio: f64, to: f64, pos: PosRange) -> Annotation {
        let (ratio, to) = (crate::go_text::format_g(ratio), crate::go_text::format_g(to));
        Annotation::warning(
            pos,
            format!("ratio value should be between -1 and 1, got {ratio}, capping to {to}"),
        )
    }

    pub(crate) fn bad_bucket_label(metric: &str, label: &str, pos: PosRange) -> Annotation {
        let text = format!(
            "bucket label \"le\" is missing or has a malformed value of {}",
            quoted(label)
        );
        Annotation::warning(pos, with_metric(text, metric))
    }

    pub(crate) fn mixed_floats_histograms(metric: &str, pos: PosRange) -> Annotation {
        let metric = quoted(metric);
        Annotation::warning(
            pos,
            format!("encountered a mix of histograms and floats for metric name {metric}"),
        )
    }

    pub(crate) fn mixed_floats_histograms_in_aggregation(pos: PosRange) -> Annotation {
        let text = "encountered a mix of histograms and floats for aggregation";
        Annotation::warning(pos, text.to_owned())
    }

    pub(crate) fn mixed_classic_native(metric: &str, pos: PosRange) -> Annotation {
        let text = "vector contains a mix of classic and native histograms".to_owned();
        Annotation::warning(pos, with_metric(text, metric))
    }

    pub(crate) fn native_not_counter(metric: &str, pos: PosRange) -> Annotation {
        let metric = quoted(metric);
        Annotation::warning(
            pos,
            format!("this native histogram metric is not a counter: {metric}"),
        )
    }

    pub(crate) fn native_not_gauge(metric: &str, pos: PosRange) -> Annotation {
        let metric = quoted(metric);
        Annotation::warning(
            pos,
            format!("this native histogram metric is not a gauge: {metric}"),
        )
    }

    pub(crate) fn mixed_exponential_custom(metric: &str, pos: PosRange) -> Annotation {
        let metric = quoted(metric);
        let text = "vector contains a mix of histograms with exponential and custom buckets schemas";
        Annotation::warning(pos, format!("{text} for metric name {metric}"))
    }

    pub(crate) fn incompatible_buckets_in_binop(operator: &str, pos: PosRange) -> Annotation {
        let text = "incompatible bucket layout encountered for binary operator";
        Annotation::warning(pos, format!("{text} {operator}"))
    }

    pub(crate) fn reset_collision(operation: HistogramOperation, pos: PosRange) -> Annotation {
        let operation = operation.as_str();
        Annotation::warning(
            pos,
            format!("conflicting counter resets during histogram {operation}"),
        )
    }

    pub(crate) fn bounds_reconciled(operation: HistogramOperation, pos: PosRange) -> Annotation {
        let operation = operation.as_str();
        Annotation::info(
            pos,
            format!("mismatched custom buckets were reconciled during {operation}"),
        )
    }

    pub(crate) fn possibly_no_counter(metric: &str, pos: PosRange) -> Annotation {
        let metric = quoted(metric);
        let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
        Annotation::info(pos, format!("{text} {metric}"))
    }

    pub(crate) fn forced_monotonicity(metric: &str, pos: PosRange) -> Annotation {
        let text = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        Annotation::info(pos, with_metric(text.to_owned(), metric))
    }

    pub(crate) fn incompatible_types_in_binop(
        left: &str,
        operator: &str,
        right: &str,
        pos: PosRange,
    ) -> Annotation {
        let shown = quoted(operator);
        let text = "incompatible sample types encountered for binary operator";
        Annotation::info(pos, format!("{text} {shown}: {left} {operator} {right}"))
    }

    pub(crate) fn histogram_ignored_in_aggregation(aggregation: &str, pos: PosRange) -> Annotation {
        Annotation::info(pos, format!("ignored histogram in {aggregation} aggregation"))
    }

    pub(crate) fn histogram_ignored_in_range(metric: &str, pos: PosRange) -> Annotation {
        let metric = quoted(metric);
        let text = "ignored histograms in a range containing both floats and histograms for metric name";
        Annotation::info(pos, format!("{text} {metric}"))
    }

    pub(crate) fn quantile_of_nan(metric: &str, pos: PosRange) -> Annotation {
        let text = "input to histogram_quantile has NaN observations, result is NaN".to_owned();
        Annotation::info(pos, with_metric(text, metric))
    }

    pub(crate) fn quantile_skewed_by_nan(metric: &str, pos: PosRange) -> Annotation {
        let text = "input to histogram_quantile has NaN observations, result is skewed higher".to_owned();
        Annotation::info(pos, with_metric(text, metric))
    }

    pub(crate) fn fraction_without_nan(metric: &str, pos: PosRange) -> Annotation {
        let text = "input to histogram_fraction has NaN observations, which are excluded from all fractions"
            .to_owned();
        Annotation::info(pos, with_metric(text, metric))
    }

    /// How serious it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The remark with its place in `query`.
    pub fn to_text(&self, query: &str) -> String {
        match self.place {
            Some((start, end)) => {
                let place = PosRange::new(start, end).line_and_column(query);
                format!("{} ({place})", self.text)
            }
            None => self.text.clone(),
        }
    }
}

fn with_metric(text: String, metric: &str) -> String {
    if metric.is_empty() {
        return text;
    }
    format!("{text} for metric name {}", quoted(metric))
}

impl Annotations {
    /// Adds a remark.
    pub(crate) fn add(&mut self, annotation: Annotation) {
        if !self.all.contains(&annotation) {
            self.all.insert(annotation);
        }
    }

    /// Adds all of `others`.
    pub(crate) fn merge(&mut self, others: Annotations) {
        self.all.extend(others.all);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Annotation> {
        self.all.iter()
    }

    /// The texts of one severity with their places in `query`, sorted.
    pub fn texts(&self, severity: Severity, query: &str) -> Vec<String> {
        let of_severity = self
            .all
            .iter()
            .filter(|annotation| annotation.severity == severity);
        of_severity.map(|annotation| annotation.to_text(query)).collect()
    }
}
