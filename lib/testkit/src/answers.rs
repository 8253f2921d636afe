//! When an answer to a query equals a recorded one, as the golden data's README says.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what was recorded has the form of Prometheus' HTTP API; a test fails by panicking"
)]

use sabre_model::Labels;
use sabre_promql::histogram::FloatHistogram;
use sabre_promql::value::{InstantSample, RangeSeries, SampleValue, Value};
use serde_json::Value as Json;

/// Compares an answer with the `data` of a recorded one, and tells the first difference.
///
/// Series may come in any order, but where the query sorts.
///
/// # Errors
///
/// What differs, for the one who reads a failed test.
pub fn compare(query: &str, ours: &Value, data: &Json) -> Result<(), String> {
    let recorded = data["result"].as_array();
    let kind = data["resultType"].as_str().unwrap();
    match (ours, kind) {
        (Value::Vector(ours), "vector") => {
            let words = ["sort", "topk", "bottomk"];
            let ordered = words.iter().any(|word| query.starts_with(word)) && !query.contains(" by ");
            compare_vector(ours, recorded.unwrap(), ordered)
        }
        (Value::Matrix(ours), "matrix") => compare_matrix(ours, recorded.unwrap()),
        (Value::Scalar { value, .. }, "scalar") if same(*value, &data["result"][1]) => Ok(()),
        (Value::String { value, .. }, "string") if data["result"][1] == value.as_str() => Ok(()),
        (ours, kind) => Err(format!("{ours:?} against {kind}")),
    }
}

/// Whether a recorded answer has warnings or infos: their words are each engine's own.
pub fn has_remarks(body: &Json) -> bool {
    let has = |key: &str| body[key].as_array().is_some_and(|remarks| !remarks.is_empty());
    has("warnings") || has("infos")
}

/// Numbers are equal to 1e-9 of their size, and NaN equals NaN.
fn same(ours: f64, recorded: &Json) -> bool {
    let text = recorded.as_str().unwrap();
    let theirs: f64 = text.parse().unwrap();
    if ours.is_nan() || theirs.is_nan() || ours.is_infinite() || theirs.is_infinite() {
        return ours.is_nan() == theirs.is_nan() && (ours.is_nan() || ours == theirs);
    }
    (ours - theirs).abs() <= 1e-9 * ours.abs().max(theirs.abs())
}

fn same_time(t: i64, recorded: &Json) -> bool {
    (t as f64 / 1000.0 - recorded.as_f64().unwrap()).abs() < 0.0005
}

/// The buckets of a histogram as the HTTP API shows them: those that hold something.
fn same_histogram(ours: &FloatHistogram, recorded: &Json) -> Result<(), String> {
    let check = |what: &str, ours: f64, recorded: &Json| {
        if same(ours, recorded) {
            Ok(())
        } else {
            Err(format!("{what} {ours} against {recorded}"))
        }
    };
    check("count", ours.count, &recorded["count"])?;
    check("sum", ours.sum, &recorded["sum"])?;
    let empty = Vec::new();
    let theirs = recorded["buckets"].as_array().unwrap_or(&empty);
    let text = sabre_promql::histogram::to_text(ours);
    let ours: Vec<&str> = text.trim_end_matches('}').split(", ").skip(2).collect();
    if ours.len() != theirs.len() {
        return Err(format!("{} buckets against {}: {text}", ours.len(), theirs.len()));
    }
    for (ours, theirs) in ours.iter().zip(theirs) {
        let (bounds, count) = ours.rsplit_once(':').unwrap();
        let inclusive = match (bounds.starts_with('['), bounds.ends_with(']')) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        };
        if theirs[0].as_i64() != Some(inclusive) {
            return Err(format!("{ours} against {theirs}"));
        }
        let (lower, upper) = bounds.trim_matches(['(', ')', '[', ']']).split_once(',').unwrap();
        check("lower", lower.parse().unwrap(), &theirs[1])?;
        check("upper", upper.parse().unwrap(), &theirs[2])?;
        check("bucket", count.parse().unwrap(), &theirs[3])?;
    }
    Ok(())
}

fn labels_of(recorded: &Json) -> Labels {
    let pairs = recorded["metric"].as_object().unwrap();
    Labels::from_pairs(
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())),
    )
    .unwrap()
}

fn compare_vector(ours: &[InstantSample], recorded: &[Json], ordered: bool) -> Result<(), String> {
    let mut ours: Vec<&InstantSample> = ours.iter().collect();
    let mut recorded: Vec<&Json> = recorded.iter().collect();
    if !ordered {
        ours.sort_by(|a, b| a.labels.cmp(&b.labels));
        recorded.sort_by_key(|series| labels_of(series));
    }
    if ours.len() != recorded.len() {
        return Err(format!("{} series against {}", ours.len(), recorded.len()));
    }
    for (ours, recorded) in ours.into_iter().zip(recorded) {
        if ours.labels != labels_of(recorded) {
            return Err(format!("{} against {}", ours.labels, labels_of(recorded)));
        }
        let (t, result) = match &ours.value {
            SampleValue::Float(value) => {
                let equal = same(*value, &recorded["value"][1]);
                let found = format!("{value} against {}", recorded["value"]);
                (&recorded["value"][0], if equal { Ok(()) } else { Err(found) })
            }
            SampleValue::Histogram(h) => {
                let theirs = &recorded["histogram"];
                (&theirs[0], same_histogram(h, &theirs[1]))
            }
        };
        result.map_err(|difference| format!("{}: {difference}", ours.labels))?;
        if !same_time(ours.t, t) {
            return Err(format!("{}: at {} against {t}", ours.labels, ours.t));
        }
    }
    Ok(())
}

fn compare_matrix(ours: &[RangeSeries], recorded: &[Json]) -> Result<(), String> {
    let mut recorded: Vec<&Json> = recorded.iter().collect();
    recorded.sort_by_key(|series| labels_of(series));
    if ours.len() != recorded.len() {
        return Err(format!("{} series against {}", ours.len(), recorded.len()));
    }
    for (ours, recorded) in ours.iter().zip(recorded) {
        if ours.labels != labels_of(recorded) {
            return Err(format!("{} against {}", ours.labels, labels_of(recorded)));
        }
        let floats = recorded["values"].as_array().cloned().unwrap_or_default();
        let histograms = recorded["histograms"].as_array().cloned().unwrap_or_default();
        if (floats.len(), histograms.len()) != (ours.floats.len(), ours.histograms.len()) {
            return Err(format!("{}: another number of samples", ours.labels));
        }
        for ((t, value), theirs) in ours.floats.iter().zip(&floats) {
            if !same_time(*t, &theirs[0]) || !same(*value, &theirs[1]) {
                return Err(format!("{}: {value} at {t} against {theirs}", ours.labels));
            }
        }
        for ((t, h), theirs) in ours.histograms.iter().zip(&histograms) {
            if !same_time(*t, &theirs[0]) {
                return Err(format!("{}: at {t} against {theirs}", ours.labels));
            }
            same_histogram(h, &theirs[1])?;
        }
    }
    Ok(())
}
