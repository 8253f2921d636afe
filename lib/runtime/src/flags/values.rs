//! Values of flags, checked once and read by type.

use std::{collections::BTreeMap, time::Duration};

use clap::ArgMatches;
use sabre_model::{duration, size, time::TimeOrDuration};

use super::{
    ListenAddress, app,
    shown::{REDACTED, without_userinfo},
    spec::{DurationSyntax, FlagGroup, FlagSpec, Kind, Repeat, Status},
};

/// The flags of a command with their values.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    entries: BTreeMap<&'static str, Entry>,
    notices: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) spec: FlagSpec,
    pub(super) values: Vec<String>,
    /// The value of `--x-file`, for documents.
    pub(super) file: Option<String>,
}

/// A flag as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagValue {
    /// Name without the dashes.
    pub name: String,
    /// The value; `<REDACTED>` for a document given inline, and for name and password in an address.
    pub value: String,
    /// Whether it was on the command line.
    pub given: bool,
}

/// A value that is wrong, or a flag that was never declared.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("--{flag}: {problem}")]
pub struct FlagError {
    flag: String,
    problem: String,
}

impl Flags {
    /// Collects and checks what clap found; the error is a sentence.
    pub(super) fn collect(groups: &[&FlagGroup], matches: &ArgMatches) -> Result<Self, String> {
        let mut flags = Self::default();
        for spec in app::specs(groups) {
            let values = given(matches, spec.name);
            let files = match spec.kind {
                Kind::Content => given(matches, &format!("{}-file", spec.name)),
                _ => Vec::new(),
            };
            let repeats = spec.repeat != Repeat::Once || matches!(spec.status, Status::Ignored(_));
            if !repeats && (values.len() > 1 || files.len() > 1) {
                let suffix = if files.len() > 1 { "-file" } else { "" };
                return Err(format!("flag '{}{suffix}' cannot be repeated", spec.name));
            }
            flags.note_status(spec, &values, &files)?;
            if spec.status == Status::Works {
                for value in &values {
                    check(spec, value).map_err(|problem| format!("--{}: {problem}", spec.name))?;
                }
                let missing = values.is_empty() && !matches!(spec.kind, Kind::Content);
                if spec.required && missing {
                    return Err(format!("required flag --{} not provided", spec.name));
                }
            }
            flags.entries.insert(
                spec.name,
                Entry {
                    spec: *spec,
                    values,
                    file: files.into_iter().next_back(),
                },
            );
        }
        Ok(flags)
    }

    /// Whether the flag (or its `-file` twin) was on the command line.
    pub fn is_given(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(Entry::is_given)
    }

    /// Text as given, or the default.
    ///
    /// # Errors
    /// When the flag was not declared, as all getters.
    pub fn text(&self, name: &str) -> Result<&str, FlagError> {
        let entry = self.entry(name)?;
        Ok(entry.values.last().map_or(entry.spec.default, String::as_str))
    }

    /// Whether a boolean flag is on.
    ///
    /// # Errors
    /// When the value is no boolean.
    pub fn bool(&self, name: &str) -> Result<bool, FlagError> {
        self.read(name, |text| {
            if text.is_empty() {
                Ok(false)
            } else {
                parse_bool(text)
            }
        })
    }

    /// A whole number.
    ///
    /// # Errors
    /// When the value is none.
    pub fn int(&self, name: &str) -> Result<i64, FlagError> {
        self.read(name, parse_int)
    }

    /// A whole number that is not negative, of any unsigned type.
    ///
    /// # Errors
    /// When the value is none or too large.
    pub fn count<N: TryFrom<i64>>(&self, name: &str) -> Result<N, FlagError> {
        self.read(name, |text| {
            let number = parse_int(text)?;
            N::try_from(number).map_err(|_| format!("{number} is out of range"))
        })
    }

    /// A number.
    ///
    /// # Errors
    /// When the value is none.
    pub fn float(&self, name: &str) -> Result<f64, FlagError> {
        self.read(name, parse_float)
    }

    /// A duration in milliseconds.
    ///
    /// # Errors
    /// When the value is none.
    pub fn duration_ms(&self, name: &str) -> Result<i64, FlagError> {
        let syntax = match self.entry(name)?.spec.kind {
            Kind::Duration(syntax) => syntax,
            _ => DurationSyntax::Either,
        };
        self.read(name, |text| parse_duration_ms(syntax, text))
    }

    /// A duration that is not negative.
    ///
    /// # Errors
    /// When the value is none.
    pub fn duration(&self, name: &str) -> Result<Duration, FlagError> {
        let duration_ms = self.duration_ms(name)?;
        match u64::try_from(duration_ms) {
            Ok(duration_ms) => Ok(Duration::from_millis(duration_ms)),
            Err(_) => Err(FlagError::new(name, "a duration below zero makes no sense here")),
        }
    }

    /// A point in time, or a duration from the moment of its use.
    ///
    /// # Errors
    /// When the value is neither.
    pub fn time(&self, name: &str) -> Result<TimeOrDuration, FlagError> {
        self.read(name, parse_time)
    }

    /// A number of bytes; `None` when there is neither a value nor a default.
    ///
    /// # Errors
    /// When the value is none.
    pub fn bytes(&self, name: &str) -> Result<Option<u64>, FlagError> {
        self.read(name, |text| {
            if text.is_empty() {
                Ok(None)
            } else {
                parse_size(text).map(Some)
            }
        })
    }

