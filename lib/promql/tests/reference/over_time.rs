//! Functions that look at all samples of a window.

use sabre_promql::function::Function;

use super::functions::{kahan, mean, quantile};
use super::range::Window;
use super::{Cell, Histogram, Result};

pub(crate) fn apply(
    function: Function,
    window: &Window<'_>,
    t: i64,
    scalars: &[f64],
) -> Result<Option<Cell>> {
    let floats = window.floats();
    let values: Vec<f64> = floats.iter().map(|(_, value)| *value).collect();
    let histograms = window.histograms();
    let float = |value: f64| Ok(Some(Cell::Float(value)));
    let seconds = |t: i64| float(t as f64 / 1000.0);
    let (first, last) = (&window.samples[0], &window.samples[window.samples.len() - 1]);
    match function {
        Function::CountOverTime => return float(window.samples.len() as f64),
        Function::PresentOverTime | Function::AbsentOverTime => return float(1.0),
        Function::FirstOverTime => return Ok(Some(first.1.clone())),
        Function::LastOverTime => return Ok(Some(last.1.clone())),
        Function::TsOfFirstOverTime => return seconds(first.0),
        Function::TsOfLastOverTime => return seconds(last.0),
        Function::Changes => {
            return float(pairs(
                window,
                |a, b| a != b && !(a.is_nan() && b.is_nan()),
                |a, b| !a.equals(b),
            ));
        }
        Function::Resets => return float(pairs(window, |a, b| b < a, |a, b| b.is_reset(a))),
        Function::SumOverTime | Function::AvgOverTime if !histograms.is_empty() => {
            return Ok(if values.is_empty() {
                total(&histograms, function == Function::AvgOverTime)
            } else {
                None
            });
        }
        Function::DoubleExponentialSmoothing => {
            if scalars.iter().any(|factor| *factor <= 0.0 || *factor >= 1.0) {
                return Err("factor. Expected: 0 < ".to_owned());
            }
            return Ok(smoothed(&values, scalars[0], scalars[1]));
        }
        _ => {}
    }
    if values.is_empty() {
        return Ok(None);
    }
    match function {
        Function::SumOverTime => {
            let (sum, lost) = values
                .iter()
                .fold((0.0, 0.0), |(sum, lost), value| kahan(*value, sum, lost));
            float(if sum.is_infinite() { sum } else { sum + lost })
        }
        Function::AvgOverTime => float(mean(&values)),
        Function::MinOverTime => float(extreme(&floats, |best, value| value < best).1),
        Function::MaxOverTime => float(extreme(&floats, |best, value| value > best).1),
        Function::TsOfMinOverTime => seconds(extreme(&floats, |best, value| value <= best).0),
        Function::TsOfMaxOverTime => seconds(extreme(&floats, |best, value| value >= best).0),
        Function::StdvarOverTime => float(variance(&values)),
        Function::StddevOverTime => float(variance(&values).sqrt()),
        Function::QuantileOverTime => float(quantile(scalars[0], values)),
        Function::MadOverTime => {
            let median = quantile(0.5, values.clone());
            float(quantile(
                0.5,
                values.iter().map(|value| (value - median).abs()).collect(),
            ))
        }
        Function::Deriv if values.len() > 1 => float(line(&floats, floats[0].0).0),
        Function::PredictLinear if values.len() > 1 => {
            let (slope, value) = line(&floats, t);
            float(slope * scalars[0] + value)
        }
        Function::Deriv | Function::PredictLinear => Ok(None),
        other => Err(format!("{other:?}")),
    }
}

fn pairs(
    window: &Window<'_>,
    floats: impl Fn(f64, f64) -> bool,
    histograms: impl Fn(&Histogram, &Histogram) -> bool,
) -> f64 {
    let differ = |pair: &&[(i64, Cell)]| match (&pair[0].1, &pair[1].1) {
        (Cell::Float(a), Cell::Float(b)) => floats(*a, *b),
        (Cell::Histogram(a), Cell::Histogram(b)) => histograms(a, b),
        _ => true,
    };
    window.samples.windows(2).filter(differ).count() as f64
}

fn total(histograms: &[(i64, &Histogram)], is_mean: bool) -> Option<Cell> {
    let mut total = histograms[0].1.clone();
    for (i, (_, h)) in histograms.iter().enumerate().skip(1) {
        total = if is_mean {
            total.mean_with(h, (i + 1) as f64)?
        } else {
            total.plus(h, 1.0)?.0
        };
    }
    Some(Cell::Histogram(total))
}

fn extreme(floats: &[(i64, f64)], better: impl Fn(f64, f64) -> bool) -> (i64, f64) {
    let mut best = floats[0];
    for sample in floats {
        if best.1.is_nan() || better(best.1, sample.1) {
            best = *sample;
        }
    }
    best
}

fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut mean_lost, mut sum, mut sum_lost) = (0.0, 0.0, 0.0, 0.0);
    for (i, value) in values.iter().enumerate() {
        let delta = value - (mean + mean_lost);
        (mean, mean_lost) = kahan(delta / (i + 1) as f64, mean, mean_lost);
        (sum, sum_lost) = kahan(delta * (value - (mean + mean_lost)), sum, sum_lost);
    }
    (sum + sum_lost) / values.len() as f64
}

fn line(floats: &[(i64, f64)], zero: i64) -> (f64, f64) {
    let first = floats[0].1;
    if floats[1..].iter().all(|(_, value)| *value == first) {
        return if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        };
    }
    let sum = |of: &dyn Fn(f64, f64) -> f64| {
        let terms = floats.iter().map(|(t, y)| of((t - zero) as f64 / 1e3, *y));
        let (sum, lost) = terms.fold((0.0, 0.0), |(sum, lost), term| kahan(term, sum, lost));
        sum + lost
    };
    let n = floats.len() as f64;
    let (x, y, xy, xx) = (
        sum(&|x, _| x),
        sum(&|_, y| y),
        sum(&|x, y| x * y),
        sum(&|x, _| x * x),
    );
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

fn smoothed(values: &[f64], smoothing: f64, trend: f64) -> Option<Cell> {
    let [first, second, ..] = values else { return None };
    let mut levels = vec![*first];
    let mut slope = second - first;
    for (i, value) in values.iter().enumerate().skip(1) {
        if i > 1 {
            slope = trend * (levels[i - 1] - levels[i - 2]) + (1.0 - trend) * slope;
        }
        levels.push(smoothing * value + (1.0 - smoothing) * (levels[i - 1] + slope));
    }
    levels.last().map(|level| Cell::Float(*level))
}
