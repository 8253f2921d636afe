//! Collects rows whose labels may be the same.

use std::collections::HashMap;

use sabre_model::Labels;

use super::row::{Cell, Row};
use crate::budget::Reservation;
use crate::error::{Evaluated, QueryError};

/// Rows by labels, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Merger<'b> {
    steps: usize,
    rows: Vec<Row>,
    by_labels: HashMap<Labels, usize>,
    reserved: Reservation<'b>,
}

impl<'b> Merger<'b> {
    pub(crate) fn new(steps: usize, reserved: Reservation<'b>) -> Merger<'b> {
        Merger {
            steps,
            rows: Vec::new(),
            by_labels: HashMap::new(),
            reserved,
        }
    }

    /// The row with these labels, made if there is none.
    pub(crate) fn row(&mut self, labels: Labels, drop_name: bool) -> Evaluated<usize> {
        if let Some(at) = self.by_labels.get(&labels) {
            return Ok(*at);
        }
        let mut row = Row::empty(labels.clone(), self.steps);
        row.drop_name = drop_name;
        self.reserved.grow(row.memory_bytes() + labels.heap_bytes())?;
        self.rows.push(row);
        let at = self.rows.len() - 1;
        self.by_labels.insert(labels, at);
        Ok(at)
    }

    /// Puts something in a place of a row; twice is an error.
    pub(crate) fn set(&mut self, row: usize, step: usize, cell: Cell) -> Evaluated<()> {
        let Some(row) = self.rows.get_mut(row) else {
            return Ok(());
        };
        if row.has(step) {
            return Err(QueryError::same_labelset());
        }
        row.set(step, cell);
        Ok(())
    }

    /// Adds a whole row: where another one has its labels, they share the places.
    pub(crate) fn add(&mut self, row: Row) -> Evaluated<()> {
        if !self.by_labels.contains_key(&row.labels) {
            self.reserved.grow(row.memory_bytes() + row.labels.heap_bytes())?;
            self.by_labels.insert(row.labels.clone(), self.rows.len());
            self.rows.push(row);
            return Ok(());
        }
        let at = self.row(row.labels.clone(), row.drop_name)?;
        for step in 0..self.steps {
            if let Some(cell) = row.get(step) {
                self.set(at, step, cell)?;
            }
        }
        Ok(())
    }

    /// The rows that hold something.
    pub(crate) fn finish(self) -> (Vec<Row>, Reservation<'b>) {
        let rows = self.rows.into_iter().filter(|row| !row.is_empty()).collect();
        (rows, self.reserved)
    }
}

impl Merger<'_> {
    /// Counts one more in a place of a row.
    pub(super) fn count(&mut self, row: usize, step: usize) {
        if let Some(place) = self.rows.get_mut(row).and_then(|row| row.floats.get_mut(step)) {
            *place = if super::row::is_nothing(*place) {
                1.0
            } else {
                *place + 1.0
            };
        }
    }
}
