//! `histogram_quantile` and `histogram_fraction`, of native and of classic histograms.

mod buckets;

use std::collections::HashMap;
use std::sync::Arc;

use sabre_model::Labels;

use self::buckets::{ClassicBucket, bucket_fraction, bucket_quantile};
use super::Grid;
use super::evaluator::{Around, Evaluator, Sink};
use super::labels::metric_name;
use super::merge::Merger;
use super::row::{Cell, Row, is_nothing};
use crate::annotation::Annotation;
use crate::ast::{Call, Expr};
use crate::error::Evaluated;
use crate::function::Function;
use crate::histogram::{self, FloatHistogram};
use crate::position::PosRange;

/// The label of the upper bound of a classic bucket.
const BUCKET_LABEL: &str = "le";

/// The series of a histogram: the buckets of a classic one, or a native one, or both.
struct Group {
    labels: Labels,
    buckets: Vec<(f64, Row)>,
    natives: Vec<Row>,
}

/// The histograms of a vector by their labels, in the order in which they came.
#[derive(Default)]
struct Groups {
    all: Vec<Group>,
    by_labels: HashMap<Labels, usize>,
}

impl Groups {
    #[expect(
        clippy::indexing_slicing,
        reason = "the index is that of a group just found or made"
    )]
    fn of(&mut self, labels: Labels) -> &mut Group {
        let next = self.all.len();
        let at = *self.by_labels.entry(labels.clone()).or_insert(next);
        if at == next {
            self.all.push(Group {
                labels,
                buckets: Vec::new(),
                natives: Vec::new(),
            });
        }
        &mut self.all[at]
    }
}

/// What is asked of each histogram.
#[derive(Clone, Copy)]
enum Asked {
    Quantile(f64),
    Fraction(f64, f64),
}

