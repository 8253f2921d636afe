//! Documents given inline or as a file.

use std::{fs, io};

use super::{FlagError, Flags};
use crate::yaml::{self, EnvError, MAX_DOCUMENT_BYTES};

/// Why the document of a pair of flags cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Both flags of the pair have a value.
    #[error("both --{flag} and --{flag}-file are given, one of them is wanted")]
    Both {
        /// The inline flag.
        flag: String,
    },
    /// The document is required and there is none, or an empty one.
    #[error("--{flag} or --{flag}-file is required and must not be empty")]
    Required {
        /// The inline flag.
        flag: String,
    },
    /// The file cannot be read.
    #[error("--{flag}-file: cannot read {path}: {source}")]
    Read {
        /// The inline flag.
        flag: String,
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A `$(VAR)` in the document is not set.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// The flag was not declared.
    #[error(transparent)]
    Flag(#[from] FlagError),
}

impl Flags {
    /// The document of `--name` or `--name-file` with `$(VAR)` replaced from the environment; `None` when there is
    /// none or it is empty and not required.
    ///
    /// # Errors
    /// Both flags given, the file unreadable, a variable unset, or nothing given where it is required.
    pub fn content(&self, name: &str) -> Result<Option<String>, ContentError> {
        self.content_with(name, &|variable| std::env::var(variable).ok())
    }

    /// The path of `--name-file`, for documents that are read again.
    ///
    /// # Errors
    /// When the flag was not declared.
    pub fn content_file(&self, name: &str) -> Result<Option<String>, super::FlagError> {
        let file = self.entry(name)?.file.clone();
        Ok(file.filter(|path| !path.is_empty()))
    }

    /// As [`Flags::content`], with another environment.
    ///
    /// # Errors
    /// As [`Flags::content`].
    pub fn content_with(
        &self,
        name: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, ContentError> {
        let entry = self.entry(name)?;
        let flag = name.to_owned();
        let inline = entry
            .values
            .last()
            .map(String::as_str)
            .filter(|text| !text.is_empty());
        let path = entry.file.as_deref().filter(|path| !path.is_empty());
        let (what, text) = match (inline, path) {
            (Some(_), Some(_)) => return Err(ContentError::Both { flag }),
            (Some(text), None) => (format!("--{name}"), text.to_owned()),
            (None, Some(path)) => (format!("--{name}-file={path}"), read(name, path)?),
            (None, None) => (String::new(), String::new()),
        };
        if text.is_empty() {
            return if entry.spec.required {
                Err(ContentError::Required { flag })
            } else {
                Ok(None)
            };
        }
        Ok(Some(yaml::expand_env(&what, &text, lookup)?))
    }
}

fn read(name: &str, path: &str) -> Result<String, ContentError> {
    let failed = |source| ContentError::Read {
        flag: name.to_owned(),
        path: path.to_owned(),
        source,
    };
    let size_bytes = fs::metadata(path).map_err(failed)?.len();
    if size_bytes > MAX_DOCUMENT_BYTES as u64 {
        let problem = format!("{size_bytes} bytes, at most {MAX_DOCUMENT_BYTES} are read");
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, problem)));
    }
    fs::read_to_string(path).map_err(failed)
}
