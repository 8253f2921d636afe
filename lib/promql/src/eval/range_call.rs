//! Functions of ranges: a series is swept once, and the function looks at the window of each step.

use std::sync::Arc;

use sabre_model::Labels;

use super::Grid;
use super::batch::Worker;
use super::evaluator::{Around, Evaluator, Sink};
use super::extended::{Extension, anchored, change, check_floats};
use super::invariant::has_one_name;
use super::labels::metric_name;
use super::row::{Cell, Row, is_nothing};
use super::selector::Shift;
use super::series_function::{Arguments, RangeState, apply};
use super::window::Window;
use crate::annotation::Annotation;
use crate::ast::{Call, Expr};
use crate::error::{Evaluated, QueryError};
use crate::function::{Function, ValueType};
use crate::histogram::CounterResetHint;
use crate::source::{SampleBuffer, SampleSource, SourceError};

/// A range function with what it needs besides the samples.
struct Sweep<'c> {
    function: Function,
    grid: Grid,
    shift: Shift,
    range_ms: i64,
    extension: Option<Extension>,
    /// How far before and behind the range samples are looked at, in milliseconds.
    before: i64,
    after: i64,
    arguments: Arguments<'c>,
    /// The values of the scalar arguments at each step.
    scalars: Vec<Vec<f64>>,
}

/// Samples that are there already, given at once.
struct Given(Option<SampleBuffer>);

