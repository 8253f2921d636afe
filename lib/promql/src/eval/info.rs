//! `info(v, {...})`: the labels of info metrics, such as `target_info`, laid over the series of the same target.

mod find;

use std::collections::{BTreeMap, HashMap};

use sabre_model::selector::METRIC_NAME;
use sabre_model::{Labels, Matcher};

use super::evaluator::{Around, Evaluator, Sink};
use super::labels::{keep, metric_name};
use super::merge::Merger;
use super::{Grid, Row};
use crate::ast::{Call, Expr};
use crate::error::{Evaluated, QueryError};

/// The labels by which a series finds what is known of its target.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The info metric that is meant where none is named.
const TARGET_INFO: &str = "target_info";

/// What is wanted of info metrics.
struct Wanted {
    /// What the second argument says about their names; if nothing, it is `target_info` that is meant.
    names: Vec<Matcher>,
    /// What it says about other labels; only these are laid over, or all if there are none.
    data: Vec<Matcher>,
    /// Series whose name satisfies one of these are info metrics themselves, and stay as they are.
    untouched: Vec<Matcher>,
}

/// Info series with the same name and the same identifying labels.
struct Group {
    name: String,
    /// Their rows, in the order in which they came. A place holds the time of the sample in milliseconds.
    rows: Vec<usize>,
}

/// The info series.
struct Infos {
    rows: Vec<Row>,
    groups: Vec<Group>,
    /// The groups of a target, in the order of their names.
    by_target: HashMap<Labels, Vec<usize>>,
}

impl Wanted {
    fn new(call: &Call) -> Wanted {
        match call.args.get(1) {
            Some(Expr::Vector(selector)) => {
                let matchers = selector.matchers.iter().cloned();
                let (names, data): (Vec<_>, Vec<_>) = matchers.partition(|m| m.name() == METRIC_NAME);
                Wanted {
                    untouched: names.clone(),
                    names,
                    data,
                }
            }
            _ => Wanted {
                names: Vec::new(),
                data: Vec::new(),
                untouched: vec![Matcher::equal(METRIC_NAME, TARGET_INFO)],
            },
        }
    }

    /// Whether a series is an info metric itself.
    fn is_untouched(&self, labels: &Labels) -> bool {
        let name = metric_name(labels);
        self.untouched.iter().any(|matcher| matcher.matches(name))
    }

    fn takes(&self, label: &str) -> bool {
        self.data.is_empty() || self.data.iter().any(|matcher| matcher.name() == label)
    }
}

fn target(labels: &Labels) -> Labels {
    keep(labels, &IDENTIFYING.map(str::to_owned))
}

impl Infos {
    fn new(rows: Vec<Row>) -> Infos {
        let mut infos = Infos {
            rows: Vec::new(),
            groups: Vec::new(),
            by_target: HashMap::new(),
        };
        for (at, row) in rows.iter().enumerate() {
            infos.group(row).rows.push(at);
        }
        let groups = &infos.groups;
        for of_target in infos.by_target.values_mut() {
            of_target.sort_by_key(|group| groups.get(*group).map(|group| group.name.as_str()));
        }
        infos.rows = rows;
        infos
    }

