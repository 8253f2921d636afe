//! Selectors: the newest sample at each step, or all samples of a range.

use super::Grid;
use super::batch::Worker;
use super::evaluator::{Around, Evaluator, Sink};
use super::extended::{Extension, check_floats, set_smoothed, whole_range};
use super::query::into_series;
use super::row::{Cell, Row, is_nothing};
use super::window::{Store, View, Window};
use crate::ast::{At, Expr, MatrixSelector, Subquery, VectorSelector};
use crate::error::{Evaluated, QueryError};
use crate::source::{SelectHints, Series, SeriesSet};
use crate::value::RangeSeries;

/// What an instant selector takes of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Value,
    /// Its time in seconds.
    Time,
}

/// Where the samples of a step lie relative to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shift {
    pub(super) at: Option<i64>,
    pub(super) offset: i64,
}

impl Shift {
    pub(super) fn of(selector: &VectorSelector) -> Shift {
        Shift::new(selector.at, selector.offset.ms())
    }

    pub(super) fn of_subquery(subquery: &Subquery) -> Shift {
        Shift::new(subquery.at, subquery.offset.ms())
    }

    fn new(at: Option<At>, offset: i64) -> Shift {
        let at = match at {
            Some(At::Time(t)) => Some(t),
            _ => None,
        };
        Shift { at, offset }
    }

    /// The newest time that the step `t` looks at.
    #[inline]
    pub(super) fn reference(&self, t: i64) -> i64 {
        self.at.unwrap_or(t).saturating_sub(self.offset)
    }
}

impl Evaluator<'_> {
    /// Asks the source for the series of a selector of a range, or with 0 of the newest samples.
    pub(super) fn select(
        &self,
        selector: &VectorSelector,
        grid: &Grid,
        range_ms: i64,
        around: &Around<'_>,
    ) -> Evaluated<SeriesSet<'_>> {
        let (start_ms, end_ms) = self.times.of_selector(selector, range_ms);
        let (query_start_ms, query_end_ms) = self.times.whole();
        let (by, grouping) = match around.grouping {
            Some(aggregate) if range_ms == 0 => (!aggregate.without, aggregate.grouping.clone()),
            _ => (false, Vec::new()),
        };
        let hints = SelectHints {
            start_ms,
            end_ms,
            query_start_ms,
            query_end_ms,
            step_ms: if grid.count > 1 { grid.step } else { 0 },
            range_ms,
            func: around.func,
            by,
            grouping,
        };
        Ok(self.source.select(&selector.matchers, &hints)?)
    }

    pub(super) fn instant_selector(
        &self,
        selector: &VectorSelector,
        grid: &Grid,
        around: &Around<'_>,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        if selector.smoothed {
            return self.smoothed_samples(selector, grid, around, sink);
        }
        self.newest_samples(selector, grid, around, Taken::Value, sink)
    }

    /// The values of each series on the lines between its samples.
    fn smoothed_samples(
        &self,
        selector: &VectorSelector,
        grid: &Grid,
        around: &Around<'_>,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        let lookback = self.options.lookback_ms;
        let set = self.select(selector, grid, 0, around)?;
        let shift = Shift::of(selector);
        let work = |series: Series<'_>, worker: &mut Worker<'_>| {
            let mut window = Window::new(series.samples, true, &mut worker.store);
            let mut row = Row::empty(series.labels, grid.count);
            for (step, t) in grid.times().enumerate() {
                let at = shift.reference(t);
                window.advance(at.saturating_sub(lookback), at.saturating_add(lookback))?;
                check_floats(&window.view())?;
                set_smoothed(&mut row, step, &window.view(), at);
            }
            Ok((!row.is_empty()).then_some(row))
        };
        self.for_each_series(set, grid.count, &work, sink)
    }

    /// The newest sample of each series at each step.
    pub(super) fn newest_samples(
        &self,
        selector: &VectorSelector,
        grid: &Grid,
        around: &Around<'_>,
        taken: Taken,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        let lookback = self.options.lookback_ms;
        let set = self.select(selector, grid, 0, around)?;
        let shift = Shift::of(selector);
        let grid = *grid;
        self.for_each_series(
            set,
            grid.count,
            &move |series, worker| newest_of_series(series, worker, &grid, shift, lookback, taken),
            sink,
        )
    }

    /// Evaluates a range vector at the one time of `grid`.
    pub(crate) fn matrix(
        &self,
        expr: &Expr,
        grid: &Grid,
        around: &Around<'_>,
    ) -> Evaluated<Vec<RangeSeries>> {
        let mut found = match expr {
            Expr::Paren(e) => return self.matrix(&e.expr, grid, around),
            Expr::Matrix(e) => self.range_of_series(e, grid, around)?,
            Expr::Subquery(e) => {
                let mut found = Vec::new();
                self.each_row_of_subquery(e, grid, around, &mut |row, inner| {
                    found.extend(into_series(row, inner));
                    Ok(())
                })?;
                found
            }
            _ => {
                return Err(QueryError::evaluation(
                    "expression where a range vector is needed",
                ));
            }
        };
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }

    fn range_of_series(
        &self,
        matrix: &MatrixSelector,
        grid: &Grid,
        around: &Around<'_>,
    ) -> Evaluated<Vec<RangeSeries>> {
        let extension = Extension::of(&matrix.selector);
        let lookback = self.options.lookback_ms;
        let before = extension.map_or(0, |_| lookback);
        let after = extension.map_or(0, |extension| extension.ahead(lookback));
        let range = matrix.range.ms();
        let maxt = Shift::of(&matrix.selector).reference(grid.start);
        let mut reserved = self.reservation();
        let mut store = Store::new(self.reservation());
        let mut found = Vec::new();
        for item in self.select(&matrix.selector, grid, range, around)? {
            match item? {
                crate::source::SeriesItem::Warning(text) => {
                    self.annotate(crate::annotation::Annotation::of_source(text));
                }
                crate::source::SeriesItem::Series(series) => {
                    let mut window = Window::new(series.samples, true, &mut store);
                    let mint = maxt.saturating_sub(range);
                    window.advance(mint.saturating_sub(before), maxt.saturating_add(after))?;
                    let view = window.view();
                    reserved.grow(view.timestamps.len() * 16 + view.histograms.len() * 256)?;
                    let floats = match extension {
                        Some(extension) => whole_range(extension, &view, (mint, maxt))?,
                        None => view.floats().collect(),
                    };
                    if !floats.is_empty() || !view.histograms.is_empty() {
                        found.push(RangeSeries {
                            labels: series.labels,
                            floats,
                            histograms: view.histograms.to_vec(),
                        });
                    }
                }
            }
        }
        Ok(found)
    }

    /// Evaluates what a subquery holds, and hands on each row of it with its times.
    ///
    /// What one series takes, a row and the samples made of it, is reserved before: short queries can ask for very many
    /// steps, and each node below makes a row of them before it knows whether anything is there.
    pub(super) fn each_row_of_subquery(
        &self,
        subquery: &Subquery,
        grid: &Grid,
        around: &Around<'_>,
        take: &mut dyn FnMut(Row, &Grid) -> Evaluated<()>,
    ) -> Evaluated<()> {
        const STEP_BYTES: usize = size_of::<f64>() + size_of::<(i64, f64)>();
        let inner = self.subquery_grid(subquery, grid);
        let mut reserved = self.reservation();
        reserved.grow(inner.count.saturating_mul(STEP_BYTES))?;
        self.within(subquery, || {
            self.vector(&subquery.expr, &inner, &around.inside(), &mut |row| {
                take(row, &inner)
            })
        })
    }

    /// The times at which a subquery evaluates what it holds, for the steps of `grid`.
    fn subquery_grid(&self, subquery: &Subquery, grid: &Grid) -> Grid {
        let step = match subquery.step.ms() {
            0 => self.options.subquery_step_ms,
            step => step,
        };
        let shift = Shift::of_subquery(subquery);
        let outer = match shift.at {
            Some(at) => Grid::single(at),
            None => *grid,
        };
        outer.subquery(subquery.range.ms(), shift.offset, step)
    }
}

