//! The configuration file with `$(VAR)` replaced, and unpacked if it is gzip'ed.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use sabre_runtime::yaml::expand_env;

use super::Lookup;

/// The longest configuration that is rendered, unpacked.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];

/// What rendering did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rendered {
    /// The file is new.
    Written,
    /// It was there already, byte by byte.
    Unchanged,
}

/// Why the file cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too long.
    #[error("{path}: more than {MAX_CONFIG_BYTES} bytes, which is the most that is rendered")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is no text.
    #[error("{path}: not a text in UTF-8 at byte {offset}")]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where it stops being one, unpacked.
        offset: usize,
    },
    /// Variables it names are not set.
    #[error(
        "{path}: environment variables are not set: {}; set them for the sidecar, or take the references out",
        names.join(", ")
    )]
    Unset {
        /// The file.
        path: PathBuf,
        /// The variables, in order of their first reference.
        names: Vec<String>,
    },
}

/// Renders `from` to `to`, which is replaced as a whole: after a crash the old or the new one is there.
///
/// # Errors
/// Nothing is written then.
pub(super) fn render(from: &Path, to: &Path, lookup: Lookup) -> Result<Rendered, RenderError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RenderError::File { path, source }
    };
    let text = read(from)?;
    let text = expand(from, &text, lookup)?;
    if fs::metadata(to).is_ok_and(|meta| meta.len() == text.len() as u64)
        && fs::read(to).is_ok_and(|old| old == text.as_bytes())
    {
        return Ok(Rendered::Unchanged);
    }
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, to)
    };
    write()
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .map_err(failed(to))?;
    Ok(Rendered::Written)
}

fn read(path: &Path) -> Result<String, RenderError> {
    let failed = |source| RenderError::File {
        path: path.to_path_buf(),
        source,
    };
    let too_long = || RenderError::TooLong {
        path: path.to_path_buf(),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_CONFIG_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.starts_with(&GZIP_MAGIC) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(&*bytes)
            .take(MAX_CONFIG_BYTES + 1)
            .read_to_end(&mut unpacked)
            .map_err(failed)?;
        bytes = unpacked;
    }
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(too_long());
    }
    String::from_utf8(bytes).map_err(|error| RenderError::NotText {
        path: path.to_path_buf(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// Names all variables that are missing at once, not the first alone.
fn expand(path: &Path, text: &str, lookup: Lookup) -> Result<String, RenderError> {
    let missing = RefCell::new(Vec::<String>::new());
    let look = |name: &str| {
        let value = lookup(name);
        let mut missing = missing.borrow_mut();
        if value.is_none() && !missing.iter().any(|known| known == name) {
            missing.push(name.to_string());
        }
        Some(value.unwrap_or_default())
    };
    // The lookup above knows every variable.
    let expanded = expand_env("", text, &look).unwrap_or_default();
    let names = missing.into_inner();
    if names.is_empty() {
        return Ok(expanded);
    }
    Err(RenderError::Unset {
        path: path.to_path_buf(),
        names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "REPLICA" => Some("a".to_string()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn variables_are_replaced_in_plain_and_packed_files() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("in"), dir.path().join("out"));
        let text = "a: $(REPLICA)$(EMPTY)\nb: $REPLICA ${REPLICA} $(not-one)\n";
        let want = "a: a\nb: $REPLICA ${REPLICA} $(not-one)\n";
        for bytes in [text.as_bytes().to_vec(), gzip(text)] {
            fs::write(&from, bytes).unwrap();
            drop(fs::remove_file(&to));
            assert_eq!(render(&from, &to, lookup).unwrap(), Rendered::Written);
            assert_eq!(fs::read_to_string(&to).unwrap(), want);
            assert_eq!(render(&from, &to, lookup).unwrap(), Rendered::Unchanged);
        }
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "no temporary file stays"
        );
    }

    #[test]
    fn a_short_file_is_no_packed_one() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("in"), dir.path().join("out"));
        for text in ["", "a", "ab"] {
            fs::write(&from, text).unwrap();
            render(&from, &to, lookup).unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), text);
        }
    }

    #[test]
    fn all_missing_variables_are_named_and_the_old_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("in"), dir.path().join("out"));
        fs::write(&to, "old").unwrap();
        fs::write(&from, "$(X) $(REPLICA) $(Y) $(X)").unwrap();
        let error = render(&from, &to, lookup).unwrap_err();
        assert!(matches!(&error, RenderError::Unset { names, .. } if names == &["X", "Y"]));
        assert!(error.to_string().contains("not set: X, Y;"), "{error}");
        assert_eq!(fs::read_to_string(&to).unwrap(), "old");
    }

    #[test]
    fn broken_files_are_errors_that_name_them() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("in"), dir.path().join("out"));
        assert!(
            render(&from, &to, lookup)
                .unwrap_err()
                .to_string()
                .contains("in: ")
        );
        let packed = gzip("a: b");
        fs::write(&from, &packed[..packed.len() - 3]).unwrap();
        assert!(matches!(
            render(&from, &to, lookup),
            Err(RenderError::File { .. })
        ));
        fs::write(&from, b"a: \xff").unwrap();
        assert!(matches!(
            render(&from, &to, lookup),
            Err(RenderError::NotText { offset: 3, .. })
        ));
        let nowhere = dir.path().join("no/out");
        fs::write(&from, "a").unwrap();
        let error = render(&from, &nowhere, lookup).unwrap_err().to_string();
        assert!(error.contains("no/out"), "{error}");
        assert!(!to.exists());
    }

    #[test]
    fn a_bomb_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("in"), dir.path().join("out"));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let zeros = vec![b' '; 1 << 20];
        for _ in 0..65 {
            encoder.write_all(&zeros).unwrap();
        }
        fs::write(&from, encoder.finish().unwrap()).unwrap();
        assert!(matches!(
            render(&from, &to, lookup),
            Err(RenderError::TooLong { .. })
        ));
    }
}
