//! Binary operations.

use sabre_promql::ast::{Binary, Cardinality, Operator, VectorMatching};
use sabre_promql::function::ValueType;
use sabre_promql::histogram::CounterResetHint;

use super::{Cell, Labels, Reference, Result, Row, merge, unnamed};

fn compare(op: Operator, a: f64, b: f64) -> bool {
    match op {
        Operator::Eq => a == b,
        Operator::Neq => a != b,
        Operator::Lss => a < b,
        Operator::Lte => a <= b,
        Operator::Gtr => a > b,
        Operator::Gte => a >= b,
        _ => panic!("{op:?} does not compare"),
    }
}

fn arithmetic(op: Operator, a: f64, b: f64) -> f64 {
    match op {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div => a / b,
        Operator::Mod => a % b,
        Operator::Pow => a.powf(b),
        Operator::Atan2 => a.atan2(b),
        _ => panic!("{op:?} does not compute"),
    }
}

pub(crate) fn scalars(op: Operator, a: f64, b: f64) -> f64 {
    if op.is_comparison() {
        return f64::from(u8::from(compare(op, a, b)));
    }
    arithmetic(op, a, b)
}

/// The value (of a comparison the left one) and whether it is kept; `None` where the values do not go together.
fn operate(op: Operator, left: &Cell, right: &Cell) -> Option<(Cell, bool)> {
    match (left, right) {
        (Cell::Float(a), Cell::Float(b)) if op.is_comparison() => Some((left.clone(), compare(op, *a, *b))),
        (Cell::Float(a), Cell::Float(b)) => Some((Cell::Float(arithmetic(op, *a, *b)), true)),
        (Cell::Float(x), Cell::Histogram(h)) | (Cell::Histogram(h), Cell::Float(x))
            if op == Operator::Mul =>
        {
            Some((Cell::Histogram(h.clone().scaled(*x).compacted()), true))
        }
        (Cell::Histogram(h), Cell::Float(x)) if op == Operator::Div => {
            Some((Cell::Histogram(h.clone().divided(*x).compacted()), true))
        }
        (Cell::Histogram(a), Cell::Histogram(b)) => match op {
            Operator::Eq => Some((left.clone(), a.equals(b))),
            Operator::Neq => Some((left.clone(), !a.equals(b))),
            Operator::Add | Operator::Sub => {
                let minus = op == Operator::Sub;
                let (mut sum, collision) = a.clone().plus(b, if minus { -1.0 } else { 1.0 })?;
                if collision {
                    return None;
                }
                if minus {
                    sum.hint = CounterResetHint::Gauge;
                }
                Some((Cell::Histogram(sum.compacted()), true))
            }
            _ => None,
        },
        _ => None,
    }
}

fn signature(matching: &VectorMatching, labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    labels.retain(|name, _| {
        matching.labels.contains(name) == matching.on && (matching.on || name != "__name__")
    });
    labels
}

impl Reference<'_> {
    pub(crate) fn binary(&self, e: &Binary, times: &[i64]) -> Result<Vec<Row>> {
        match (e.lhs.value_type(), e.rhs.value_type()) {
            (ValueType::Vector, ValueType::Vector) => {
                let (left, right) = (self.vector(&e.lhs, times)?, self.vector(&e.rhs, times)?);
                let matching = e.matching.as_ref().unwrap();
                if e.op.is_set() {
                    set(e.op, matching, left, &right)
                } else {
                    match_rows(e, matching, left, right, times.len())
                }
            }
            (ValueType::Vector, _) => {
                let scalars = self.scalar(&e.rhs, times)?;
                with_scalar(e, self.vector(&e.lhs, times)?, &scalars, false)
            }
            _ => {
                let scalars = self.scalar(&e.lhs, times)?;
                with_scalar(e, self.vector(&e.rhs, times)?, &scalars, true)
            }
        }
    }
}

fn with_scalar(e: &Binary, rows: Vec<Row>, scalars: &[f64], swapped: bool) -> Result<Vec<Row>> {
    let mut out = Vec::new();
    for row in rows {
        let value = |(step, cell): (usize, &Option<Cell>)| {
            let cell = cell.clone()?;
            let scalar = Cell::Float(scalars[step]);
            let (left, right) = if swapped {
                (&scalar, &cell)
            } else {
                (&cell, &scalar)
            };
            let (result, keep) = operate(e.op, left, right)?;
            if e.return_bool {
                return Some(Cell::Float(f64::from(u8::from(keep))));
            }
            let result = if e.op.is_comparison() {
                cell.clone()
            } else {
                result
            };
            keep.then_some(result)
        };
        let renames = e.return_bool || !e.op.is_comparison();
        out.push(Row {
            cells: row.cells.iter().enumerate().map(value).collect(),
            labels: if renames { unnamed(&row.labels) } else { row.labels },
        });
    }
    merge(out)
}

