//! Aggregations.

use sabre_promql::ast::{Aggregate, AggregateOp, Expr};

use super::functions::{kahan, quantile};
use super::{Cell, Histogram, Labels, Reference, Result, Row, merge};

fn group_of(e: &Aggregate, labels: &Labels) -> Labels {
    let mut group = labels.clone();
    group.retain(|name, _| e.grouping.contains(name) != e.without && !(e.without && name == "__name__"));
    group
}

impl Reference<'_> {
    pub(crate) fn aggregate(&self, e: &Aggregate, times: &[i64]) -> Result<Vec<Row>> {
        if let (AggregateOp::CountValues, Some(Expr::String(label))) = (e.op, &e.param) {
            return count_values(e, &label.value, self.vector(&e.expr, times)?, times.len());
        }
        let param = match &e.param {
            Some(param) => self.scalar(param, times)?,
            None => vec![f64::NAN; times.len()],
        };
        let rows = self.vector(&e.expr, times)?;
        if e.op.picks_series() {
            check_picked(e.op, &param)?;
            return pick(e, &param, &rows);
        }
        let mut groups: Vec<(Labels, Vec<Row>)> = Vec::new();
        for row in rows {
            let labels = group_of(e, &row.labels);
            match groups.iter_mut().find(|(group, _)| *group == labels) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((labels, vec![row])),
            }
        }
        let folded = groups.into_iter().map(|(labels, rows)| {
            let at = |step: usize| {
                let cells: Vec<&Cell> = rows.iter().filter_map(|row| row.cells[step].as_ref()).collect();
                fold(e.op, param[step], &cells)
            };
            Row {
                labels,
                cells: (0..times.len()).map(at).collect(),
            }
        });
        merge(folded.collect())
    }
}

fn fold(op: AggregateOp, param: f64, cells: &[&Cell]) -> Option<Cell> {
    let mut floats: Vec<f64> = Vec::new();
    let mut histograms: Vec<&Histogram> = Vec::new();
    for cell in cells {
        match cell {
            Cell::Float(value) => floats.push(*value),
            Cell::Histogram(h) => histograms.push(h),
        }
    }
    if cells.is_empty() {
        return None;
    }
    let result = match op {
        AggregateOp::Count => cells.len() as f64,
        AggregateOp::Group => 1.0,
        AggregateOp::Sum | AggregateOp::Avg if !histograms.is_empty() => {
            return histogram_total(op == AggregateOp::Avg, &floats, &histograms);
        }
        _ if floats.is_empty() => return None,
        AggregateOp::Sum => {
            let (mut sum, mut lost) = (floats[0], 0.0);
            for value in &floats[1..] {
                (sum, lost) = kahan(*value, sum, lost);
            }
            sum + lost
        }
        AggregateOp::Avg => super::functions::mean(&floats),
        AggregateOp::Min => extreme(&floats, |best, value| best > value),
        AggregateOp::Max => extreme(&floats, |best, value| best < value),
        AggregateOp::Stdvar => variance(&floats),
        AggregateOp::Stddev => variance(&floats).sqrt(),
        AggregateOp::Quantile => quantile(param, floats),
        _ => panic!("{op:?}"),
    };
    Some(Cell::Float(result))
}

fn histogram_total(mean: bool, floats: &[f64], histograms: &[&Histogram]) -> Option<Cell> {
    if !floats.is_empty() {
        return None;
    }
    let mut total = histograms[0].clone();
    for (i, h) in histograms.iter().enumerate().skip(1) {
        total = if mean {
            total.mean_with(h, (i + 1) as f64)?
        } else {
            total.plus(h, 1.0)?.0
        };
    }
    Some(Cell::Histogram(total.compacted()))
}

fn extreme(floats: &[f64], worse: impl Fn(f64, f64) -> bool) -> f64 {
    let mut best = floats[0];
    for value in &floats[1..] {
        if best.is_nan() || worse(best, *value) {
            best = *value;
        }
    }
    best
}

fn variance(floats: &[f64]) -> f64 {
    let mut mean = floats[0];
    let mut sum = if mean.is_finite() { 0.0 } else { f64::NAN };
    for (i, value) in floats.iter().enumerate().skip(1) {
        let delta = value - mean;
        mean += delta / (i + 1) as f64;
        sum += delta * (value - mean);
    }
    sum / floats.len() as f64
}

fn check_picked(op: AggregateOp, param: &[f64]) -> Result<()> {
    let has_nan = param.iter().any(|value| value.is_nan());
    let (least, most) = param.iter().fold((f64::MAX, f64::MIN), |(least, most), value| {
        (least.min(*value), most.max(*value))
    });
    if op == AggregateOp::LimitRatio {
        return if has_nan {
            Err("Ratio value is NaN".to_owned())
        } else {
            Ok(())
        };
    }
    if !has_nan && most < 1.0 {
        return Ok(());
    }
    if has_nan {
        Err("Parameter value is NaN".to_owned())
    } else if least <= -(2f64.powi(63)) {
        Err("underflows int64".to_owned())
    } else if most >= 2f64.powi(63) {
        Err("overflows int64".to_owned())
    } else {
        Ok(())
    }
}

