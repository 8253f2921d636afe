//! YAML documents given in flags and files: strict parsing and `$(VAR)` substitution.
//!
//! Error messages name the document, the key and the place, but never show a value: configuration holds secrets.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_saphyr::{Error, Location, MessageFormatter as _, UserMessageFormatter};

mod nearest;
#[cfg(test)]
mod tests;

/// The longest document that is read, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 4 << 20;

/// What is wrong with a YAML document.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum YamlError {
    /// The document is longer than [`MAX_DOCUMENT_BYTES`].
    #[error("{what}: {size_bytes} bytes of YAML, at most {max_bytes} are read")]
    TooLarge {
        /// Name of the document, usually the flag it came from.
        what: String,
        /// Length of the document.
        size_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The document does not parse, or does not fit the expected keys.
    #[error("{what}: line {line}, column {column}: {problem}")]
    Invalid {
        /// Name of the document, usually the flag it came from.
        what: String,
        /// Line of the problem, from 1; 0 when unknown.
        line: u64,
        /// Column of the problem, from 1; 0 when unknown.
        column: u64,
        /// What is wrong there, and at which key.
        problem: String,
    },
}

/// A `$(VAR)` that cannot be substituted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what}: line {line}, column {column}: environment variable {name} is not set")]
pub struct EnvError {
    /// Name of the document, usually the flag it came from.
    pub what: String,
    /// Name of the variable.
    pub name: String,
    /// Line of the reference, from 1.
    pub line: u64,
    /// Column of the reference, from 1, in characters.
    pub column: u64,
}

/// Parses one YAML document; a key given twice is an error, and so is an unknown one if `T` (and every struct in it)
/// carries `#[serde(deny_unknown_fields)]`, which all configuration types of this project do.
///
/// Scalars are coerced to strings as written (`regex: 0` into a `String` gives `"0"`), and `yes`, `no`, `on`, `off`
/// are booleans where a boolean is wanted. `key:` without a value is an error for a `String` or a struct, unless the
/// field says `#[serde(deserialize_with = "sabre_runtime::yaml::null_is_default", default)]`.
///
/// # Errors
/// Says which document (`what`), where, and which key; see [`YamlError`].
pub fn from_str_strict<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, YamlError> {
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(YamlError::TooLarge {
            what: what.to_owned(),
            size_bytes: text.len(),
            max_bytes: MAX_DOCUMENT_BYTES,
        });
    }
    let options = serde_saphyr::options! {
        // A snippet of the text would carry its secrets into the log.
        with_snippet: false,
        budget: serde_saphyr::budget! { max_nodes: 100_000, max_anchors: 1_000, max_aliases: 1_000 },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| invalid(what, text, &error))
}

/// Reads a field whose key may stand without a value, as Go's YAML does: `key:` and `key: null` give the default.
///
/// # Errors
/// Those of `T`.
pub fn null_is_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Replaces every `$(NAME)`, where NAME is `[a-zA-Z_0-9]+`, by what `lookup` gives; anything else stays as it is.
///
/// # Errors
/// The first variable that `lookup` does not know, with its place.
pub fn expand_env(
    what: &str,
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, EnvError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("$(") {
        expanded.push_str(before);
        match after.split_once(')') {
            Some((name, tail)) if is_variable_name(name) => {
                let value = lookup(name).ok_or_else(|| {
                    let offset_bytes = text.len().saturating_sub(after.len()).saturating_sub(2);
                    let (line, column) = line_and_column(text, offset_bytes);
                    EnvError {
                        what: what.to_owned(),
                        name: name.to_owned(),
                        line,
                        column,
                    }
                })?;
                expanded.push_str(&value);
                rest = tail;
            }
            _ => {
                expanded.push_str("$(");
                rest = after;
            }
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn line_and_column(text: &str, offset_bytes: usize) -> (u64, u64) {
    let before = text.get(..offset_bytes).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line as u64, column as u64)
}

fn invalid(what: &str, text: &str, error: &Error) -> YamlError {
    let location = error.location().filter(|location| *location != Location::UNKNOWN);
    let (line, column) = location.map_or((0, 0), |location| (location.line(), location.column()));
    let key = key_before(text, line, column);
    let problem = describe(error.without_snippet(), key.as_deref());
    YamlError::Invalid {
        what: what.to_owned(),
        line,
        column,
        problem,
    }
}

/// Words the error without the value that caused it.
fn describe(error: &Error, key: Option<&str>) -> String {
    let at_key = key.map(|key| format!(" for key `{key}`")).unwrap_or_default();
    match error {
        Error::SerdeUnknownField { field, expected, .. } if expected.is_empty() => {
            format!("unknown key `{field}`, no key is known here")
        }
        Error::SerdeUnknownField { field, expected, .. } => {
            let known = expected.join(", ");
            match nearest::nearest(field, expected) {
                Some(near) => format!("unknown key `{field}`, known are {known}; did you mean `{near}`?"),
                None => format!("unknown key `{field}`, known are {known}"),
            }
        }
        Error::SerdeUnknownVariant { expected, .. } => {
            format!("unknown value{at_key}, one of {} is wanted", expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("key `{field}` is missing"),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("key `{key}` is given twice"),
        Error::DuplicateMappingKey { key: None, .. } => "a key is given twice".to_owned(),
        Error::SerdeInvalidType {
            unexpected, expected, ..
        }
        | Error::SerdeInvalidValue {
            unexpected, expected, ..
        } => {
            format!("{}{at_key}, {expected} is wanted", kind_of(unexpected))
        }
        Error::InvalidScalar { ty, .. } => format!("invalid {ty}{at_key}"),
        Error::NonFiniteFloat { .. } => format!("a number that is not finite{at_key}"),
        Error::QuotingRequired { .. } => format!("the value{at_key} must be quoted"),
        Error::NullIntoString { .. } => format!("no value{at_key}"),
        Error::MultipleDocuments { .. } => "more than one YAML document".to_owned(),
        other => {
            let message = UserMessageFormatter.format_message(other);
            format!("{}{at_key}", message.trim_end_matches('.'))
        }
    }
}

/// Keeps the kind of serde's "unexpected" (`string "x"`, `integer `5``) and drops the value.
fn kind_of(unexpected: &str) -> &str {
    unexpected.split(['"', '`']).next().unwrap_or_default().trim_end()
}

/// Finds the key whose value begins at `line` and `column`: the word before the nearest colon to the left of it.
fn key_before(text: &str, line: u64, column: u64) -> Option<String> {
    let line_index = usize::try_from(line.checked_sub(1)?).ok()?;
    let column_index = usize::try_from(column.checked_sub(1)?).ok()?;
    let current: String = text.lines().nth(line_index)?.chars().take(column_index).collect();
    let earlier: Vec<&str> = text.lines().take(line_index).collect();
    let before = std::iter::once(current.as_str())
        .chain(earlier.into_iter().rev())
        .map(str::trim_end)
        .find(|part| !part.trim_start().is_empty())?;
    let word = before.strip_suffix(':')?;
    let word = word
        .rsplit([' ', '{', ',', '[', '\t'])
        .next()?
        .trim_matches(['"', '\'']);
    (!word.is_empty()).then(|| word.to_owned())
}