    /// All values of a flag that may be repeated, its default if there is none; empty texts are left out.
    ///
    /// # Errors
    /// When the flag was not declared.
    pub fn list(&self, name: &str) -> Result<Vec<String>, FlagError> {
        let entry = self.entry(name)?;
        let default = [entry.spec.default.to_owned()];
        let values = if entry.values.is_empty() {
            default.as_slice()
        } else {
            entry.values.as_slice()
        };
        let parts = values.iter().flat_map(|value| match entry.spec.repeat {
            Repeat::CommaLists => value.split(',').map(str::trim).map(str::to_owned).collect(),
            Repeat::Once | Repeat::Many => vec![value.clone()],
        });
        Ok(parts.filter(|part| !part.is_empty()).collect())
    }

    /// A listen address.
    ///
    /// # Errors
    /// When the value is none.
    pub fn address(&self, name: &str) -> Result<ListenAddress, FlagError> {
        self.read(name, |text| {
            text.parse()
                .map_err(|error: super::AddressError| error.to_string())
        })
    }

    /// One line for every flag that was given and is ignored.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Logs the [`Flags::notices`]; call it once logging is set up.
    pub fn log_notices(&self) {
        for notice in &self.notices {
            tracing::info!("{notice}");
        }
    }

    /// All flags in order of their names, fit to be shown: documents given inline and passwords in
    /// addresses are redacted.
    pub fn shown(&self) -> Vec<FlagValue> {
        self.entries.values().flat_map(Entry::shown).collect()
    }

    pub(super) fn entry(&self, name: &str) -> Result<&Entry, FlagError> {
        self.entries
            .get(name)
            .ok_or_else(|| FlagError::new(name, "this command has no such flag"))
    }

    fn read<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, FlagError> {
        parse(self.text(name)?).map_err(|problem| FlagError::new(name, problem))
    }

    fn note_status(&mut self, spec: &FlagSpec, values: &[String], files: &[String]) -> Result<(), String> {
        let given = !values.is_empty() || !files.is_empty();
        match spec.status {
            Status::Ignored(why) if given => {
                self.notices
                    .push(format!("flag --{} is accepted and ignored: {why}", spec.name));
            }
            Status::Refused(instead)
                if values
                    .iter()
                    .chain(files)
                    .any(|value| !value.is_empty() && value != "false") =>
            {
                return Err(format!("flag --{} is not built yet: {instead}", spec.name));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Entry {
    fn is_given(&self) -> bool {
        !self.values.is_empty() || self.file.is_some()
    }

    fn shown(&self) -> Vec<FlagValue> {
        let name = self.spec.name;
        let row = |name: String, value: String, given| FlagValue { name, value, given };
        let given = !self.values.is_empty();
        let joined = if given {
            self.values.join(",")
        } else {
            self.spec.default.to_owned()
        };
        if !matches!(self.spec.kind, Kind::Content) {
            return vec![row(name.to_owned(), without_userinfo(&joined), given)];
        }
        let value = if joined.is_empty() {
            String::new()
        } else {
            REDACTED.to_owned()
        };
        let file = self.file.clone().unwrap_or_default();
        vec![
            row(name.to_owned(), value, given),
            row(format!("{name}-file"), file, self.file.is_some()),
        ]
    }
}

impl std::fmt::Debug for Entry {
    /// Shows no inline document and no password of an address.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.shown()).finish()
    }
}

impl FlagError {
    pub(crate) fn new(flag: &str, problem: impl Into<String>) -> Self {
        Self {
            flag: flag.to_owned(),
            problem: problem.into(),
        }
    }
}

fn given(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches
        .get_many::<String>(name)
        .unwrap_or_default()
        .cloned()
        .collect()
}

fn check(spec: &FlagSpec, text: &str) -> Result<(), String> {
    match spec.kind {
        Kind::Text | Kind::Content => Ok(()),
        Kind::Bool => parse_bool(text).map(drop),
        Kind::Int => match (parse_int(text)?, spec.min) {
            (number, Some(min)) if number < min => {
                Err(format!("{number} is too small, at least {min} is wanted"))
            }
            _ => Ok(()),
        },
        Kind::Float => parse_float(text).map(drop),
        Kind::Duration(syntax) => parse_duration_ms(syntax, text).map(drop),
        Kind::Size => parse_size(text).map(drop),
        Kind::Time => parse_time(text).map(drop),
        Kind::Choice(words) if words.contains(&text) => Ok(()),
        Kind::Choice(words) => Err(format!("one of {} is wanted, not {text:?}", words.join(", "))),
        Kind::Address => text
            .parse::<ListenAddress>()
            .map(drop)
            .map_err(|error| error.to_string()),
        Kind::Checked { check, .. } => check(text),
    }
}

/// The spellings of Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("true or false is wanted, not {text:?}")),
    }
}

fn parse_int(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("a whole number is wanted, not {text:?}"))
}

fn parse_float(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("a number is wanted, not {text:?}"))
}

fn parse_duration_ms(syntax: DurationSyntax, text: &str) -> Result<i64, String> {
    let parsed = match syntax {
        DurationSyntax::Go => duration::parse_go(text).map(duration::GoDuration::as_ms),
        DurationSyntax::Prometheus => duration::parse_model(text),
        DurationSyntax::Either => duration::parse_either(text),
    };
    parsed.map_err(|error| error.to_string())
}

fn parse_size(text: &str) -> Result<u64, String> {
    size::parse_bytes(text).map_err(|error| error.to_string())
}

fn parse_time(text: &str) -> Result<TimeOrDuration, String> {
    TimeOrDuration::parse(text).map_err(|error| error.to_string())
}
