//! A point in time as Go's JSON encoder writes it: RFC 3339 with up to nine digits of fraction.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::wire::parsed_text;

const SECONDS_PER_DAY: i64 = 86_400;
/// `0001-01-01T00:00:00Z`, Go's zero time.
const ZERO_UNIX_S: i64 = -62_135_596_800;

/// When the upload of a block ended.
///
/// The zero value, year 1, means unknown; Go writes it where no time was set. A zone other than UTC is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadTime {
    unix_s: i64,
    nanos: u32,
    /// Difference of the written local time from UTC.
    zone_s: i32,
}

impl UploadTime {
    /// The time that says "unknown".
    pub const ZERO: Self = Self {
        unix_s: ZERO_UNIX_S,
        nanos: 0,
        zone_s: 0,
    };

    /// The time `unix_ns` nanoseconds after the epoch, in UTC.
    pub fn from_unix_ns(unix_ns: i64) -> Self {
        Self {
            unix_s: unix_ns.div_euclid(1_000_000_000),
            nanos: unix_ns.rem_euclid(1_000_000_000).unsigned_abs() as u32,
            zone_s: 0,
        }
    }

    /// The time `unix_ms` milliseconds after the epoch, in UTC. Times after the year 2262 become that year.
    pub fn from_unix_ms(unix_ms: i64) -> Self {
        Self::from_unix_ns(unix_ms.saturating_mul(1_000_000))
    }

    /// Whether this is the zero value.
    pub fn is_zero(&self) -> bool {
        self.unix_s == ZERO_UNIX_S && self.nanos == 0
    }

    /// Milliseconds since the epoch, rounded down.
    pub fn unix_ms(&self) -> i64 {
        self.unix_s
            .saturating_mul(1000)
            .saturating_add(i64::from(self.nanos / 1_000_000))
    }

    /// Reads RFC 3339, as strictly as Go does: upper-case `T` and `Z`, two digits each, a dot before the fraction.
    /// Digits after the ninth of the fraction are dropped. Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader(text.as_bytes());
        let year = reader.number(4)?;
        let month = reader.after(b'-')?.number(2)?;
        let day = reader.after(b'-')?.number(2)?;
        let hour = reader.after(b'T')?.number(2)?;
        let minute = reader.after(b':')?.number(2)?;
        let second = reader.after(b':')?.number(2)?;
        let nanos = reader.fraction()?;
        let zone_s = reader.zone()?;
        let in_range = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !in_range || !reader.0.is_empty() {
            return None;
        }
        let local_s =
            days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
        Some(Self {
            unix_s: local_s - i64::from(zone_s),
            nanos,
            zone_s,
        })
    }
}

impl Default for UploadTime {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Display for UploadTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local_s = self.unix_s.saturating_add(i64::from(self.zone_s));
        let (year, month, day) = civil_from_days(local_s.div_euclid(SECONDS_PER_DAY));
        let of_day = local_s.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if self.nanos != 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        if self.zone_s == 0 {
            return f.write_str("Z");
        }
        let sign = if self.zone_s < 0 { '-' } else { '+' };
        let zone_minutes = self.zone_s.unsigned_abs() / 60;
        write!(f, "{sign}{:02}:{:02}", zone_minutes / 60, zone_minutes % 60)
    }
}

impl Serialize for UploadTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UploadTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed_text(deserializer, |text| {
            Self::parse(text).ok_or_else(|| format!("{text:?} is not a time as in RFC 3339"))
        })
    }
}

/// What is left of the text.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn after(&mut self, expected: u8) -> Option<&mut Self> {
        self.0 = self.0.strip_prefix(&[expected])?;
        Some(self)
    }

    /// Takes exactly `width` digits.
    fn number(&mut self, width: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        let mut value = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
        }
        self.0 = rest;
        Some(value)
    }

    /// Takes `.123` as nanoseconds; no dot is no fraction, a dot without a digit an error.
    fn fraction(&mut self) -> Option<u32> {
        let Some(after_dot) = self.0.strip_prefix(b".") else {
            return Some(0);
        };
        let count = after_dot.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = after_dot.split_at_checked(count)?;
        if digits.is_empty() {
            return None;
        }
        self.0 = rest;
        let ninths = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
        Some(ninths.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0')))
    }

    /// Takes `Z` or `±hh:mm`, in seconds.
    fn zone(&mut self) -> Option<i32> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match first {
            b'Z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2)?;
        let minutes = self.after(b':')?.number(2)?;
        let valid = hours < 24 && minutes < 60;
        valid.then(|| sign * (hours * 3600 + minutes * 60) as i32)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the epoch to a date of the Gregorian calendar. Years are counted from March, so that the leap day
/// is the last one, and in eras of 400 years, which all have 146,097 days.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Undoes [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = days.div_euclid(146_097) * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_zero_value_is_year_one() {
        assert_eq!(UploadTime::ZERO.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(UploadTime::parse("0001-01-01T00:00:00Z"), Some(UploadTime::ZERO));
        assert!(UploadTime::default().is_zero());
        assert!(!UploadTime::from_unix_ms(0).is_zero());
    }

    #[test]
    fn fractions_lose_their_trailing_zeros() {
        for text in [
            "2026-11-22T08:46:21.910261094Z",
            "2026-11-22T08:46:21.9Z",
            "2024-02-29T23:59:59Z",
            "1969-12-31T23:59:59.000000001Z",
            "2026-01-01T01:02:03.5+05:30",
            "2026-01-01T01:02:03-00:30",
        ] {
            assert_eq!(UploadTime::parse(text).unwrap().to_string(), text);
        }
        let long = UploadTime::parse("2026-11-22T08:46:21.1234567899Z").unwrap();
        assert_eq!(long.to_string(), "2026-11-22T08:46:21.123456789Z");
    }

    #[test]
    fn milliseconds_since_the_epoch() {
        let time = UploadTime::parse("2026-01-01T00:00:00.0015Z").unwrap();
        assert_eq!(time.unix_ms(), 1_767_225_600_001);
        let east = UploadTime::parse("2026-01-01T02:00:00+02:00").unwrap();
        assert_eq!(east.unix_ms(), 1_767_225_600_000);
        assert_eq!(
            UploadTime::from_unix_ms(1_767_225_600_001).to_string(),
            "2026-01-01T00:00:00.001Z"
        );
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01t00:00:00Z",
            "2026-01-01T00:00:00z",
            "2026-01-01 00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00,5Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00Z ",
            "+026-01-01T00:00:00Z",
        ] {
            assert_eq!(UploadTime::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_nanosecond_round_trips(unix_ns: i64) {
            let time = UploadTime::from_unix_ns(unix_ns);
            prop_assert_eq!(UploadTime::parse(&time.to_string()), Some(time));
        }

        #[test]
        fn every_day_of_ten_thousand_years_round_trips(year in 0i64..10_000, month in 1i64..13, day in 1i64..32) {
            prop_assume!(day <= days_in_month(year, month));
            prop_assert_eq!(civil_from_days(days_from_civil(year, month, day)), (year, month, day));
        }

        #[test]
        fn any_text_is_fine(text in "[0-9TZ:.+-]{0,40}") {
            let _ = UploadTime::parse(&text);
        }
    }
}