    /// The group of a row, made if there is none.
    fn group(&mut self, row: &Row) -> &mut Group {
        let name = metric_name(&row.labels);
        let of_target = self.by_target.entry(target(&row.labels)).or_default();
        let groups = &mut self.groups;
        let known = of_target
            .iter()
            .copied()
            .find(|group| groups.get(*group).is_some_and(|group| group.name == name));
        let at = known.unwrap_or_else(|| {
            of_target.push(groups.len());
            groups.push(Group {
                name: name.to_owned(),
                rows: Vec::new(),
            });
            groups.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or made above")]
        &mut groups[at]
    }

    /// The row of a group with the newest sample at a step. Equally new ones are an error.
    fn newest(&self, group: &Group, step: usize) -> Evaluated<Option<usize>> {
        let mut newest: Option<(usize, f64)> = None;
        for at in &group.rows {
            let Some(row) = self.rows.get(*at).filter(|row| row.has(step)) else {
                continue;
            };
            let time_ms = row.floats.get(step).copied().unwrap_or_default();
            match newest {
                Some((other, other_ms)) if other_ms == time_ms => {
                    let existing = self.rows.get(other).map(|row| &row.labels);
                    return Err(duplicate(existing, &row.labels, time_ms));
                }
                Some((_, other_ms)) if other_ms > time_ms => {}
                _ => newest = Some((*at, time_ms)),
            }
        }
        Ok(newest.map(|(at, _)| at))
    }

    /// The newest series of each info metric of a target at a step.
    fn of_target(&self, target: &Labels, step: usize, found: &mut Vec<usize>) -> Evaluated<()> {
        found.clear();
        for group in self.by_target.get(target).into_iter().flatten() {
            if let Some(group) = self.groups.get(*group) {
                found.extend(self.newest(group, step)?);
            }
        }
        Ok(())
    }

    /// Two equally new series are an error also where no series is of their target.
    fn check(&self, present: &[bool]) -> Evaluated<()> {
        for group in self.groups.iter().filter(|group| group.rows.len() > 1) {
            for (step, _) in present.iter().enumerate().filter(|(_, present)| **present) {
                self.newest(group, step)?;
            }
        }
        Ok(())
    }

    /// A series' labels with those of some info series laid over; `None` if something is wanted that none has.
    fn laid_over(&self, labels: &Labels, found: &[usize], wanted: &Wanted) -> Evaluated<Option<Labels>> {
        let mut added: BTreeMap<&str, &str> = BTreeMap::new();
        for row in found.iter().filter_map(|at| self.rows.get(*at)) {
            for (name, value) in row.labels.iter() {
                if name == METRIC_NAME || !wanted.takes(name) {
                    continue;
                }
                if added.get(name).is_some_and(|other| *other != value) {
                    return Err(QueryError::evaluation(format!("conflicting label: {name}")));
                }
                if labels.get(name).is_none() {
                    added.insert(name, value);
                }
            }
        }
        // Prometheus 3.9 also leaves a series out that has the wanted labels itself.
        if added.is_empty() && !wanted.data.iter().all(Matcher::matches_empty) {
            return Ok(None);
        }
        let mut labels = labels.clone();
        for (name, value) in added {
            labels = labels.with(name, value);
        }
        Ok(Some(labels))
    }
}

fn duplicate(existing: Option<&Labels>, new: &Labels, time_ms: f64) -> QueryError {
    let existing = existing.cloned().unwrap_or_default();
    QueryError::evaluation(format!(
        "found duplicate series for info metric: existing {existing} @ {time_ms}, new {new} @ {time_ms}"
    ))
}

impl Evaluator<'_> {
    pub(super) fn info(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let Some(arg) = call.args.first() else {
            return Ok(());
        };
        let (rows, _reserved) = self.collect(arg, grid, &Around::function(call.function))?;
        let mut wanted = Wanted::new(call);
        let (infos, _infos_reserved) = match self.info_series(arg, &rows, &wanted, grid)? {
            Some((infos, reserved)) => (Infos::new(infos), reserved),
            None => {
                // Without a target there are no info metrics, and a name that is wanted is like a label.
                wanted.data.append(&mut wanted.names);
                (Infos::new(Vec::new()), self.reservation())
            }
        };
        let present: Vec<bool> = (0..grid.count)
            .map(|step| rows.iter().any(|row| row.has(step)))
            .collect();
        infos.check(&present)?;
        let mut merger = Merger::new(grid.count, self.reservation());
        for row in rows {
            if wanted.is_untouched(&row.labels) {
                merger.add(Row {
                    drop_name: false,
                    ..row
                })?;
            } else {
                enrich(&row, &infos, &wanted, &mut merger)?;
            }
        }
        merger.finish().0.into_iter().try_for_each(sink)
    }
}

/// Adds the values of a row under the labels that its target has at each step.
fn enrich(row: &Row, infos: &Infos, wanted: &Wanted, merger: &mut Merger<'_>) -> Evaluated<()> {
    let target = target(&row.labels);
    let mut found = Vec::new();
    // What was found at the step before, and the row of the result for it.
    let mut known: Option<(Vec<usize>, Option<usize>)> = None;
    for step in 0..row.floats.len() {
        let Some(cell) = row.get(step) else { continue };
        infos.of_target(&target, step, &mut found)?;
        let at = match &known {
            Some((same, at)) if *same == found => *at,
            _ => {
                let labels = infos.laid_over(&row.labels, &found, wanted)?;
                let at = labels.map(|labels| merger.row(labels, false)).transpose()?;
                known = Some((found.clone(), at));
                at
            }
        };
        if let Some(at) = at {
            merger.set(at, step, cell)?;
        }
    }
    Ok(())
}
