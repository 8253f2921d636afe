//! Functions of instant vectors, and arithmetic that several parts need.

use sabre_model::go_regex::GoRegex;
use sabre_promql::ast::{Call, Expr};
use sabre_promql::function::{Function, ValueType};

use super::{Cell, Histogram, Labels, Reference, Result, Row, map, merge};

/// Kahan's sum with Neumaier's swap.
pub(crate) fn kahan(value: f64, sum: f64, lost: f64) -> (f64, f64) {
    let total = sum + value;
    if total.is_infinite() {
        return (total, 0.0);
    }
    let error = if sum.abs() >= value.abs() {
        (sum - total) + value
    } else {
        (value - total) + sum
    };
    (total, lost + error)
}

/// The sum divided by the count; once the sum would be infinite, the mean is carried on instead.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (values[0], 0.0);
    for (i, value) in values.iter().enumerate().skip(1) {
        let (next, next_lost) = kahan(*value, sum, lost);
        if next.is_infinite() {
            let before = i as f64;
            return carried_mean(sum / before, lost / before, values, i);
        }
        (sum, lost) = (next, next_lost);
    }
    let count = values.len() as f64;
    sum / count + lost / count
}

fn carried_mean(mut mean: f64, mut lost: f64, values: &[f64], from: usize) -> f64 {
    for (i, value) in values.iter().enumerate().skip(from) {
        let count = (i + 1) as f64;
        let part = (count - 1.0) / count;
        (mean, lost) = kahan(value / count, part * mean, part * lost);
    }
    mean + lost
}

pub(crate) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    values.sort_by(|a, b| {
        b.is_nan()
            .cmp(&a.is_nan())
            .then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    });
    let last = values.len() - 1;
    let rank = q * last as f64;
    let below = rank.floor() as usize;
    let weight = rank - rank.floor();
    values[below] * (1.0 - weight) + values[last.min(below + 1)] * weight
}

/// Go's `%g`.
fn short(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 {
            "+Inf".to_owned()
        } else {
            "-Inf".to_owned()
        };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or(("NaN", "0"));
    let exponent: i32 = exponent.parse().unwrap();
    match exponent {
        -4..=5 => value.to_string(),
        _ if value.is_nan() => "NaN".to_owned(),
        exponent => format!(
            "{digits}e{}{:02}",
            if exponent < 0 { '-' } else { '+' },
            exponent.abs()
        ),
    }
}

pub(crate) fn text_of(h: &Histogram) -> String {
    let mut text = format!("{{count:{}, sum:{}", short(h.count), short(h.sum));
    for bucket in h.buckets().iter().filter(|bucket| bucket.count != 0.0) {
        let custom = h.schema == super::histogram::CUSTOM;
        let zero = bucket.lower == -bucket.upper && !custom;
        let open = if zero || bucket.lower == f64::NEG_INFINITY || (!custom && bucket.lower < 0.0) {
            '['
        } else {
            '('
        };
        let close = if custom || zero || bucket.upper > 0.0 {
            ']'
        } else {
            ')'
        };
        let bounds = format!("{},{}", short(bucket.lower), short(bucket.upper));
        text += &format!(", {open}{bounds}{close}:{}", short(bucket.count));
    }
    text + "}"
}

