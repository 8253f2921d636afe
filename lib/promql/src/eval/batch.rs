//! Works on series in batches, on as many threads as the query may use.
//!
//! A batch is cut into equal runs, one for each thread, and its rows are handed on in the order in which the series
//! came. So whatever sums rows up does it in the same order with any number of threads.

use super::Row;
use super::evaluator::{Evaluator, Sink};
use super::window::Store;
use crate::annotation::{Annotation, Annotations};
use crate::budget::{Budget, Reservation};
use crate::error::{Evaluated, QueryError};
use crate::source::{Series, SeriesItem, SeriesSet};

/// What a thread keeps from series to series.
#[derive(Debug)]
pub(super) struct Worker<'b> {
    pub(super) store: Store<'b>,
    pub(super) annotations: Annotations,
}

impl<'b> Worker<'b> {
    pub(super) fn new(budget: &'b dyn Budget) -> Worker<'b> {
        Worker {
            store: Store::new(Reservation::none(budget)),
            annotations: Annotations::default(),
        }
    }
}

/// Makes a row of a series; `None` if it has no values.
pub(super) type SeriesWork<'w> = &'w (dyn Fn(Series<'_>, &mut Worker<'_>) -> Evaluated<Option<Row>> + Sync);

/// About so many places are computed between two handovers of a thread.
const PLACES_PER_RUN: usize = 1 << 16;

impl Evaluator<'_> {
    /// Makes rows of all series of a set.
    pub(super) fn for_each_series(
        &self,
        set: SeriesSet<'_>,
        steps: usize,
        work: SeriesWork<'_>,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        let threads = self.options.threads.clamp(1, 64);
        let run = (PLACES_PER_RUN / steps.max(1)).clamp(8, 512);
        let batch_size = if threads == 1 { 1 } else { run * threads };
        let mut reserved = self.reservation();
        reserved.grow(batch_size.saturating_mul(steps).saturating_mul(size_of::<f64>()))?;
        let mut worker = Worker::new(self.options.budget);
        let mut batch = Vec::with_capacity(batch_size);
        for item in set {
            match item? {
                SeriesItem::Warning(text) => self.annotate(Annotation::of_source(text)),
                SeriesItem::Series(series) if threads == 1 => {
                    self.check_cancelled()?;
                    if let Some(row) = work(series, &mut worker)? {
                        sink(row)?;
                    }
                }
                SeriesItem::Series(series) => {
                    batch.push(series);
                    if batch.len() == batch_size {
                        self.work_on_batch(&mut batch, threads, work, sink)?;
                    }
                }
            }
        }
        if !batch.is_empty() {
            self.work_on_batch(&mut batch, threads, work, sink)?;
        }
        self.annotate_all(worker.annotations);
        Ok(())
    }

    fn work_on_batch(
        &self,
        batch: &mut Vec<Series<'_>>,
        threads: usize,
        work: SeriesWork<'_>,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        self.check_cancelled()?;
        let budget = self.options.budget;
        let run = batch.len().div_ceil(threads);
        let mut runs: Vec<Vec<Series<'_>>> = Vec::with_capacity(threads);
        while !batch.is_empty() {
            let rest = batch.split_off(run.min(batch.len()));
            runs.push(std::mem::replace(batch, rest));
        }
        let finished = std::thread::scope(|scope| {
            let handles: Vec<_> = runs
                .into_iter()
                .map(|run| scope.spawn(move || work_on_run(run, work, budget)))
                .collect();
            handles
                .into_iter()
                .map(|handle| handle.join())
                .collect::<Vec<_>>()
        });
        for run in finished {
            let (rows, annotations) =
                run.map_err(|_| QueryError::evaluation("a thread of the evaluation panicked"))??;
            self.annotate_all(annotations);
            rows.into_iter().try_for_each(&mut *sink)?;
        }
        Ok(())
    }
}

fn work_on_run(
    run: Vec<Series<'_>>,
    work: SeriesWork<'_>,
    budget: &dyn Budget,
) -> Evaluated<(Vec<Row>, Annotations)> {
    let mut worker = Worker::new(budget);
    let mut rows = Vec::with_capacity(run.len());
    for series in run {
        rows.extend(work(series, &mut worker)?);
    }
    Ok((rows, worker.annotations))
}
