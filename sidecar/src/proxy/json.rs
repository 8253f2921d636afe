//! Values of Prometheus' JSON.

use prost_types::Timestamp;
use sabre_model::time::UtcTime;
use serde::{Deserialize, Deserializer, de::Error};

/// A time as Go prints it, to the nanosecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(UtcTime);

impl Default for Time {
    fn default() -> Self {
        Time(UtcTime::ZERO)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        UtcTime::parse(&text).map(Time).map_err(D::Error::custom)
    }
}

impl Time {
    pub(super) fn to_wire(self) -> Timestamp {
        Timestamp {
            seconds: self.0.seconds(),
            nanos: i32::try_from(self.0.nanos()).unwrap_or_default(),
        }
    }
}

/// A sample value: Go prints it as a text, infinities among them.
#[derive(Clone, Copy, Debug)]
pub(super) struct SampleValue(pub(super) f64);

impl<'de> Deserialize<'de> for SampleValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value = match text.as_str() {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            "NaN" => f64::NAN,
            other => other.parse().map_err(D::Error::custom)?,
        };
        Ok(SampleValue(value))
    }
}

/// Seconds with three decimals, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Milliseconds(pub(super) i64);

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ms = (f64::deserialize(deserializer)? * 1000.0).round();
        #[expect(clippy::cast_possible_truncation, reason = "a cast of floats saturates")]
        Ok(Milliseconds(ms as i64))
    }
}