/// What the steps keep of the rows. Of equal values the row that comes first is not always kept: a heap decides.
fn pick(e: &Aggregate, param: &[f64], rows: &[Row]) -> Result<Vec<Row>> {
    let mut out: Vec<Row> = rows
        .iter()
        .map(|row| Row {
            labels: row.labels.clone(),
            cells: vec![None; row.cells.len()],
        })
        .collect();
    let mut order = Vec::new();
    for (step, param) in param.iter().enumerate() {
        let mut groups: Vec<(Labels, Vec<usize>)> = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let Some(cell) = &row.cells[step] else { continue };
            let is_top = matches!(e.op, AggregateOp::Topk | AggregateOp::Bottomk);
            if is_top && matches!(cell, Cell::Histogram(_)) {
                continue;
            }
            let labels = group_of(e, &row.labels);
            match groups.iter_mut().find(|(group, _)| *group == labels) {
                Some((_, members)) => members.push(at),
                None => groups.push((labels, vec![at])),
            }
        }
        for (_, members) in groups {
            let value = |at: &usize| match rows[*at].cells[step] {
                Some(Cell::Float(value)) => value,
                _ => 0.0,
            };
            let kept: Vec<usize> = match e.op {
                AggregateOp::LimitRatio => members
                    .into_iter()
                    .filter(|at| *param != 0.0 && in_ratio(&rows[*at].labels, *param))
                    .collect(),
                AggregateOp::Limitk => members.into_iter().take(count(*param)).collect(),
                op => {
                    let smallest = op == AggregateOp::Bottomk;
                    let mut kept = heap_pick(&members, count(*param), &value, smallest);
                    kept.sort_by(|a, b| {
                        let (a, b) = (value(a), value(b));
                        let order = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
                        a.is_nan()
                            .cmp(&b.is_nan())
                            .then(if smallest { order } else { order.reverse() })
                    });
                    kept
                }
            };
            for at in kept {
                out[at].cells[step] = rows[at].cells[step].clone();
                order.push(at);
            }
        }
    }
    if param.len() == 1 {
        // The order of one step is that of its values, group by group.
        return merge(order.into_iter().map(|at| out[at].clone()).collect());
    }
    merge(out)
}

fn count(param: f64) -> usize {
    if param >= 1.0 { param as usize } else { 0 }
}

fn in_ratio(labels: &Labels, ratio: f64) -> bool {
    let ratio = ratio.clamp(-1.0, 1.0);
    let mut bytes = Vec::new();
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        match u8::try_from(text.len()) {
            Ok(length) if length < 255 => bytes.push(length),
            _ => {
                bytes.push(255);
                bytes.extend_from_slice(&text.len().to_le_bytes()[..3]);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    let offset = xxhash_rust::xxh64::xxh64(&bytes, 0) as f64 / u64::MAX as f64;
    if ratio >= 0.0 {
        offset < ratio
    } else {
        offset >= 1.0 + ratio
    }
}

/// A binary heap with the worst in front, as Go's library has it.
fn heap_pick(members: &[usize], k: usize, value: &dyn Fn(&usize) -> f64, smallest: bool) -> Vec<usize> {
    let worse = |a: &usize, b: &usize| {
        let (a, b) = (value(a), value(b));
        a.is_nan() || if smallest { a > b } else { a < b }
    };
    let mut heap: Vec<usize> = Vec::new();
    for member in members {
        if heap.len() < k {
            heap.push(*member);
            let mut at = heap.len() - 1;
            while at > 0 && worse(&heap[at], &heap[(at - 1) / 2]) {
                heap.swap(at, (at - 1) / 2);
                at = (at - 1) / 2;
            }
            continue;
        }
        let Some(front) = heap.first() else { continue };
        let (front, new) = (value(front), value(member));
        let better = if smallest { front > new } else { front < new };
        if better || (front.is_nan() && !new.is_nan()) {
            heap[0] = *member;
            let mut at = 0;
            while 2 * at + 1 < heap.len() {
                let mut child = 2 * at + 1;
                if child + 1 < heap.len() && worse(&heap[child + 1], &heap[child]) {
                    child += 1;
                }
                if !worse(&heap[child], &heap[at]) {
                    break;
                }
                heap.swap(at, child);
                at = child;
            }
        }
    }
    heap
}

fn count_values(e: &Aggregate, label: &str, rows: Vec<Row>, steps: usize) -> Result<Vec<Row>> {
    let mut out: Vec<Row> = Vec::new();
    for row in rows {
        for step in 0..steps {
            let Some(cell) = &row.cells[step] else { continue };
            let text = match cell {
                Cell::Float(value) if value.is_nan() => "NaN".to_owned(),
                Cell::Float(value) if value.is_infinite() => {
                    format!("{}Inf", if *value > 0.0 { '+' } else { '-' })
                }
                Cell::Float(value) => value.to_string(),
                Cell::Histogram(h) => super::functions::text_of(h),
            };
            let mut labels = row.labels.clone();
            labels.insert(label.to_owned(), text.clone());
            let mut group = group_of(e, &labels);
            if !e.without {
                group.insert(label.to_owned(), text);
            }
            let at = match out.iter().position(|row| row.labels == group) {
                Some(at) => at,
                None => {
                    out.push(Row {
                        labels: group,
                        cells: vec![None; steps],
                    });
                    out.len() - 1
                }
            };
            let place = &mut out[at].cells[step];
            *place = Some(Cell::Float(match place {
                Some(Cell::Float(count)) => *count + 1.0,
                _ => 1.0,
            }));
        }
    }
    merge(out)
}