fn newest_of_series(
    series: Series<'_>,
    worker: &mut Worker<'_>,
    grid: &Grid,
    shift: Shift,
    lookback: i64,
    taken: Taken,
) -> Evaluated<Option<Row>> {
    let mut window = Window::new(series.samples, false, &mut worker.store);
    let mut row = Row::empty(series.labels, grid.count);
    let mut any = false;
    for (step, t) in grid.times().enumerate() {
        let maxt = shift.reference(t);
        window.advance(maxt.saturating_sub(lookback), maxt)?;
        if let Some(cell) = newest(&window.view(), taken) {
            any = true;
            row.set(step, cell);
        }
    }
    Ok(any.then_some(row))
}

/// The newest sample, unless it is a marker of the end of the series.
#[inline]
pub(super) fn newest(view: &View<'_>, taken: Taken) -> Option<Cell> {
    let float = view.timestamps.last().zip(view.values.last());
    let (t, cell) = match (float, view.histograms.last()) {
        (float, Some((t, histogram))) if float.is_none_or(|(float_t, _)| float_t < t) => {
            if histogram.is_stale() {
                return None;
            }
            (*t, Cell::Histogram(std::sync::Arc::clone(histogram)))
        }
        (Some((t, value)), _) => {
            if is_nothing(*value) {
                return None;
            }
            (*t, Cell::Float(*value))
        }
        _ => return None,
    };
    Some(match taken {
        Taken::Value => cell,
        Taken::Time => Cell::Float(t as f64 / 1000.0),
    })
}

impl View<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.timestamps.is_empty() && self.histograms.is_empty()
    }

    pub(super) fn floats(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        self.timestamps.iter().copied().zip(self.values.iter().copied())
    }
}