impl Evaluator<'_> {
    pub(super) fn histogram_function(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let is_quantile = call.function == Function::HistogramQuantile;
        let (Some(vector), Some(first)) = (call.args.last(), call.args.first()) else {
            return Ok(());
        };
        let mut scalars = Vec::new();
        for arg in call.args.iter().take(call.args.len() - 1) {
            scalars.push(self.scalar(arg, grid)?);
        }
        if is_quantile {
            for q in scalars.iter().flatten() {
                if !(0.0..=1.0).contains(q) {
                    self.annotate(Annotation::invalid_quantile(*q, first.pos()));
                }
            }
        }
        let asked = |step: usize| {
            let value = |i: usize| {
                let values: Option<&Vec<f64>> = scalars.get(i);
                values
                    .and_then(|values| values.get(step))
                    .copied()
                    .unwrap_or(f64::NAN)
            };
            if is_quantile {
                Asked::Quantile(value(0))
            } else {
                Asked::Fraction(value(0), value(1))
            }
        };
        let (groups, _reserved) = self.histogram_groups(vector, grid, call.function)?;
        let mut merger = Merger::new(grid.count, self.reservation());
        for group in groups {
            self.group_results(&group, grid, &asked, first.pos(), vector, &mut merger)?;
        }
        merger.finish().0.into_iter().try_for_each(sink)
    }

    /// Puts the series of a vector together that make one histogram each.
    fn histogram_groups(
        &self,
        vector: &Expr,
        grid: &Grid,
        function: Function,
    ) -> Evaluated<(Vec<Group>, crate::budget::Reservation<'_>)> {
        let mut reserved = self.reservation();
        let mut groups = Groups::default();
        self.vector(vector, grid, &Around::function(function), &mut |mut row| {
            reserved.grow(row.memory_bytes())?;
            let native = row.histograms.take();
            if row.floats.iter().any(|value| !is_nothing(*value)) {
                match self.bucket_bound(&row.labels, vector.pos()) {
                    Some(bound) => {
                        let group = groups.of(row.labels.without(&[BUCKET_LABEL]));
                        group.buckets.push((bound, row.clone()));
                    }
                    None => row.floats.clear(),
                }
            }
            if native.is_some() {
                let group = groups.of(row.labels.clone());
                row.histograms = native;
                row.floats = Vec::new();
                group.natives.push(row);
            }
            Ok(())
        })?;
        Ok((groups.all, reserved))
    }

    fn bucket_bound(&self, labels: &Labels, pos: PosRange) -> Option<f64> {
        let text = labels.get(BUCKET_LABEL).unwrap_or("");
        let bound = parse_go_float(text);
        if bound.is_none() {
            let annotation = Annotation::bad_bucket_label(self.told_name(labels), text, pos);
            self.annotate(annotation);
        }
        bound
    }

    /// The name of the metric in remarks: gone already, unless names go at the end.
    fn told_name<'l>(&self, labels: &'l Labels) -> &'l str {
        if self.options.delayed_name_removal {
            metric_name(labels)
        } else {
            ""
        }
    }

    fn group_results(
        &self,
        group: &Group,
        grid: &Grid,
        asked: &dyn Fn(usize) -> Asked,
        first_pos: PosRange,
        vector: &Expr,
        merger: &mut Merger<'_>,
    ) -> Evaluated<()> {
        let mut template = Row::empty(group.labels.clone(), 0);
        self.drop_name(&mut template);
        let mut target = None;
        for step in 0..grid.count {
            let mut buckets: Vec<ClassicBucket> = Vec::with_capacity(group.buckets.len());
            for (bound, row) in &group.buckets {
                if let Some(value) = row.floats.get(step)
                    && !is_nothing(*value)
                {
                    buckets.push(ClassicBucket {
                        upper: *bound,
                        count: *value,
                    });
                }
            }
            let native = group.natives.iter().find_map(|row| row.histogram(step));
            let value = match (native, buckets.is_empty()) {
                (Some(_), false) => {
                    let name = self.told_name(&group.labels);
                    self.annotate(Annotation::mixed_classic_native(name, vector.pos()));
                    continue;
                }
                (Some(native), true) => self.of_native(native, asked(step), &template.labels, first_pos),
                (None, false) => self.of_classic(&mut buckets, asked(step), &group.labels, vector.pos()),
                (None, true) => continue,
            };
            let row = match target {
                Some(row) => row,
                None => merger.row(template.labels.clone(), true)?,
            };
            target = Some(row);
            merger.set(row, step, Cell::Float(value))?;
        }
        Ok(())
    }

    fn of_native(&self, h: &Arc<FloatHistogram>, asked: Asked, labels: &Labels, pos: PosRange) -> f64 {
        let name = metric_name(labels);
        match asked {
            Asked::Quantile(q) => {
                let observed = histogram::quantile(q, h);
                match observed.nan {
                    histogram::NanEffect::None => {}
                    histogram::NanEffect::Skewed => {
                        self.annotate(Annotation::quantile_skewed_by_nan(name, pos));
                    }
                    histogram::NanEffect::Result => self.annotate(Annotation::quantile_of_nan(name, pos)),
                }
                observed.value
            }
            Asked::Fraction(lower, upper) => {
                let observed = histogram::fraction(lower, upper, h);
                if observed.nan != histogram::NanEffect::None {
                    self.annotate(Annotation::fraction_without_nan(name, pos));
                }
                observed.value
            }
        }
    }

    fn of_classic(
        &self,
        buckets: &mut Vec<ClassicBucket>,
        asked: Asked,
        labels: &Labels,
        pos: PosRange,
    ) -> f64 {
        match asked {
            Asked::Quantile(q) => {
                let (value, forced) = bucket_quantile(q, buckets);
                if forced {
                    self.annotate(Annotation::forced_monotonicity(self.told_name(labels), pos));
                }
                value
            }
            Asked::Fraction(lower, upper) => bucket_fraction(lower, upper, buckets),
        }
    }
}

/// Reads a bound as Go reads floats.
fn parse_go_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let is_word = |word: &str| unsigned.eq_ignore_ascii_case(word);
    if is_word("inf") || is_word("infinity") {
        return Some(if negative {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        });
    }
    if is_word("nan") {
        return Some(f64::NAN);
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value: f64 = unsigned.parse().ok()?;
    // Beyond the range of floats Go fails.
    (!value.is_infinite()).then_some(if negative { -value } else { value })
}
