//! The keys of a cache that is shared with Thanos.

use std::fmt::Write as _;

use blake2::{Blake2b, Digest, digest::consts::U32};
use sabre_model::{BlockId, Matcher};

/// What a list is called in keys: the hash of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListName([u8; 32]);

impl ListName {
    /// The list of a label.
    pub(crate) fn new(name: &str, value: &str) -> Self {
        Self(hash(&[name.as_bytes(), b":", value.as_bytes()]))
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Blake2b::<U32>::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// `P:<block>:<hash>:<codec>`
pub(super) fn postings(block: BlockId, list: ListName, codec: &str) -> String {
    format!("P:{block}:{}:{codec}", base64(&list.0))
}

/// `EP:<block>:<hash>:<codec>`
pub(super) fn expanded(block: BlockId, matchers: &[Matcher], codec: &str) -> String {
    let text = matchers_text(matchers);
    format!("EP:{block}:{}:{codec}", base64(&hash(&[text.as_bytes()])))
}

/// `S:<block>:<offset>`
pub(super) fn series(block: BlockId, offset: u64) -> String {
    format!("S:{block}:{offset}")
}

/// The matchers in Thanos' order, by kind, name and value, each as it is printed.
pub(super) fn matchers_text(matchers: &[Matcher]) -> String {
    let mut sorted: Vec<&Matcher> = matchers.iter().collect();
    sorted.sort_by(|a, b| {
        let key = |matcher: &'_ Matcher| matcher.kind().to_wire();
        key(a)
            .cmp(&key(b))
            .then_with(|| a.name().cmp(b.name()))
            .then_with(|| a.value().cmp(b.value()))
    });
    let mut text = String::new();
    for (number, matcher) in sorted.into_iter().enumerate() {
        if number > 0 {
            text.push(';');
        }
        // A text never refuses to be written to.
        let _ = write!(text, "{matcher}");
    }
    text
}

/// Base64 for URLs, without padding.
fn base64(bytes: &[u8; 32]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(43);
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            let at = (word >> (18 - 6 * digit)) & 63;
            text.push(char::from(DIGITS.get(at as usize).copied().unwrap_or(b'A')));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use sabre_model::MatchKind;

    use super::*;

    fn block() -> BlockId {
        "01D78XZ44G0000000000000000".parse().unwrap()
    }

    #[test]
    fn lists_are_called_as_in_thanos() {
        // BLAKE2b with 32 bytes of "foo:bar", as base64 for URLs.
        let key = postings(block(), ListName::new("foo", "bar"), "dss");
        let expected = base64(&hash(&[b"foo:bar"]));
        assert_eq!(key, format!("P:01D78XZ44G0000000000000000:{expected}:dss"));
        assert_eq!(expected.len(), 43);
    }

    #[test]
    fn hashes_are_blake2b_of_32_bytes() {
        // From RFC 7693's reference code: BLAKE2b-256 of "abc".
        let expected = [
            0xbd, 0xdd, 0x81, 0x3c, 0x63, 0x42, 0x39, 0x72, 0x31, 0x71, 0xef, 0x3f, 0xee, 0x98, 0x57, 0x9b,
            0x94, 0x96, 0x4e, 0x3b, 0xb1, 0xcb, 0x3e, 0x42, 0x72, 0x62, 0xc8, 0xc0, 0x68, 0xd5, 0x23, 0x19,
        ];
        assert_eq!(hash(&[b"a", b"bc"]), expected);
        assert_eq!(base64(&expected), "vd2BPGNCOXIxce8_7phXm5SWTjuxyz5CcmLIwGjVIxk");
    }

    #[test]
    fn matchers_are_sorted_by_kind_then_name_then_value() {
        let matcher = |kind, name: &str, value: &str| Matcher::new(kind, name, value).unwrap();
        let matchers = [
            matcher(MatchKind::Nre, "a", "x|y"),
            matcher(MatchKind::Eq, "b", "2"),
            matcher(MatchKind::Re, "a", ".+"),
            matcher(MatchKind::Eq, "a", "quo\"te\n"),
            matcher(MatchKind::Neq, "a", ""),
            matcher(MatchKind::Eq, "b", "1"),
        ];
        let text = r#"a="quo\"te\n";b="1";b="2";a!="";a=~".+";a!~"x|y""#;
        assert_eq!(matchers_text(&matchers), text);
        assert_eq!(series(block(), 4096), "S:01D78XZ44G0000000000000000:4096");
    }
}
