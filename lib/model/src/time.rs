//! Points in time: RFC 3339 text, and times relative to now.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time, date};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::duration::{self, DurationError};

#[cfg(test)]
mod tests;

const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

const MS_PER_SECOND: i64 = 1_000;
const NS_PER_MS: u32 = 1_000_000;
const NS_PER_SECOND: u32 = 1_000_000_000;

/// A point in time of the years 0 to 9999 to the nanosecond, in UTC. Its text is RFC 3339, with as many decimals as are
/// needed, as Go's `RFC3339Nano`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime {
    /// Since the epoch.
    seconds: i64,
    /// Below a second, forward in time.
    nanos: u32,
}

/// A time given to a flag: fixed, or relative to the moment at which it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeOrDuration {
    /// In ms since the epoch.
    Time(i64),
    /// In ms from now, negative in the past.
    Relative(i64),
}

/// Why a text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TimeError {
    /// It does not look like `2026-01-31T12:00:00Z`.
    #[error("not a time: {text:?}: expected RFC 3339, such as 2026-01-31T12:00:00Z")]
    Syntax {
        /// The text.
        text: String,
    },
    /// There is no such day or hour.
    #[error("not a time: {text:?}: day, hour, minute, second or offset is out of range")]
    Range {
        /// The text.
        text: String,
    },
    /// It is neither a time nor a duration.
    #[error("neither a time as in RFC 3339, such as 2026-01-31T12:00:00Z, nor a duration from now: {source}")]
    Neither {
        /// Why it is not a duration.
        source: DurationError,
    },
}

/// The digits of an RFC 3339 text.
struct Fields {
    date: (i16, i8, i8),
    time: (i8, i8, i8),
    nanos: u32,
    /// Hours and minutes east of Greenwich, both with the sign.
    offset: (i64, i64),
}

/// Reads RFC 3339 text, in ms since the epoch; what is below a millisecond is cut off.
pub fn parse_rfc3339_ms(text: &str) -> Result<i64, TimeError> {
    UtcTime::parse(text).map(UtcTime::as_ms)
}

/// Prints a time in ms since the epoch as RFC 3339, with decimals where needed. A time outside of the years 0 to 9999
/// comes out as `@` and its seconds since the epoch.
pub fn format_rfc3339_ms(ms: i64) -> String {
    UtcTime::from_ms(ms).to_string()
}

impl UtcTime {
    /// Go's zero time, 0001-01-01T00:00:00Z, which stands for a time that is not known.
    pub const ZERO: UtcTime = UtcTime {
        seconds: -62_135_596_800,
        nanos: 0,
    };

    /// From seconds since the epoch and nanoseconds, which go forward and may be more than a second.
    pub fn from_unix(seconds: i64, nanos: u32) -> UtcTime {
        let carried = seconds.saturating_add(i64::from(nanos / NS_PER_SECOND));
        UtcTime {
            seconds: carried,
            nanos: nanos % NS_PER_SECOND,
        }
    }

    /// From ms since the epoch.
    pub fn from_ms(ms: i64) -> UtcTime {
        // The remainder is below 1000.
        let below = u32::try_from(ms.rem_euclid(MS_PER_SECOND)).unwrap_or(0);
        UtcTime {
            seconds: ms.div_euclid(MS_PER_SECOND),
            nanos: below * NS_PER_MS,
        }
    }

    /// In ms since the epoch; what is left is cut off, back in time.
    pub fn as_ms(self) -> i64 {
        self.seconds
            .saturating_mul(MS_PER_SECOND)
            .saturating_add(i64::from(self.nanos / NS_PER_MS))
    }

    /// The whole seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// The nanoseconds after those seconds.
    pub fn nanos(self) -> u32 {
        self.nanos
    }

    /// Whether it is [`UtcTime::ZERO`].
    pub fn is_zero(self) -> bool {
        self == UtcTime::ZERO
    }

    /// Reads RFC 3339 text with any offset; decimals below a nanosecond are cut off.
    pub fn parse(text: &str) -> Result<UtcTime, TimeError> {
        let fields = Fields::parse(text.as_bytes()).ok_or_else(|| TimeError::Syntax {
            text: text.to_owned(),
        })?;
        fields.to_time().ok_or_else(|| TimeError::Range {
            text: text.to_owned(),
        })
    }

    /// The date and time of day, if the year has four digits.
    fn civil(self) -> Option<DateTime> {
        let civil = EPOCH.checked_add(SignedDuration::new(self.seconds, 0)).ok()?;
        (civil.year() >= 0).then_some(civil)
    }
}

