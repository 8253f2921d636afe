//! Binary operations between vectors: which series find each other.

use std::collections::HashMap;

use sabre_model::Labels;

use super::evaluator::{Around, Evaluator, Sink};
use super::labels::{keep, with, without, without_metadata};
use super::merge::Merger;
use super::operate::{Operands, operate};
use super::{Cell, Grid, Row};
use crate::ast::{Binary, Cardinality, Operator, VectorMatching};
use crate::error::{Evaluated, QueryError};
use crate::float::from_bool;

/// The side of which each group of labels has one series at a step.
struct OneSide {
    rows: Vec<Row>,
    /// Rows by the labels that are matched.
    by_signature: HashMap<Labels, usize>,
    /// For each signature its rows.
    groups: Vec<Vec<usize>>,
    /// For each signature the steps at which something matched already.
    matched: Vec<Vec<bool>>,
}

/// The labels that are matched.
fn signature(matching: &VectorMatching, labels: &Labels) -> Labels {
    if matching.on {
        keep(labels, &matching.labels)
    } else {
        without(labels, &matching.labels)
    }
}

impl OneSide {
    fn new(rows: Vec<Row>, matching: &VectorMatching) -> OneSide {
        let mut side = OneSide {
            rows: Vec::new(),
            by_signature: HashMap::new(),
            groups: Vec::new(),
            matched: Vec::new(),
        };
        for (at, row) in rows.iter().enumerate() {
            let next = side.groups.len();
            let group = *side
                .by_signature
                .entry(signature(matching, &row.labels))
                .or_insert(next);
            if group == next {
                side.groups.push(Vec::new());
                side.matched.push(Vec::new());
            }
            if let Some(group) = side.groups.get_mut(group) {
                group.push(at);
            }
        }
        side.rows = rows;
        side
    }

    /// The row of a group that has a value at a step; two are an error.
    fn at(&self, group: usize, step: usize) -> Result<Option<usize>, (usize, usize)> {
        let mut found = None;
        for at in self.groups.get(group).into_iter().flatten() {
            if self.rows.get(*at).is_some_and(|row| row.has(step)) {
                match found {
                    Some(first) => return Err((first, *at)),
                    None => found = Some(*at),
                }
            }
        }
        Ok(found)
    }

    /// Notes a match; says whether there was one at this step already.
    fn note_match(&mut self, group: usize, step: usize, steps: usize) -> bool {
        let Some(matched) = self.matched.get_mut(group) else {
            return false;
        };
        matched.resize(steps, false);
        matched
            .get_mut(step)
            .is_some_and(|place| std::mem::replace(place, true))
    }
}

impl Evaluator<'_> {
    /// Arithmetic and comparisons.
    pub(super) fn vector_operation(
        &self,
        binary: &Binary,
        matching: &VectorMatching,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        let swapped = matching.card == Cardinality::OneToMany;
        let (many, one) = if swapped {
            (&binary.rhs, &binary.lhs)
        } else {
            (&binary.lhs, &binary.rhs)
        };
        let (rows, _reserved) = self.collect(one, grid, &Around::nothing())?;
        let mut side = OneSide::new(rows, matching);
        let mut merger = Merger::new(grid.count, self.reservation());
        let mut many_present = vec![false; grid.count];
        // For each row of the result the steps at which a pair found it, kept or not.
        let mut pairs: HashMap<usize, Vec<bool>> = HashMap::new();
        self.vector(many, grid, &Around::nothing(), &mut |row| {
            let group = side.by_signature.get(&signature(matching, &row.labels)).copied();
            let mut target: Option<(usize, usize)> = None;
            for (step, present) in many_present.iter_mut().enumerate() {
                let Some(value) = row.get(step) else { continue };
                *present = true;
                let Some(group) = group else { continue };
                let found = side.at(group, step);
                let found = found.map_err(|pair| duplicate(&side, pair, matching, swapped))?;
                let Some(one_at) = found else { continue };
                let Some(other) = side.rows.get(one_at).and_then(|row| row.get(step)) else {
                    continue;
                };
                let (left, right) = if swapped {
                    (&other, &value)
                } else {
                    (&value, &other)
                };
                let outcome = operate(Operands {
                    op: binary.op,
                    left,
                    right,
                    pos: binary.pos(),
                });
                for annotation in outcome.annotations {
                    self.annotate(annotation);
                }
                let Some(result) = outcome.result else { continue };
                let at = match target {
                    Some((known, at)) if known == one_at => at,
                    _ => {
                        let one_labels = side.rows.get(one_at).map(|row| row.labels.clone());
                        let labels = self.result_labels(
                            binary,
                            matching,
                            &row.labels,
                            &one_labels.unwrap_or_default(),
                        );
                        merger.row(labels, binary.return_bool)?
                    }
                };
                target = Some((one_at, at));
                check_unique(
                    &mut side,
                    matching,
                    group,
                    step,
                    grid.count,
                    pairs.entry(at).or_default(),
                )?;
                if outcome.keep || binary.return_bool {
                    let result = if binary.return_bool {
                        Cell::Float(from_bool(outcome.keep))
                    } else {
                        result
                    };
                    merger.set(at, step, result)?;
                }
            }
            Ok(())
        })?;
        check_one_side(&side, &many_present, matching, swapped)?;
        merger.finish().0.into_iter().try_for_each(sink)
    }

    fn result_labels(
        &self,
        binary: &Binary,
        matching: &VectorMatching,
        many: &Labels,
        one: &Labels,
    ) -> Labels {
        let mut labels = many.clone();
        if binary.op.changes_metric() || (binary.return_bool && !self.options.delayed_name_removal) {
            labels = without_metadata(&labels);
        }
        if matching.card == Cardinality::OneToOne {
            labels = if matching.on {
                keep(&labels, &matching.labels)
            } else {
                labels.without(&matching.labels)
            };
        }
        for name in &matching.include {
            labels = with(&labels, name, one.get(name).unwrap_or(""));
        }
        if binary.return_bool && !self.options.delayed_name_removal {
            labels = without_metadata(&labels);
        }
        labels
    }

    /// `and`, `or` and `unless`.
    pub(super) fn set_operation(
        &self,
        binary: &Binary,
        matching: &VectorMatching,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        let around = Around::nothing();
        if binary.op == Operator::Or {
            let mut present = Presence::new(grid.count);
            let mut merger = Merger::new(grid.count, self.reservation());
            self.vector(&binary.lhs, grid, &around, &mut |row| {
                present.note(signature(matching, &row.labels), &row);
                merger.add(row)
            })?;
            self.vector(&binary.rhs, grid, &around, &mut |mut row| {
                present.retain(&signature(matching, &row.labels), &mut row, false);
                if row.is_empty() { Ok(()) } else { merger.add(row) }
            })?;
            return merger.finish().0.into_iter().try_for_each(sink);
        }
        let mut present = Presence::new(grid.count);
        self.vector(&binary.rhs, grid, &around, &mut |row| {
            present.note(signature(matching, &row.labels), &row);
            Ok(())
        })?;
        let wanted = binary.op == Operator::And;
        self.vector(&binary.lhs, grid, &around, &mut |mut row| {
            present.retain(&signature(matching, &row.labels), &mut row, wanted);
            if row.is_empty() { Ok(()) } else { sink(row) }
        })
    }
}

