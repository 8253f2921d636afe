//! Ranges and the functions that change with the distance of samples.

use sabre_model::MatchKind;
use sabre_promql::ast::{Call, Expr};
use sabre_promql::function::{Function, ValueType};
use sabre_promql::histogram::CounterResetHint;
use sabre_tsdb::stale::is_stale;

use super::{Cell, Histogram, Labels, Reference, Result, Row, merge, ms, unnamed};

/// The samples of a window, and its bounds.
pub(crate) struct Window<'w> {
    pub(crate) samples: &'w [(i64, Cell)],
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) range_s: f64,
}

impl Window<'_> {
    pub(crate) fn floats(&self) -> Vec<(i64, f64)> {
        let float = |(t, cell): &(i64, Cell)| match cell {
            Cell::Float(value) => Some((*t, *value)),
            Cell::Histogram(_) => None,
        };
        self.samples.iter().filter_map(float).collect()
    }

    pub(crate) fn histograms(&self) -> Vec<(i64, &Histogram)> {
        let mut found = Vec::new();
        for (t, cell) in self.samples {
            if let Cell::Histogram(h) = cell {
                found.push((*t, h));
            }
        }
        found
    }
}

/// A series with all samples that some step may look at.
type Series = (Labels, Vec<(i64, Cell)>);

impl Reference<'_> {
    /// The series of a range vector, where the range of each step ends, and how long it is.
    fn ranges(&self, arg: &Expr, times: &[i64]) -> Result<(Vec<Series>, Vec<i64>, i64)> {
        let not_stale = |(_, cell): &(i64, Cell)| match cell {
            Cell::Float(value) => !is_stale(*value),
            Cell::Histogram(h) => !is_stale(h.sum),
        };
        match arg {
            Expr::Matrix(e) => {
                let mut series = self.select(&e.selector);
                series
                    .iter_mut()
                    .for_each(|(_, samples)| samples.retain(not_stale));
                let end = |t: &i64| self.reference_time(e.selector.at, &e.selector.offset, *t);
                Ok((series, times.iter().map(end).collect(), ms(&e.range)))
            }
            Expr::Subquery(e) => {
                let ends: Vec<i64> = times
                    .iter()
                    .map(|t| self.reference_time(e.at, &e.offset, *t))
                    .collect();
                let range = ms(&e.range);
                let step = if ms(&e.step) == 0 { 60_000 } else { ms(&e.step) };
                let first = ends[0] - range;
                let last = *ends.last().unwrap();
                let mut inner = Vec::new();
                let mut t = first / step * step;
                while t <= last {
                    if t > first {
                        inner.push(t);
                    }
                    t += step;
                }
                let rows = self.vector(&e.expr, &inner)?;
                let series = rows.into_iter().map(|row| {
                    let samples = inner
                        .iter()
                        .zip(row.cells)
                        .filter_map(|(t, cell)| Some((*t, unhinted(cell?))));
                    (row.labels, samples.collect())
                });
                Ok((series.collect(), ends, range))
            }
            other => Err(format!("{other} is no range")),
        }
    }

    pub(crate) fn range_call(&self, call: &Call, times: &[i64]) -> Result<Vec<Row>> {
        let arg = call
            .args
            .iter()
            .find(|arg| arg.value_type() == ValueType::Matrix)
            .unwrap();
        let scalars = self.scalars_of(call, times)?;
        let (series, ends, range) = self.ranges(arg, times)?;
        let extended = match arg {
            Expr::Matrix(e) if e.selector.anchored || e.selector.smoothed => Some(&e.selector),
            _ => None,
        };
        if let Some(selector) = extended {
            use Function::{Changes, Delta, Increase, Rate, Resets};
            let allowed = match call.function {
                Rate | Increase | Delta => true,
                Changes | Resets => selector.anchored,
                _ => false,
            };
            if !allowed {
                return Err(format!("not with {}", call.function.name()));
            }
        }
        let mut rows = Vec::new();
        for (labels, samples) in series {
            let mut cells = Vec::new();
            for (step, end) in ends.iter().enumerate() {
                if let Some(selector) = extended {
                    cells.push(self.extended(call.function, selector, &samples, (end - range, *end))?);
                    continue;
                }
                let inside: Vec<(i64, Cell)> = samples
                    .iter()
                    .filter(|(t, _)| *t > end - range && t <= end)
                    .cloned()
                    .collect();
                let window = Window {
                    samples: &inside,
                    start: end - range,
                    end: *end,
                    range_s: range as f64 / 1000.0,
                };
                let scalars: Vec<f64> = scalars.iter().map(|values| values[step]).collect();
                cells.push(if inside.is_empty() {
                    None
                } else {
                    apply(call.function, &window, times[step], &scalars)?
                });
            }
            let keeps = matches!(call.function, Function::LastOverTime | Function::FirstOverTime);
            rows.push(Row {
                labels: if keeps { labels } else { unnamed(&labels) },
                cells,
            });
        }
        if call.function == Function::AbsentOverTime {
            return Ok(self.absent_row(arg, &rows, times.len()));
        }
        rows.retain(|row| row.cells.iter().any(Option::is_some));
        for (i, row) in rows.iter().enumerate() {
            if rows[..i].iter().any(|other| other.labels == row.labels) {
                return Err(super::SAME_LABELSET.to_owned());
            }
        }
        Ok(rows)
    }

    pub(crate) fn absent_row(&self, arg: &Expr, rows: &[Row], steps: usize) -> Vec<Row> {
        let matchers = match arg {
            Expr::Vector(e) => e.matchers.clone(),
            Expr::Matrix(e) => e.selector.matchers.clone(),
            _ => Vec::new(),
        };
        let mut labels = Labels::new();
        let mut seen = Vec::new();
        for matcher in matchers.iter().filter(|matcher| matcher.name() != "__name__") {
            let name = matcher.name().to_owned();
            if matcher.kind() == MatchKind::Eq && !seen.contains(&name) {
                labels.insert(name.clone(), matcher.value().to_owned());
                seen.push(name);
            } else {
                labels.remove(&name);
            }
        }
        labels.retain(|_, value| !value.is_empty());
        let absent = |step: usize| {
            let present = rows.iter().any(|row| row.cells[step].is_some());
            (!present).then_some(Cell::Float(1.0))
        };
        let row = Row {
            labels,
            cells: (0..steps).map(absent).collect(),
        };
        merge(vec![row]).unwrap_or_default()
    }
}