fn set(op: Operator, matching: &VectorMatching, left: Vec<Row>, right: &[Row]) -> Result<Vec<Row>> {
    let present = |rows: &[Row], of: &Row, step: usize| {
        let wanted = signature(matching, &of.labels);
        rows.iter()
            .any(|row| signature(matching, &row.labels) == wanted && row.cells[step].is_some())
    };
    let filtered = |rows: &[Row], by: &[Row], wanted: bool| -> Vec<Row> {
        let mut rows = rows.to_vec();
        for row in &mut rows {
            for step in 0..row.cells.len() {
                if present(by, row, step) != wanted {
                    row.cells[step] = None;
                }
            }
        }
        rows
    };
    match op {
        Operator::And => merge(filtered(&left, right, true)),
        Operator::Unless => merge(filtered(&left, right, false)),
        _ => {
            let rest = filtered(right, &left, false);
            merge(left.into_iter().chain(rest).collect())
        }
    }
}

fn result_labels(e: &Binary, matching: &VectorMatching, many: &Labels, one: &Labels) -> Labels {
    let mut labels = many.clone();
    if !e.op.is_comparison() || e.return_bool {
        labels.remove("__name__");
    }
    if matching.card == Cardinality::OneToOne {
        labels.retain(|name, _| matching.labels.contains(name) == matching.on);
    }
    for name in &matching.include {
        labels.remove(name);
        labels.extend(one.get(name).map(|value| (name.clone(), value.clone())));
    }
    if e.return_bool {
        labels.remove("__name__");
    }
    labels
}

fn match_rows(
    e: &Binary,
    matching: &VectorMatching,
    left: Vec<Row>,
    right: Vec<Row>,
    steps: usize,
) -> Result<Vec<Row>> {
    let swapped = matching.card == Cardinality::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let mut out: Vec<Row> = Vec::new();
    let mut row_at = |labels: Labels| match out.iter().position(|row: &Row| row.labels == labels) {
        Some(at) => at,
        None => {
            out.push(Row {
                labels,
                cells: vec![None; steps],
            });
            out.len() - 1
        }
    };
    let mut values: Vec<(usize, usize, Cell)> = Vec::new();
    // Rows come in the order of the many side, whatever the step.
    let mut found: Vec<(usize, usize, usize, Cell)> = Vec::new();
    for step in 0..steps {
        if !many.iter().any(|row| row.cells[step].is_some()) {
            continue;
        }
        let here: Vec<&Row> = one.iter().filter(|row| row.cells[step].is_some()).collect();
        for (i, a) in here.iter().enumerate() {
            if here[..i]
                .iter()
                .any(|b| signature(matching, &a.labels) == signature(matching, &b.labels))
            {
                return Err("many-to-many matching not allowed".to_owned());
            }
        }
        let mut taken: Vec<(Labels, Labels)> = Vec::new();
        for (number, row) in many.iter().enumerate() {
            let Some(cell) = &row.cells[step] else { continue };
            let wanted = signature(matching, &row.labels);
            let Some((at, other)) = one.iter().enumerate().find(|(_, other)| {
                other.cells[step].is_some() && signature(matching, &other.labels) == wanted
            }) else {
                continue;
            };
            let other_cell = other.cells[step].clone().unwrap();
            let (left, right) = if swapped {
                (&other_cell, cell)
            } else {
                (cell, &other_cell)
            };
            let Some((result, keep)) = operate(e.op, left, right) else {
                continue;
            };
            let labels = result_labels(e, matching, &row.labels, &other.labels);
            let pair = match matching.card {
                Cardinality::OneToOne => (wanted, Labels::new()),
                _ => (wanted, labels.clone()),
            };
            if taken.contains(&pair) {
                return Err("multiple matches for labels".to_owned());
            }
            taken.push(pair);
            let result = if e.return_bool {
                Cell::Float(f64::from(u8::from(keep)))
            } else {
                result
            };
            if keep || e.return_bool {
                found.push((number, step, at, result));
            }
        }
    }
    found.sort_by_key(|(number, step, _, _)| (*number, *step));
    for (number, step, at, result) in found {
        let labels = result_labels(e, matching, &many[number].labels, &one[at].labels);
        values.push((row_at(labels), step, result));
    }
    for (row, step, result) in values {
        let place = &mut out[row].cells[step];
        if place.is_some() {
            return Err(super::SAME_LABELSET.to_owned());
        }
        *place = Some(result);
    }
    merge(out)
}
