//! `topk`, `bottomk`, `limitk` and `limit_ratio`: what they pick is known at each step, so only that is held.

mod heap;
mod ratio;

use std::collections::HashMap;

use sabre_model::Labels;

use self::heap::{Candidate, Heap};
use self::ratio::is_in_ratio;
use super::aggregate::{Parameter, group_labels};
use super::evaluator::{Around, Evaluator, Sink};
use super::row::Cell;
use super::{Grid, Row};
use crate::annotation::Annotation;
use crate::ast::{Aggregate, AggregateOp};
use crate::budget::Reservation;
use crate::error::Evaluated;

/// What has been picked so far.
struct Picked<'b> {
    op: AggregateOp,
    /// For each group the picked of each step.
    groups: Vec<Vec<Heap>>,
    by_labels: HashMap<Labels, usize>,
    /// The series that were picked at some step, at least for a while.
    series: Vec<(Labels, bool)>,
    reserved: Reservation<'b>,
    ignored_histogram: bool,
}

impl Evaluator<'_> {
    /// Picks series of a vector.
    pub(super) fn pick(
        &self,
        aggregate: &Aggregate,
        parameter: &Parameter,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        let mut picked = Picked {
            op: aggregate.op,
            groups: Vec::new(),
            by_labels: HashMap::new(),
            series: Vec::new(),
            reserved: self.reservation(),
            ignored_histogram: false,
        };
        self.vector(&aggregate.expr, grid, &Around::aggregate(aggregate), &mut |row| {
            let group = picked.group(group_labels(aggregate, &row.labels), grid.count)?;
            picked.add(group, &row, parameter)
        })?;
        if picked.ignored_histogram {
            let name = aggregate.op.as_str();
            self.annotate(Annotation::histogram_ignored_in_aggregation(name, aggregate.pos));
        }
        picked.finish(grid, sink)
    }
}

impl Picked<'_> {
    fn group(&mut self, labels: Labels, steps: usize) -> Evaluated<usize> {
        if let Some(at) = self.by_labels.get(&labels) {
            return Ok(*at);
        }
        self.reserved
            .grow(steps * size_of::<Heap>() + labels.heap_bytes())?;
        self.groups.push(vec![Heap::default(); steps]);
        self.by_labels.insert(labels, self.groups.len() - 1);
        Ok(self.groups.len() - 1)
    }

    fn add(&mut self, group: usize, row: &Row, parameter: &Parameter) -> Evaluated<()> {
        let number = self.series.len();
        let Some(heaps) = self.groups.get_mut(group) else {
            return Ok(());
        };
        let mut grown = 0;
        for (step, heap) in heaps.iter_mut().enumerate() {
            let Some(cell) = row.get(step) else { continue };
            let before = heap.len();
            let taken = match self.op {
                AggregateOp::LimitRatio => {
                    let ratio = parameter.at(step);
                    ratio != 0.0 && is_in_ratio(&row.labels, ratio) && heap.keep(Candidate::new(cell, number))
                }
                op => {
                    let k = parameter.at(step);
                    let k = if k >= 1.0 { k as usize } else { 0 };
                    match (op, cell) {
                        (AggregateOp::Limitk, cell) => {
                            heap.len() < k && heap.keep(Candidate::new(cell, number))
                        }
                        (_, Cell::Histogram(_)) => {
                            self.ignored_histogram |= k > 0;
                            false
                        }
                        (op, cell) => heap.offer(Candidate::new(cell, number), k, op == AggregateOp::Bottomk),
                    }
                }
            };
            if taken {
                grown += heap.len() - before;
                if self.series.len() == number {
                    self.series.push((row.labels.clone(), row.drop_name));
                    self.reserved
                        .grow(size_of::<(Labels, bool)>() + row.labels.heap_bytes())?;
                }
            }
        }
        self.reserved.grow(grown * size_of::<Candidate>())?;
        Ok(())
    }

    /// Hands out the picked: those of one step in its order, group by group, those of many in the order in which the
    /// series came.
    fn finish(mut self, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let mut rows: Vec<Row> = Vec::new();
        let mut row_of: Vec<Option<usize>> = vec![None; self.series.len()];
        for heaps in std::mem::take(&mut self.groups) {
            for (step, heap) in heaps.into_iter().enumerate() {
                for candidate in heap.into_order(self.op) {
                    let Some(place) = row_of.get_mut(candidate.series) else {
                        continue;
                    };
                    let at = match *place {
                        Some(at) => at,
                        None => {
                            let Some((labels, drop_name)) = self.series.get(candidate.series) else {
                                continue;
                            };
                            let mut row = Row::empty(labels.clone(), grid.count);
                            row.drop_name = *drop_name;
                            self.reserved.grow(row.memory_bytes())?;
                            rows.push(row);
                            *place = Some(rows.len() - 1);
                            rows.len() - 1
                        }
                    };
                    if let Some(row) = rows.get_mut(at) {
                        row.set(step, candidate.cell);
                    }
                }
            }
        }
        if grid.count == 1 {
            return rows.into_iter().try_for_each(sink);
        }
        let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
        let in_order = row_of.into_iter().flatten();
        in_order
            .filter_map(|at| rows.get_mut(at).and_then(Option::take))
            .try_for_each(sink)
    }
}
