//! Which strings are keys.
//!
//! A key is a relative path of non-empty segments, none of them `.` or `..`: what is a key in one bucket is a key
//! in all of them, and can never leave a directory that it is joined to.

use crate::error::{Error, ErrorKind, Operation, Result};

/// The longest key that S3 takes, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// Says why `key` is not a key; `None` if it is one.
pub fn why_invalid(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("a key must not be empty");
    }
    if key.len() > MAX_KEY_BYTES {
        return Some("a key must not be longer than 1024 bytes");
    }
    if key.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Some("a key must not hold control characters");
    }
    for segment in key.split('/') {
        match segment {
            "" => return Some("a key must not begin or end with \"/\", nor hold \"//\""),
            "." | ".." => return Some("a key must not hold a segment \".\" or \"..\""),
            _ => {}
        }
    }
    None
}

/// Refuses what is not a key.
pub fn check(operation: Operation, bucket: &str, key: &str) -> Result<()> {
    match why_invalid(key) {
        None => Ok(()),
        Some(why) => Err(Error::new(ErrorKind::Invalid, operation, bucket, key, why)),
    }
}

/// The listed directory with its trailing "/", or "" for the root: `a`, `a/` → `a/`.
pub fn directory(bucket: &str, prefix: &str) -> Result<String> {
    let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
    if trimmed.is_empty() && prefix.is_empty() {
        return Ok(String::new());
    }
    check(Operation::Iter, bucket, trimmed)?;
    Ok(format!("{trimmed}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_relative_paths() {
        for key in [
            "a",
            "a/b",
            "01ABC/chunks/000001",
            "ü/日本 x",
            "a..b",
            "...",
            "a+b%2F",
            "-",
            "a\\b",
            ".hidden",
        ] {
            assert_eq!(why_invalid(key), None, "{key}");
        }
        assert_eq!(why_invalid(&"k".repeat(MAX_KEY_BYTES)), None);
    }

    #[test]
    fn refuses_what_could_escape_or_differ() {
        for key in [
            "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "a\0b", "a\nb",
        ] {
            assert!(why_invalid(key).is_some(), "{key:?}");
        }
        assert!(why_invalid(&"k".repeat(MAX_KEY_BYTES + 1)).is_some());
    }

    #[test]
    fn directories_end_in_one_slash() {
        assert_eq!(directory("b", "").unwrap(), "");
        assert_eq!(directory("b", "a").unwrap(), "a/");
        assert_eq!(directory("b", "a/b/").unwrap(), "a/b/");
        for prefix in ["/", "//", "a//", "../a/", "/a/"] {
            assert_eq!(
                directory("b", prefix).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{prefix}"
            );
        }
    }
}
