//! What peers say, as Prometheus' JSON.

use prost_types::Timestamp;
use sabre_model::{Labels, time::UtcTime};
use serde_json::{Map, Value};

/// Labels as an object.
pub(crate) fn labels(labels: &Labels) -> Value {
    let members = labels
        .iter()
        .map(|(name, value)| (name.to_owned(), Value::String(value.to_owned())));
    Value::Object(members.collect::<Map<_, _>>())
}

/// A time as RFC 3339; Go's zero time if there is none.
pub(crate) fn time(time: Option<Timestamp>) -> Value {
    let time = time.map_or(UtcTime::ZERO, |time| {
        UtcTime::from_unix(time.seconds, u32::try_from(time.nanos).unwrap_or(0))
    });
    Value::String(time.to_string())
}

/// A number as JSON; NaN and infinity, which it has no words for, as zero.
pub(crate) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return Value::from(value as i64);
    }
    serde_json::Number::from_f64(value).map_or(Value::from(0), Value::Number)
}

/// `WARN` or `ABORT`.
pub(crate) fn strategy(number: i32) -> &'static str {
    use sabre_proto::thanos::PartialResponseStrategy;
    match PartialResponseStrategy::try_from(number) {
        Ok(PartialResponseStrategy::Abort) => "ABORT",
        _ => "WARN",
    }
}

/// Orders times; none is before all.
pub(crate) fn order(time: Option<Timestamp>) -> (i64, i32) {
    time.map_or((i64::MIN, 0), |time| (time.seconds, time.nanos))
}
