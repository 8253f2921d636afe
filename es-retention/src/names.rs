//! Names of indices and snapshots, and the days that stand in them.
//!
//! An index is `<prefix><date>` and nothing else: `logging-` never takes `logging-nginx-2026.01.01`. Its snapshots are
//! `sn_<index>`, `sn_<index>-2`, `sn_<index>-3` and so on.
//!
//! Days are days of UTC, as the run's day is. An index belongs to the UTC day in which the last moment of its period
//! falls; with a time zone west of Greenwich that is the day after the one in its name. So nothing is called old while it
//! may still be written.

mod pattern;
mod snapshot;
#[cfg(test)]
mod tests;

pub use pattern::{DatePattern, PatternError, Period};
pub use snapshot::{RESTORED_PREFIX, restored_name, snapshot_name, split_snapshot_name};

use jiff::{Span, civil::Date, tz::TimeZone};

/// How the indices of one kind are named.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexNames {
    /// What stands before the date; never empty.
    pub prefix: String,
    /// How the date is written.
    pub pattern: DatePattern,
    /// The zone whose days the dates are.
    pub zone: TimeZone,
}

/// A name of an index, read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexDay {
    /// The UTC day in which the last moment of the period falls: ages count from it.
    pub day: Date,
    /// The first day of the period in the zone of the name.
    pub first_day: Date,
}

impl IndexNames {
    /// Reads the date of a name; `None` for a name that is not prefix and date and nothing else.
    pub fn read(&self, name: &str) -> Option<IndexDay> {
        let first_day = self.pattern.read(name.strip_prefix(self.prefix.as_str())?)?;
        Some(IndexDay {
            day: self.last_utc_day(first_day)?,
            first_day,
        })
    }

    /// The name of the index whose period holds this day of the zone.
    pub fn name_of(&self, day: Date) -> String {
        format!("{}{}", self.prefix, self.pattern.write(day))
    }

    /// The names of all indices that hold a part of this UTC day, oldest first: one in UTC, and up to two in other zones.
    pub fn names_covering(&self, utc_day: Date) -> Vec<String> {
        let mut names = Vec::new();
        let Ok(start) = TimeZone::UTC.to_timestamp(utc_day.at(0, 0, 0, 0)) else {
            return names;
        };
        let Ok(end) = TimeZone::UTC.to_timestamp(utc_day.at(23, 59, 59, 999_999_999)) else {
            return names;
        };
        let last = self.zone.to_datetime(end).date();
        let mut local = self.zone.to_datetime(start).date();
        while local <= last {
            let name = self.name_of(local);
            if names.last() != Some(&name) {
                names.push(name);
            }
            let Ok(next) = local.tomorrow() else { break };
            local = next;
        }
        names
    }

    fn last_utc_day(&self, first_day: Date) -> Option<Date> {
        let after = self.pattern.last_day(first_day)?.tomorrow().ok()?;
        let end = after.to_zoned(self.zone.clone()).ok()?.timestamp();
        let last_moment = end.checked_sub(Span::new().nanoseconds(1)).ok()?;
        Some(TimeZone::UTC.to_datetime(last_moment).date())
    }
}

/// Whole days from `earlier` to `later`, negative when they are the other way round.
pub fn days_between(earlier: Date, later: Date) -> i64 {
    later.duration_since(earlier).as_hours() / 24
}

/// The day that many days later; the last day there is when there is none so late.
pub fn add_days(day: Date, days: i64) -> Date {
    day.saturating_add(jiff::SignedDuration::from_hours(days.saturating_mul(24)))
}
