//! `anchored` and `smoothed`.

use sabre_promql::ast::VectorSelector;
use sabre_promql::function::Function;
use sabre_tsdb::stale::is_stale;

use super::{Cell, Reference, Result, Row};

/// The floats of a wide window; histograms are refused.
fn floats(samples: &[(i64, Cell)], after: i64, up_to: i64) -> Result<Vec<(i64, f64)>> {
    let mut floats = Vec::new();
    for (t, cell) in samples {
        match cell {
            Cell::Float(value) if *t > after && *t <= up_to && !is_stale(*value) => floats.push((*t, *value)),
            Cell::Histogram(h) if *t > after && *t <= up_to && !is_stale(h.sum) => {
                return Err("histograms".to_owned());
            }
            _ => {}
        }
    }
    Ok(floats)
}

fn on_line((at, low): (i64, f64), (behind, high): (i64, f64), t: i64) -> f64 {
    low + (high - low) * (t - at) as f64 / (behind - at) as f64
}

impl Reference<'_> {
    /// The value of each series on the line between its samples.
    pub(crate) fn smoothed(&self, selector: &VectorSelector, times: &[i64]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (labels, samples) in self.select(selector) {
            let mut cells = Vec::new();
            for t in times {
                let t = self.reference_time(selector.at, &selector.offset, *t);
                let near = floats(&samples, t - self.lookback, t + self.lookback)?;
                let before = near.iter().rfind(|(at, _)| *at <= t);
                let behind = near.iter().find(|(at, _)| *at >= t);
                cells.push(match (before, behind) {
                    (Some(before), Some(behind)) if behind.0 > before.0 => {
                        Some(Cell::Float(on_line(*before, *behind, t)))
                    }
                    (Some(before), _) => Some(Cell::Float(before.1)),
                    _ => None,
                });
            }
            rows.push(Row { labels, cells });
        }
        Ok(rows)
    }

    /// A function of one range of `samples`.
    pub(crate) fn extended(
        &self,
        function: Function,
        selector: &VectorSelector,
        samples: &[(i64, Cell)],
        (start, end): (i64, i64),
    ) -> Result<Option<Cell>> {
        let smoothed = selector.smoothed;
        let up_to = if smoothed { end + self.lookback } else { end };
        let near = floats(samples, start - self.lookback, up_to)?;
        let Some(last) = near.len().checked_sub(1) else {
            return Ok(None);
        };
        let from = (0..last).rev().find(|i| near[*i].0 <= start).unwrap_or(0);
        let to = if smoothed {
            (0..last).find(|i| near[*i].0 >= end).unwrap_or(last)
        } else {
            last
        };
        if near[to].0 <= start {
            return Ok(None);
        }
        let of_pairs = |count: &dyn Fn(f64, f64) -> bool| {
            let pairs = near[from..].windows(2);
            pairs.filter(|pair| count(pair[0].1, pair[1].1)).count() as f64
        };
        let is_counter = function != Function::Delta;
        let value = match function {
            Function::Changes => of_pairs(&|a, b| a != b && !(a.is_nan() && b.is_nan())),
            Function::Resets => of_pairs(&|a, b| b < a),
            _ => {
                let mut left = near[from].1;
                if smoothed && near[from].0 < start {
                    let (mut low, high) = (near[from], near[from + 1]);
                    if is_counter && high.1 < low.1 {
                        low.1 = 0.0;
                    }
                    left = on_line(low, high, start);
                }
                let mut right = near[to].1;
                if smoothed && to > 0 && near[to].0 > end {
                    let (low, mut high) = (near[to - 1], near[to]);
                    if is_counter && high.1 < low.1 {
                        high.1 += low.1;
                    }
                    right = on_line(low, high, end);
                }
                let inner = near[from..=to].iter().filter(|(t, _)| *t > start && *t < end);
                let mut values = vec![left];
                values.extend(inner.map(|(_, value)| *value));
                values.push(right);
                let mut change = right - left;
                if is_counter {
                    let mut fallen = 0.0;
                    for pair in values.windows(2).filter(|pair| pair[1] < pair[0]) {
                        fallen += pair[0];
                    }
                    change += fallen;
                }
                if function == Function::Rate {
                    change /= (end - start) as f64 / 1000.0;
                }
                change
            }
        };
        Ok(Some(Cell::Float(value)))
    }
}
