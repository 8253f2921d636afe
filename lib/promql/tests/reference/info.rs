//! `info`: for each series and step, all info series are gone through.

use std::collections::BTreeSet;

use sabre_model::Matcher;
use sabre_promql::ast::{Call, Expr, VectorSelector};
use sabre_tsdb::stale::is_stale;

use super::{Cell, Labels, Reference, Result, Row, SAME_LABELSET};

const TARGET: [&str; 2] = ["instance", "job"];

/// The first selector of an expression.
fn first_selector(expr: &Expr) -> Option<&VectorSelector> {
    match expr {
        Expr::Vector(selector) => Some(selector),
        Expr::Matrix(matrix) => Some(&matrix.selector),
        Expr::Aggregate(e) => first_selector(&e.expr).or(e.param.as_ref().and_then(first_selector)),
        other => other.children().into_iter().find_map(first_selector),
    }
}

fn get<'l>(labels: &'l Labels, name: &str) -> &'l str {
    labels.get(name).map_or("", String::as_str)
}

impl Reference<'_> {
    pub(crate) fn info(&self, call: &Call, times: &[i64]) -> Result<Vec<Row>> {
        let rows = self.vector(&call.args[0], times)?;
        let asked = match call.args.get(1) {
            Some(Expr::Vector(selector)) => selector.matchers.clone(),
            _ => vec![Matcher::equal("__name__", "target_info")],
        };
        let of_name = |matcher: &&Matcher| matcher.name() == "__name__";
        let is_info = |labels: &Labels| {
            let name = get(labels, "__name__");
            asked.iter().filter(of_name).any(|matcher| matcher.matches(name))
        };
        let mut values = [BTreeSet::new(), BTreeSet::new()];
        for row in rows.iter().filter(|row| !is_info(&row.labels)) {
            for (values, label) in values.iter_mut().zip(TARGET) {
                values.extend(row.labels.get(label).cloned());
            }
        }
        let known = values.iter().any(|values| !values.is_empty());
        let infos = if known {
            self.info_series(call, &asked, &values, times)?
        } else {
            Vec::new()
        };
        let wanted: Vec<&Matcher> = asked.iter().filter(|m| !known || !of_name(m)).collect();
        let wanted = if call.args.len() > 1 { wanted } else { Vec::new() };
        let mut out: Vec<Row> = Vec::new();
        for step in 0..times.len() {
            if rows.iter().any(|row| row.cells[step].is_some()) {
                only_one_is_newest(&infos, step)?;
            }
            for row in &rows {
                let Some(cell) = &row.cells[step] else { continue };
                let labels = if is_info(&row.labels) {
                    Some(row.labels.clone())
                } else {
                    enriched(&row.labels, &infos, step, &wanted)?
                };
                let Some(labels) = labels else { continue };
                let known = out.iter().position(|row| row.labels == labels);
                let at = known.unwrap_or(out.len());
                if known.is_none() {
                    let cells = vec![None; times.len()];
                    out.push(Row { labels, cells });
                }
                if out[at].cells[step].replace(cell.clone()).is_some() {
                    return Err(SAME_LABELSET.to_owned());
                }
            }
        }
        Ok(out)
    }

    /// The info series with the times of their samples.
    fn info_series(
        &self,
        call: &Call,
        asked: &[Matcher],
        values: &[BTreeSet<String>; 2],
        times: &[i64],
    ) -> Result<Vec<(Labels, Vec<Option<i64>>)>> {
        let named = asked.iter().any(|matcher| matcher.name() == "__name__");
        let (mut first, mut last) = (times[0], *times.last().unwrap());
        if let Some(selector) = first_selector(&call.args[0]) {
            first = self.reference_time(selector.at, &selector.offset, first);
            last = self.reference_time(selector.at, &selector.offset, last);
        }
        let everything = VectorSelector {
            matchers: Vec::new(),
            ..first_selector(&sabre_promql::parse("x", Default::default()).unwrap())
                .unwrap()
                .clone()
        };
        let mut found = Vec::new();
        for (labels, samples) in self.select(&everything) {
            let is_meant = (named || get(&labels, "__name__") == "target_info")
                && asked.iter().all(|m| m.matches(get(&labels, m.name())))
                && (values.iter().zip(TARGET))
                    .all(|(values, label)| values.is_empty() || values.contains(get(&labels, label)));
            if !is_meant {
                continue;
            }
            let mut seen = Vec::new();
            for t in times {
                let newest = samples
                    .iter()
                    .rfind(|(at, _)| at <= t && *at > first - self.lookback && *at <= last);
                seen.push(match newest {
                    Some((at, Cell::Float(value))) if *at > t - self.lookback && !is_stale(*value) => {
                        Some(*at)
                    }
                    Some((at, Cell::Histogram(h))) if *at > t - self.lookback && !is_stale(h.sum) => {
                        return Err("this should be an info metric, with float samples".to_owned());
                    }
                    _ => None,
                });
            }
            found.push((labels, seen));
        }
        Ok(found)
    }
}

fn same_key(a: &Labels, b: &Labels) -> bool {
    let keys = ["__name__", TARGET[0], TARGET[1]];
    keys.iter().all(|name| get(a, name) == get(b, name))
}

fn only_one_is_newest(infos: &[(Labels, Vec<Option<i64>>)], step: usize) -> Result<()> {
    for (i, (labels, seen)) in infos.iter().enumerate() {
        let Some(t) = seen[step] else { continue };
        let before = infos[..i].iter().filter(|(other, _)| same_key(other, labels));
        if before.filter_map(|(_, seen)| seen[step]).max() == Some(t) {
            return Err("found duplicate series for info metric".to_owned());
        }
    }
    Ok(())
}

fn enriched(
    labels: &Labels,
    infos: &[(Labels, Vec<Option<i64>>)],
    step: usize,
    wanted: &[&Matcher],
) -> Result<Option<Labels>> {
    let mut added = Labels::new();
    for (info, seen) in infos {
        let Some(t) = seen[step] else { continue };
        let is_of_target = TARGET.iter().all(|name| get(info, name) == get(labels, name));
        let is_newest = infos
            .iter()
            .all(|(other, seen)| !same_key(other, info) || seen[step].is_none_or(|other| other <= t));
        if !is_of_target || !is_newest {
            continue;
        }
        for (name, value) in info {
            let is_wanted = wanted.is_empty() || wanted.iter().any(|matcher| matcher.name() == name);
            if name == "__name__" || !is_wanted || labels.contains_key(name) {
                continue;
            }
            if added
                .insert(name.clone(), value.clone())
                .is_some_and(|old| old != *value)
            {
                return Err("conflicting label: ".to_owned());
            }
        }
    }
    if added.is_empty() && wanted.iter().any(|matcher| !matcher.matches("")) {
        return Ok(None);
    }
    added.extend(labels.clone());
    Ok(Some(added))
}
