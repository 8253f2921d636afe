//! Values of the section `es_retention`.

use std::time::Duration;

use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;

use super::{
    ConfigError, Schedule, Warn,
    document::{Own, Text},
    old::{Found, OldSettings},
};
use crate::{
    cluster::Patience,
    names::{DatePattern, IndexNames, RESTORED_PREFIX},
};

/// Ages beyond this are a slip of the finger.
const MAX_DAYS: u32 = 36_500;
const SECONDS_OF_A_WEEK: u32 = 7 * 86_400;

/// A whole number in a range.
pub(super) fn number(name: &str, found: &Found, from: u32, to: u32) -> Result<u32, ConfigError> {
    let problem = match found.text.parse::<i64>() {
        Err(_) => format!("{name}: a whole number is wanted"),
        Ok(number) if number < 0 => format!("{name}: {number} is negative"),
        Ok(number) => match u32::try_from(number) {
            Ok(number) if (from..=to).contains(&number) => return Ok(number),
            _ => format!("{name}: {number} is not from {from} to {to}"),
        },
    };
    Err(ConfigError {
        place: found.place.clone(),
        problem,
    })
}

/// A number of days.
pub(super) fn days(name: &str, found: &Found) -> Result<u32, ConfigError> {
    number(name, found, 0, MAX_DAYS)
}

impl OldSettings<'_> {
    /// A number of the own section, or its default.
    pub(super) fn number(
        &self,
        name: &str,
        text: &Text,
        default: u32,
        from: u32,
        to: u32,
    ) -> Result<u32, ConfigError> {
        match text {
            None => Ok(default),
            Some(text) => number(name, &self.found(text), from, to),
        }
    }

    /// A prefix with its pattern and zone, the first of each that is given.
    pub(super) fn names(
        &self,
        prefix: &Found,
        patterns: [&Text; 2],
        zones: [&Text; 2],
    ) -> Result<IndexNames, ConfigError> {
        check_prefix(prefix)?;
        let pattern = match patterns.into_iter().flatten().next() {
            None => DatePattern::parse("%Y.%m.%d"),
            Some(text) => DatePattern::parse(&text.value),
        };
        let pattern = pattern.map_err(|problem| ConfigError {
            place: patterns
                .into_iter()
                .flatten()
                .next()
                .map_or_else(|| prefix.place.clone(), |text| self.at(text.referenced.line())),
            problem: format!("pattern: {problem}"),
        })?;
        Ok(IndexNames {
            prefix: prefix.text.clone(),
            pattern,
            zone: self.zone(zones.into_iter().flatten().next())?,
        })
    }

    fn zone(&self, text: Option<&serde_saphyr::Spanned<String>>) -> Result<TimeZone, ConfigError> {
        let Some(text) = text else {
            return Ok(TimeZone::UTC);
        };
        TimeZone::get(&text.value).map_err(|_| ConfigError {
            place: self.at(text.referenced.line()),
            problem: format!(
                "time_zone: {:?} is not known, a name such as Europe/Berlin is wanted",
                text.value
            ),
        })
    }

    /// When `schedule` runs; by default at five in the morning, UTC.
    pub(super) fn schedule(&self, own: &Own) -> Result<Schedule, ConfigError> {
        let text = own.schedule.cron.as_ref();
        let pattern = text.map_or("0 5 * * *", |text| text.value.as_str());
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let cron = parser.parse(pattern).map_err(|problem| ConfigError {
            place: self.at(text.map_or(0, |text| text.referenced.line())),
            problem: format!("schedule.cron: {problem}"),
        })?;
        Ok(Schedule {
            cron,
            zone: self.zone(own.schedule.time_zone.as_ref())?,
        })
    }

    /// How long the cluster is waited for.
    pub(super) fn patience(&self, own: &Own) -> Result<Patience, ConfigError> {
        let default = Patience::default();
        let seconds = |name: &str, text: &Text, default: Duration| {
            let default = u32::try_from(default.as_secs()).unwrap_or(u32::MAX);
            let seconds = self.number(name, text, default, 1, SECONDS_OF_A_WEEK)?;
            Ok(Duration::from_secs(u64::from(seconds)))
        };
        let timeouts = &own.timeouts;
        Ok(Patience {
            request_timeout: seconds(
                "timeouts.request_seconds",
                &timeouts.request_seconds,
                default.request_timeout,
            )?,
            attempts: self.number("timeouts.attempts", &timeouts.attempts, default.attempts, 1, 100)?,
            snapshot_timeout: seconds(
                "timeouts.snapshot_seconds",
                &timeouts.snapshot_seconds,
                default.snapshot_timeout,
            )?,
            poll: seconds("timeouts.poll_seconds", &timeouts.poll_seconds, default.poll)?,
            ..default
        })
    }

    /// From how many percent on something is reported.
    pub(super) fn warn(&self, own: &Own) -> Result<Warn, ConfigError> {
        let percent =
            |name: &str, text: &Text, default| self.number(name, text, default, 1, 100).map(u64::from);
        Ok(Warn {
            disk_percent: percent("warn.disk_percent", &own.warn.disk_percent, 85)?,
            shards_percent: percent("warn.shards_percent", &own.warn.shards_percent, 90)?,
        })
    }
}

fn check_prefix(prefix: &Found) -> Result<(), ConfigError> {
    let forbidden = |character: char| {
        character.is_uppercase() || character.is_control() || " \"*,/<>?\\|#:%".contains(character)
    };
    let text = &prefix.text;
    let problem = if text.is_empty() {
        "an empty prefix would take every index that is named like a date".to_owned()
    } else if text.starts_with(['-', '_', '+']) {
        format!("{text:?}: names of indices cannot begin like this")
    } else if let Some(character) = text.chars().find(|character| forbidden(*character)) {
        format!("{text:?}: names of indices cannot have {character:?}")
    } else if text.starts_with(RESTORED_PREFIX) {
        format!("{text:?}: what is named {RESTORED_PREFIX}... was restored and is never deleted")
    } else if text.len() > 200 {
        "names of indices have at most 255 bytes, date included".to_owned()
    } else {
        return Ok(());
    };
    Err(ConfigError {
        place: prefix.place.clone(),
        problem: format!("prefix: {problem}"),
    })
}