impl SampleSource for Given {
    fn next_into(&mut self, buffer: &mut SampleBuffer) -> Result<bool, SourceError> {
        match self.0.take() {
            Some(samples) => {
                *buffer = samples;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

impl Evaluator<'_> {
    /// Evaluates a function of a range vector.
    pub(super) fn range_call(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let Some(arg) = call.args.iter().find(|arg| arg.value_type() == ValueType::Matrix) else {
            return Err(QueryError::evaluation("range function without a range"));
        };
        if call.function == Function::AbsentOverTime {
            return self.absent_over_time(arg, grid, sink);
        }
        self.unique(arg, call.function, sink, |sink| {
            self.range_rows(call, arg, grid, sink)
        })
    }

    /// Sees to it that no two rows have the same labels; here they may not even share the steps.
    fn unique(
        &self,
        arg: &Expr,
        function: Function,
        sink: Sink<'_>,
        produce: impl FnOnce(Sink<'_>) -> Evaluated<()>,
    ) -> Evaluated<()> {
        let keeps_name = matches!(function, Function::LastOverTime | Function::FirstOverTime);
        if self.options.delayed_name_removal || keeps_name || has_one_name(arg) {
            return produce(sink);
        }
        let mut seen = std::collections::HashSet::new();
        let mut reserved = self.reservation();
        let mut rows = Vec::new();
        produce(&mut |row| {
            reserved.grow(row.memory_bytes() + row.labels.heap_bytes())?;
            if !seen.insert(row.labels.clone()) {
                return Err(QueryError::same_labelset());
            }
            rows.push(row);
            Ok(())
        })?;
        rows.into_iter().try_for_each(sink)
    }

    /// A row for each series that has a value at some step; rows may have the same labels.
    pub(super) fn range_rows(&self, call: &Call, arg: &Expr, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let mut scalars = Vec::new();
        for other in &call.args {
            if other.value_type() == ValueType::Scalar {
                scalars.push(self.scalar(other, grid)?);
            }
        }
        let arguments = Arguments::new(call, arg);
        let around = Around::function(call.function);
        match arg {
            Expr::Matrix(matrix) => {
                let extension = Extension::of(&matrix.selector);
                let lookback = self.options.lookback_ms;
                if let Some(extension) = extension {
                    extension.check(call.function)?;
                }
                let before = extension.map_or(0, |_| lookback);
                let range_ms = matrix.range.ms();
                let sweep = Sweep {
                    function: call.function,
                    grid: *grid,
                    shift: Shift::of(&matrix.selector),
                    range_ms,
                    extension,
                    before,
                    after: extension.map_or(0, |extension| extension.ahead(lookback)),
                    arguments,
                    scalars,
                };
                let set = self.select(&matrix.selector, grid, range_ms, &around)?;
                let drop_names = !self.options.delayed_name_removal;
                self.for_each_series(
                    set,
                    grid.count,
                    &|series, worker| sweep.row(series.labels, series.samples, worker, drop_names),
                    sink,
                )
            }
            Expr::Subquery(subquery) => {
                let sweep = Sweep {
                    function: call.function,
                    grid: *grid,
                    shift: Shift::of_subquery(subquery),
                    range_ms: subquery.range.ms(),
                    extension: None,
                    before: 0,
                    after: 0,
                    arguments,
                    scalars,
                };
                let drop_names = !self.options.delayed_name_removal;
                let mut worker = Worker::new(self.options.budget);
                self.each_row_of_subquery(subquery, grid, &around, &mut |row, inner| {
                    let (labels, samples) = samples_of(row, inner);
                    let samples = Box::new(Given(Some(samples)));
                    match sweep.row(labels, samples, &mut worker, drop_names)? {
                        Some(row) => sink(row),
                        None => Ok(()),
                    }
                })?;
                self.annotate_all(worker.annotations);
                Ok(())
            }
            _ => Err(QueryError::evaluation(
                "range function of something that is no range",
            )),
        }
    }
}

/// The samples of a row. What is known of counter resets holds between samples that the steps may have left out, or
/// taken twice, so it is forgotten.
fn samples_of(row: Row, grid: &Grid) -> (Labels, SampleBuffer) {
    let mut samples = SampleBuffer::default();
    for (t, value) in grid.times().zip(&row.floats) {
        if !is_nothing(*value) {
            samples.push(t, *value);
        }
    }
    for (t, histogram) in grid.times().zip(row.histograms.into_iter().flatten()) {
        let Some(mut histogram) = histogram else { continue };
        if histogram.hint != CounterResetHint::Gauge && histogram.hint != CounterResetHint::Unknown {
            Arc::make_mut(&mut histogram).hint = CounterResetHint::Unknown;
        }
        samples.histograms.push((t, histogram));
    }
    (row.labels, samples)
}

impl Sweep<'_> {
    /// Computes all steps of a series; `None` if there is a value at none.
    fn row(
        &self,
        labels: Labels,
        samples: Box<dyn SampleSource + Send + '_>,
        worker: &mut Worker<'_>,
        drop_names: bool,
    ) -> Evaluated<Option<Row>> {
        let keeps_name = matches!(self.function, Function::LastOverTime | Function::FirstOverTime);
        let mut window = Window::new(samples, true, &mut worker.store);
        let mut row = Row::empty(labels, self.grid.count);
        let mut state = RangeState::default();
        let (mut any, mut any_float) = (false, false);
        for (step, t) in self.grid.times().enumerate() {
            let maxt = self.shift.reference(t);
            let mint = maxt.saturating_sub(self.range_ms);
            window.advance(mint.saturating_sub(self.before), maxt.saturating_add(self.after))?;
            let mut view = window.view();
            if view.is_empty() {
                continue;
            }
            if let Some(extension) = self.extension {
                check_floats(&view)?;
                if !matches!(self.function, Function::Changes | Function::Resets) {
                    let seconds = self.arguments.range_seconds;
                    if let Some(cell) = change(self.function, extension, &view, (mint, maxt), seconds) {
                        (any, any_float) = (true, true);
                        row.set(step, cell);
                    }
                    continue;
                }
                match anchored(&view, mint) {
                    Some(from_anchor) => view = from_anchor,
                    None => continue,
                }
            }
            let scalars = |i: usize| {
                let values = self.scalars.get(i);
                values
                    .and_then(|values| values.get(step))
                    .copied()
                    .unwrap_or(f64::NAN)
            };
            let at = super::series_function::StepTimes {
                t,
                start: mint,
                end: maxt,
            };
            let found = apply(
                self.function,
                &view,
                at,
                &scalars,
                &self.arguments,
                &row.labels,
                &mut state,
                &mut worker.annotations,
            )?;
            if let Some(cell) = found {
                any = true;
                any_float |= matches!(cell, Cell::Float(_));
                row.set(step, cell);
            }
        }
        drop(window);
        if !any {
            return Ok(None);
        }
        if matches!(self.function, Function::Rate | Function::Increase) && any_float {
            self.remark_on_name(&row.labels, worker);
        }
        row.drop_name = !keeps_name;
        if !keeps_name && drop_names {
            row.labels = super::labels::without_metadata(&row.labels);
        }
        Ok(Some(row))
    }

    /// Counters are named in one of a few ways.
    fn remark_on_name(&self, labels: &Labels, worker: &mut Worker<'_>) {
        let name = metric_name(labels);
        let is_counter = ["_total", "_sum", "_count", "_bucket"]
            .into_iter()
            .any(|ending| name.ends_with(ending));
        if !name.is_empty() && !is_counter {
            let annotation = Annotation::possibly_no_counter(name, self.arguments.first_pos);
            worker.annotations.add(annotation);
        }
    }
}