fn unhinted(cell: Cell) -> Cell {
    match cell {
        Cell::Histogram(mut h) => {
            if h.hint != CounterResetHint::Gauge {
                h.hint = CounterResetHint::Unknown;
            }
            Cell::Histogram(h)
        }
        other => other,
    }
}

fn apply(function: Function, window: &Window<'_>, t: i64, scalars: &[f64]) -> Result<Option<Cell>> {
    match function {
        Function::Rate | Function::Increase | Function::Delta => Ok(extrapolated(function, window)),
        Function::Irate | Function::Idelta => Ok(of_last_two(window, function == Function::Irate)),
        other => super::over_time::apply(other, window, t, scalars),
    }
}

fn extrapolated(function: Function, window: &Window<'_>) -> Option<Cell> {
    let is_counter = function != Function::Delta;
    let (floats, histograms) = (window.floats(), window.histograms());
    if !floats.is_empty() && !histograms.is_empty() {
        return None;
    }
    let factor = |first_t: i64, last_t: i64, count: usize, zero: Option<f64>| {
        let interval = (last_t - first_t) as f64 / 1000.0;
        let mean = interval / (count - 1) as f64;
        let limited = |distance: f64| {
            if distance >= mean * 1.1 {
                mean / 2.0
            } else {
                distance
            }
        };
        let mut before = limited((first_t - window.start) as f64 / 1000.0);
        if let Some(part) = zero.filter(|part| interval * part < before) {
            before = interval * part;
        }
        let factor = (interval + before + limited((window.end - last_t) as f64 / 1000.0)) / interval;
        if function == Function::Rate {
            factor / window.range_s
        } else {
            factor
        }
    };
    if floats.len() > 1 {
        let (first, last) = (floats[0], floats[floats.len() - 1]);
        let mut change = last.1 - first.1;
        for pair in floats.windows(2) {
            if is_counter && pair[1].1 < pair[0].1 {
                change += pair[0].1;
            }
        }
        let zero = (is_counter && change > 0.0 && first.1 >= 0.0).then(|| first.1 / change);
        return Some(Cell::Float(change * factor(first.0, last.0, floats.len(), zero)));
    }
    if histograms.len() < 2 {
        return None;
    }
    let (first, last) = (histograms[0], histograms[histograms.len() - 1]);
    let mut start = first.1.clone();
    if is_counter && histograms[1].1.is_reset(first.1) {
        start = Histogram {
            count: 0.0,
            sum: 0.0,
            zero: 0.0,
            threshold: 0.0,
            positive: Default::default(),
            negative: Default::default(),
            hint: CounterResetHint::Unknown,
            ..histograms[1].1.clone()
        };
    }
    let custom = start.schema == super::histogram::CUSTOM;
    let relevant = if is_counter {
        &histograms[1..]
    } else {
        &histograms[histograms.len() - 1..]
    };
    if relevant
        .iter()
        .any(|(_, h)| (h.schema == super::histogram::CUSTOM) != custom)
    {
        return None;
    }
    let schema = relevant
        .iter()
        .map(|(_, h)| h.schema)
        .chain([start.schema])
        .min()?;
    let mut change = last.1.clone().in_schema(schema).plus(&start, -1.0)?.0;
    if is_counter {
        let mut previous = &start;
        for (_, h) in &histograms[1..] {
            if h.is_reset(previous) {
                change = change.plus(previous, 1.0)?.0;
            }
            previous = h;
        }
    }
    change.hint = CounterResetHint::Gauge;
    let change = change.compacted();
    let zero =
        (is_counter && change.count > 0.0 && first.1.count >= 0.0).then(|| first.1.count / change.count);
    let factor = factor(first.0, last.0, histograms.len(), zero);
    Some(Cell::Histogram(change.scaled(factor)))
}

fn of_last_two(window: &Window<'_>, is_rate: bool) -> Option<Cell> {
    let [.., (previous_t, previous), (last_t, last)] = window.samples else {
        return None;
    };
    let seconds = (last_t - previous_t) as f64 / 1000.0;
    match (previous, last) {
        (Cell::Float(previous), Cell::Float(last)) => {
            let change = if is_rate && last < previous {
                *last
            } else {
                last - previous
            };
            Some(Cell::Float(if is_rate { change / seconds } else { change }))
        }
        (Cell::Histogram(previous), Cell::Histogram(last)) => {
            let mut change = last.clone();
            if !is_rate || !last.is_reset(previous) {
                change = change.plus(previous, -1.0)?.0;
            }
            change.hint = CounterResetHint::Gauge;
            let change = change.compacted();
            Some(Cell::Histogram(if is_rate {
                change.divided(seconds)
            } else {
                change
            }))
        }
        _ => None,
    }
}