/// At which steps there is a series, by the labels that are matched.
struct Presence {
    steps: usize,
    by_signature: HashMap<Labels, Vec<bool>>,
}

impl Presence {
    fn new(steps: usize) -> Presence {
        Presence {
            steps,
            by_signature: HashMap::new(),
        }
    }

    fn note(&mut self, signature: Labels, row: &Row) {
        let steps = self.steps;
        let present = self
            .by_signature
            .entry(signature)
            .or_insert_with(|| vec![false; steps]);
        for (step, place) in present.iter_mut().enumerate() {
            *place |= row.has(step);
        }
    }

    /// Empties the steps of a row at which there is no such series, or at which there is one.
    fn retain(&self, signature: &Labels, row: &mut Row, wanted: bool) {
        let present = self.by_signature.get(signature);
        for step in 0..self.steps {
            let is_present = present
                .and_then(|present| present.get(step))
                .copied()
                .unwrap_or(false);
            if is_present != wanted {
                row.clear(step);
            }
        }
    }
}

/// Sees to it that a series of the one side has one partner, or that the results of several differ.
fn check_unique(
    side: &mut OneSide,
    matching: &VectorMatching,
    group: usize,
    step: usize,
    steps: usize,
    pairs: &mut Vec<bool>,
) -> Evaluated<()> {
    if matching.card == Cardinality::OneToOne {
        if side.note_match(group, step, steps) {
            return Err(QueryError::evaluation(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            ));
        }
        return Ok(());
    }
    pairs.resize(steps, false);
    let again = pairs
        .get_mut(step)
        .is_some_and(|place| std::mem::replace(place, true));
    if again {
        return Err(QueryError::evaluation(
            "multiple matches for labels: grouping labels must ensure unique matches",
        ));
    }
    Ok(())
}

/// Two series of the one side are an error also where nothing on the other side matches them.
fn check_one_side(
    side: &OneSide,
    many_present: &[bool],
    matching: &VectorMatching,
    swapped: bool,
) -> Evaluated<()> {
    for (group, rows) in side.groups.iter().enumerate() {
        if rows.len() < 2 {
            continue;
        }
        for (step, _) in many_present.iter().enumerate().filter(|(_, present)| **present) {
            if let Err(pair) = side.at(group, step) {
                return Err(duplicate(side, pair, matching, swapped));
            }
        }
    }
    Ok(())
}

fn duplicate(side: &OneSide, pair: (usize, usize), matching: &VectorMatching, swapped: bool) -> QueryError {
    let labels = |at: usize| {
        side.rows
            .get(at)
            .map(|row| row.labels.clone())
            .unwrap_or_default()
    };
    let (first, second) = (labels(pair.0), labels(pair.1));
    let group = signature(matching, &second);
    let hand = if swapped { "left" } else { "right" };
    QueryError::evaluation(format!(
        "found duplicate series for the match group {group} on the {hand} hand-side of the operation: [{second}, {first}];many-to-many matching not allowed: matching labels must be unique on one side"
    ))
}
