//! What is cached of an object, and how.

use sabre_model::time::{format_rfc3339_ms, parse_rfc3339_ms};
use serde::{Deserialize, Serialize};

/// What is cached of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A segment: ranges and size.
    Chunks,
    /// `meta.json` or `deletion-mark.json`: content and existence, kept for others that share the cache.
    Meta,
    /// Nothing.
    Other,
}

impl Kind {
    pub(super) fn of(key: &str) -> Self {
        let Some((dir, file)) = key.rsplit_once('/') else {
            return Self::Other;
        };
        if file == "meta.json" || file == "deletion-mark.json" {
            return Self::Meta;
        }
        let is_number = !file.is_empty() && file.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && dir.ends_with("/chunks") {
            return Self::Chunks;
        }
        Self::Other
    }
}

#[derive(Serialize, Deserialize)]
struct Attributes {
    size: u64,
    last_modified: String,
}

pub(super) fn encode_attributes(size: u64, last_modified_ms: i64) -> Vec<u8> {
    let attributes = Attributes {
        size,
        last_modified: format_rfc3339_ms(last_modified_ms),
    };
    // Numbers and a text are always JSON.
    serde_json::to_vec(&attributes).unwrap_or_default()
}

/// Size and time.
pub(super) fn decode_attributes(value: &[u8]) -> Option<(u64, i64)> {
    let Attributes { size, last_modified } = serde_json::from_slice(value).ok()?;
    Some((size, parse_rfc3339_ms(&last_modified).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_metas_and_deletion_marks_are_cached() {
        assert_eq!(Kind::of("01H/chunks/000001"), Kind::Chunks);
        assert_eq!(Kind::of("tenant/01H/chunks/1"), Kind::Chunks);
        assert_eq!(Kind::of("01H/meta.json"), Kind::Meta);
        assert_eq!(Kind::of("01H/deletion-mark.json"), Kind::Meta);
        for other in [
            "chunks/1",
            "01H/index",
            "01H/chunks/1x",
            "01H/chunks/",
            "meta.json",
            "01H/no-compact-mark.json",
        ] {
            assert_eq!(Kind::of(other), Kind::Other, "{other}");
        }
    }

    #[test]
    fn attributes_are_those_of_thanos() {
        let value = encode_attributes(12, 1_700_000_000_123);
        assert_eq!(
            String::from_utf8(value.clone()).unwrap(),
            r#"{"size":12,"last_modified":"2023-11-14T22:13:20.123Z"}"#
        );
        assert_eq!(decode_attributes(&value), Some((12, 1_700_000_000_123)));
        let go = br#"{"size":5,"last_modified":"2023-11-14T22:13:20.123456789+01:00"}"#;
        assert_eq!(decode_attributes(go), Some((5, 1_699_996_400_123)));
        for bad in [&b""[..], b"{}", br#"{"size":-1,"last_modified":""}"#] {
            assert_eq!(decode_attributes(bad), None);
        }
    }
}
