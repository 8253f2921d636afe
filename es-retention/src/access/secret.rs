//! Texts that nobody sees.

use std::{fmt, path::PathBuf};

use serde::Deserialize;

use super::AccessError;

/// A text that `Debug` does not show.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// Where a secret comes from. Files are read at each request, because they are rotated while we run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecretSource {
    Text(Secret),
    File(PathBuf),
}

impl Secret {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_empty() { "(none)" } else { "(secret)" })
    }
}

impl SecretSource {
    /// Takes the one that is given; `None` if neither is. A file must be readable now, so that a wrong name is found before
    /// the first request.
    pub(super) fn choose(
        key: &'static str,
        text: &Secret,
        file: Option<&PathBuf>,
    ) -> Result<Option<Self>, AccessError> {
        let Some(path) = file else {
            return Ok((!text.is_empty()).then(|| Self::Text(text.clone())));
        };
        if !text.is_empty() {
            return Err(AccessError::new(
                key,
                "given as text and as a file, one of them is wanted",
            ));
        }
        let source = Self::File(path.clone());
        match source.read() {
            Ok(secret) if secret.is_empty() => {
                Err(AccessError::new(key, format!("{} is empty", path.display())))
            }
            Ok(_) => Ok(Some(source)),
            Err(problem) => Err(AccessError::new(key, problem)),
        }
    }

    /// The secret as of now, without white space around it.
    pub(super) fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| Secret(text.trim().to_owned()))
                .map_err(|error| format!("cannot read {}: {error}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_each_time_and_trimmed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\n").unwrap();
        let path = file.path().to_path_buf();
        let source = SecretSource::choose("k", &Secret::default(), Some(&path))
            .unwrap()
            .unwrap();
        assert_eq!(source.read().unwrap().reveal(), "one");
        std::fs::write(file.path(), "two").unwrap();
        assert_eq!(source.read().unwrap().reveal(), "two");
    }

    #[test]
    fn what_cannot_be_read_or_is_given_twice_is_refused_with_its_key() {
        let missing = PathBuf::from("does-not-exist");
        let refused =
            |text: &str, file| SecretSource::choose("access.api_key_file", &Secret::from(text), file);
        let error = refused("", Some(&missing)).unwrap_err().to_string();
        assert!(
            error.starts_with("access.api_key_file: cannot read does-not-exist"),
            "{error}"
        );
        let error = refused("canary", Some(&missing)).unwrap_err().to_string();
        assert!(
            error.contains("one of them") && !error.contains("canary"),
            "{error}"
        );
        assert_eq!(refused("", None).unwrap(), None);
    }
}