/// Days since 1970 as year, month and day.
fn civil(days: i128) -> (i128, i128, i128) {
    // The calendar comes again after 400 years, and 1970 is as good a start as any.
    let cycle = 146_097;
    let (mut year, mut left) = (1970 + days.div_euclid(cycle) * 400, days.rem_euclid(cycle));
    let length = |year: i128| if leap(year) { 366 } else { 365 };
    while left >= length(year) {
        left -= length(year);
        year += 1;
    }
    let mut month = 1;
    while left >= month_days(year, month) {
        left -= month_days(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

fn leap(year: i128) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn month_days(year: i128, month: i128) -> i128 {
    match month {
        2 => 28 + i128::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn date(function: Function, seconds: f64) -> f64 {
    // What is no time is as far ahead as can be.
    let in_range = seconds.abs() < 2f64.powi(63);
    let seconds = if in_range { seconds as i128 } else { 1 << 63 };
    let days = seconds.div_euclid(86_400);
    let (year, month, day) = civil(days);
    (match function {
        Function::Minute => seconds.rem_euclid(3600) / 60,
        Function::Hour => seconds.rem_euclid(86_400) / 3600,
        Function::DayOfWeek => (days + 4).rem_euclid(7),
        Function::DayOfMonth => day,
        Function::Month => month,
        Function::Year => year,
        Function::DaysInMonth => month_days(year, month),
        _ => (1..month).map(|month| month_days(year, month)).sum::<i128>() + day,
    }) as f64
}

fn is_date(function: Function) -> bool {
    use Function::{DayOfMonth, DayOfWeek, DayOfYear, DaysInMonth, Hour, Minute, Month, Year};
    matches!(
        function,
        Minute | Hour | DayOfWeek | DayOfMonth | DayOfYear | DaysInMonth | Month | Year
    )
}

/// A function of one number by the name of Rust's.
fn number(function: Function, x: f64) -> f64 {
    match function {
        Function::Abs => x.abs(),
        Function::Ceil => x.ceil(),
        Function::Floor => x.floor(),
        Function::Exp => x.exp(),
        Function::Sqrt => x.sqrt(),
        Function::Ln => x.ln(),
        Function::Log2 => x.log2(),
        Function::Log10 => x.log10(),
        Function::Sin => x.sin(),
        Function::Cos => x.cos(),
        Function::Tan => x.tan(),
        Function::Asin => x.asin(),
        Function::Acos => x.acos(),
        Function::Atan => x.atan(),
        Function::Sinh => x.sinh(),
        Function::Cosh => x.cosh(),
        Function::Tanh => x.tanh(),
        Function::Atanh => x.atanh(),
        // Twice a great number is not its square.
        Function::Asinh if x.is_finite() && x.abs() > 268_435_456.0 => {
            (x.abs().ln() + std::f64::consts::LN_2).copysign(x)
        }
        Function::Acosh if x.is_finite() && x > 268_435_456.0 => x.ln() + std::f64::consts::LN_2,
        Function::Asinh => x.asinh(),
        Function::Acosh => x.acosh(),
        Function::Rad => x * std::f64::consts::PI / 180.0,
        Function::Deg => x * 180.0 / std::f64::consts::PI,
        Function::Sgn if x > 0.0 => 1.0,
        Function::Sgn if x < 0.0 => -1.0,
        Function::Sgn => x,
        other => panic!("{other:?}"),
    }
}

fn of_histogram(function: Function, h: &Histogram) -> f64 {
    match function {
        Function::HistogramCount => h.count,
        Function::HistogramSum => h.sum,
        Function::HistogramAvg => h.sum / h.count,
        _ => {
            let mean = h.sum / h.count;
            let (mut sum, mut lost) = (0.0, 0.0);
            for bucket in h.buckets().iter().filter(|bucket| bucket.count != 0.0) {
                let middle = if h.schema == super::histogram::CUSTOM {
                    (bucket.upper + bucket.lower) / 2.0
                } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
                    0.0
                } else {
                    (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
                };
                let delta = middle - mean;
                (sum, lost) = kahan(bucket.count * delta * delta, sum, lost);
            }
            let variance = (sum + lost) / h.count;
            if function == Function::HistogramStddev {
                variance.sqrt()
            } else {
                variance
            }
        }
    }
}

fn text(call: &Call, i: usize) -> &str {
    match &call.args[i] {
        Expr::String(text) => &text.value,
        other => panic!("{other} is no text"),
    }
}

impl Reference<'_> {
    pub(crate) fn call(&self, call: &Call, times: &[i64]) -> Result<Vec<Row>> {
        use Function::{
            Absent, Clamp, ClampMax, ClampMin, HistogramAvg, HistogramCount, HistogramFraction,
            HistogramQuantile, HistogramStddev, HistogramStdvar, HistogramSum, LabelJoin, LabelReplace,
            Round, Sort, SortByLabel, SortByLabelDesc, SortDesc, Timestamp, Vector,
        };
        if call.args.iter().any(|arg| arg.value_type() == ValueType::Matrix) {
            return self.range_call(call, times);
        }
        let scalars = self.scalars_of(call, times)?;
        let function = call.function;
        let floats = |f: &dyn Fn(usize, f64) -> Option<f64>| {
            let rows = self.vector(
                call.args
                    .iter()
                    .find(|arg| arg.value_type() == ValueType::Vector)
                    .unwrap(),
                times,
            )?;
            map(rows, |step, cell| match cell {
                Cell::Float(value) => f(step, value).map(Cell::Float),
                Cell::Histogram(_) => None,
            })
        };
        let constant = |value: &dyn Fn(usize) -> f64| {
            Ok(vec![Row {
                labels: Labels::new(),
                cells: (0..times.len())
                    .map(|step| Some(Cell::Float(value(step))))
                    .collect(),
            }])
        };
        match function {
            Function::Info => self.info(call, times),
            Vector => constant(&|step| scalars[0][step]),
            function if is_date(function) && call.args.is_empty() => {
                constant(&|step| date(function, (times[step] / 1000) as f64))
            }
            function if is_date(function) => floats(&|_, value| Some(date(function, value))),
            Clamp | ClampMin | ClampMax => floats(&|step, value| {
                let low = if function == ClampMax {
                    f64::NEG_INFINITY
                } else {
                    scalars[0][step]
                };
                let high = match function {
                    ClampMin => f64::INFINITY,
                    ClampMax => scalars[0][step],
                    _ => scalars[1][step],
                };
                (high >= low || high.is_nan() || low.is_nan()).then(|| greater(low, lesser(high, value)))
            }),
            Round => floats(&|step, value| {
                let inverse = 1.0 / scalars.first().map_or(1.0, |nearest| nearest[step]);
                Some((value * inverse + 0.5).floor() / inverse)
            }),
            HistogramCount | HistogramSum | HistogramAvg | HistogramStddev | HistogramStdvar => {
                map(self.vector(&call.args[0], times)?, |_, cell| match cell {
                    Cell::Histogram(h) => Some(Cell::Float(of_histogram(function, &h))),
                    Cell::Float(_) => None,
                })
            }
            HistogramQuantile | HistogramFraction => self.classic(call, &scalars, times),
            Timestamp => match &call.args[0] {
                Expr::Vector(selector) => {
                    let mut selector = selector.clone();
                    if selector.at.is_some() {
                        selector.offset = sabre_promql::ast::Duration::ZERO;
                    }
                    map(self.newest(&selector, times, true), |_, cell| Some(cell))
                }
                other => map(self.vector(other, times)?, |step, _| {
                    Some(Cell::Float(times[step] as f64 / 1000.0))
                }),
            },
            Absent => {
                let rows = self.vector(&call.args[0], times)?;
                Ok(self.absent_row(&call.args[0], &rows, times.len()))
            }
            LabelReplace | LabelJoin => self.relabel(call, times),
            Sort | SortDesc => {
                let mut rows = self.vector(&call.args[0], times)?;
                for cell in rows.iter_mut().flat_map(|row| &mut row.cells) {
                    if matches!(cell, Some(Cell::Histogram(_))) {
                        *cell = None;
                    }
                }
                merge(rows)
            }
            SortByLabel | SortByLabelDesc => self.vector(&call.args[0], times),
            function => floats(&|_, value| Some(number(function, value))),
        }
    }

    fn relabel(&self, call: &Call, times: &[i64]) -> Result<Vec<Row>> {
        let replace = call.function == Function::LabelReplace;
        let target = text(call, 1);
        let regex = if replace {
            Some(GoRegex::new(text(call, 4)).map_err(|error| error.to_string())?)
        } else {
            None
        };
        let mut rows = self.vector(&call.args[0], times)?;
        for row in &mut rows {
            let get = |name: &str| row.labels.get(name).cloned().unwrap_or_default();
            let value = match &regex {
                Some(regex) => match regex.captures(&get(text(call, 3))) {
                    Some(caught) => caught.expand(text(call, 2)),
                    None => continue,
                },
                None => {
                    let values: Vec<String> = (3..call.args.len()).map(|i| get(text(call, i))).collect();
                    values.join(text(call, 2))
                }
            };
            row.labels.remove(target);
            if !value.is_empty() {
                row.labels.insert(target.to_owned(), value);
            }
        }
        merge(rows)
    }
}

/// NaN if either is.
fn greater(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == b {
        if a.is_sign_positive() { a } else { b }
    } else {
        a.max(b)
    }
}

fn lesser(a: f64, b: f64) -> f64 {
    -greater(-a, -b)
}