impl Fields {
    fn parse(text: &[u8]) -> Option<Fields> {
        let (date, text) = text.split_at_checked(10)?;
        let [y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2] = date else {
            return None;
        };
        let text = text.strip_prefix(b"T")?;
        let (time, text) = text.split_at_checked(8)?;
        let [h1, h2, b':', mi1, mi2, b':', s1, s2] = time else {
            return None;
        };
        let (nanos, text) = parse_fraction(text)?;
        let year = i16::from(two_digits(*y1, *y2)?) * 100 + i16::from(two_digits(*y3, *y4)?);
        Some(Fields {
            date: (year, two_digits(*mo1, *mo2)?, two_digits(*d1, *d2)?),
            time: (
                two_digits(*h1, *h2)?,
                two_digits(*mi1, *mi2)?,
                two_digits(*s1, *s2)?,
            ),
            nanos,
            offset: parse_offset(text)?,
        })
    }

    fn to_time(&self) -> Option<UtcTime> {
        let (year, month, day) = self.date;
        let (hour, minute, second) = self.time;
        let (offset_hours, offset_minutes) = self.offset;
        // One more than there is of each, as in Go.
        if offset_hours.abs() > 24 || offset_minutes.abs() > 60 {
            return None;
        }
        let civil = DateTime::from_parts(
            Date::new(year, month, day).ok()?,
            Time::new(hour, minute, second, 0).ok()?,
        );
        let local = civil.duration_since(EPOCH).as_secs();
        let seconds = local.checked_sub((offset_hours * 60 + offset_minutes) * 60)?;
        Some(UtcTime {
            seconds,
            nanos: self.nanos,
        })
    }
}

fn two_digits(tens: u8, ones: u8) -> Option<i8> {
    if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return None;
    }
    i8::try_from((tens - b'0') * 10 + (ones - b'0')).ok()
}

/// Reads a point and digits, if a point comes next, in nanoseconds; gives the text after them.
fn parse_fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length)?;
    if digits.is_empty() {
        return None;
    }
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanos = padded.fold(0_u32, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    Some((nanos, rest))
}

/// Reads `Z` or `+01:00`, which must be all.
fn parse_offset(text: &[u8]) -> Option<(i64, i64)> {
    match text {
        b"Z" => Some((0, 0)),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let sign = if *sign == b'-' { -1 } else { 1 };
            Some((
                sign * i64::from(two_digits(*h1, *h2)?),
                sign * i64::from(two_digits(*m1, *m2)?),
            ))
        }
        _ => None,
    }
}

impl Default for UtcTime {
    fn default() -> UtcTime {
        UtcTime::ZERO
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = match self.nanos {
            0 => String::new(),
            nanos => format!(".{}", format!("{nanos:09}").trim_end_matches('0')),
        };
        let Some(civil) = self.civil() else {
            return write!(f, "@{}{fraction}", self.seconds);
        };
        let (year, month, day) = (civil.year(), civil.month(), civil.day());
        let (hour, minute, second) = (civil.hour(), civil.minute(), civil.second());
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"
        )
    }
}

impl fmt::Debug for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for UtcTime {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<UtcTime, TimeError> {
        UtcTime::parse(text)
    }
}

impl Serialize for UtcTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UtcTime, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        UtcTime::parse(&text).map_err(de::Error::custom)
    }
}

impl TimeOrDuration {
    /// Reads RFC 3339 text, or a duration of Prometheus that a minus may precede: `-2w` is two weeks ago, and `2w` is in
    /// two weeks.
    pub fn parse(text: &str) -> Result<TimeOrDuration, TimeError> {
        if let Ok(ms) = parse_rfc3339_ms(text) {
            return Ok(TimeOrDuration::Time(ms));
        }
        let (negative, length) = match text.strip_prefix('-') {
            Some(length) => (true, length),
            None => (false, text),
        };
        match duration::parse_model(length) {
            Ok(ms) => Ok(TimeOrDuration::Relative(if negative { -ms } else { ms })),
            // What has the look of a time is told what is wrong with it as a time.
            Err(_) if text.contains(':') => Err(match UtcTime::parse(text) {
                Err(error) => error,
                Ok(_) => TimeError::Syntax {
                    text: text.to_owned(),
                },
            }),
            Err(source) => Err(TimeError::Neither { source }),
        }
    }

    /// The time that is meant at `now_ms`, in ms since the epoch.
    pub fn resolve(self, now_ms: i64) -> i64 {
        match self {
            TimeOrDuration::Time(ms) => ms,
            TimeOrDuration::Relative(ms) => now_ms.saturating_add(ms),
        }
    }
}

impl fmt::Display for TimeOrDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeOrDuration::Time(ms) => f.write_str(&format_rfc3339_ms(*ms)),
            TimeOrDuration::Relative(ms) => f.write_str(&duration::format_model(*ms)),
        }
    }
}

impl FromStr for TimeOrDuration {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<TimeOrDuration, TimeError> {
        TimeOrDuration::parse(text)
    }
}
