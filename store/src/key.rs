//! Labels as one byte string whose order is the order of labels.
//!
//! Every name and value is followed by a zero byte, so comparing two keys as bytes compares names and values pair by
//! pair, and a prefix comes first. The bytes 0 and 1, which no sane label has, are written as `1 1` and `1 2`: that
//! keeps both the order and the way back.

use std::{borrow::Cow, ffi::CStr};

const END: u8 = 0;
const ESCAPE: u8 = 1;

/// Appends one label to a key.
pub(crate) fn push_label(key: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push_part(key, name);
    push_part(key, value);
}

fn push_part(key: &mut Vec<u8>, part: &[u8]) {
    if part.iter().all(|&byte| byte > ESCAPE) {
        key.extend_from_slice(part);
    } else {
        for &byte in part {
            match byte {
                END => key.extend_from_slice(&[ESCAPE, 1]),
                ESCAPE => key.extend_from_slice(&[ESCAPE, 2]),
                other => key.push(other),
            }
        }
    }
    key.push(END);
}

/// The key of a whole label set.
pub(crate) fn from_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut key = Vec::new();
    for (name, value) in labels {
        push_label(&mut key, name.as_bytes(), value.as_bytes());
    }
    key
}

/// The labels of a key, in order.
pub(crate) fn labels(key: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    let mut rest = key;
    std::iter::from_fn(move || {
        let name = next_part(&mut rest)?;
        let value = next_part(&mut rest)?;
        Some((name, value))
    })
}

/// The labels of a key, in order, if none of them has anything escaped in it: the fast way.
pub(crate) fn text_labels(key: &[u8]) -> Option<impl Iterator<Item = (&str, &str)>> {
    if key.contains(&ESCAPE) {
        return None;
    }
    let mut rest = std::str::from_utf8(key).ok()?;
    Some(std::iter::from_fn(move || {
        let (name, value) = (next_text(&mut rest)?, next_text(&mut rest)?);
        Some((name, value))
    }))
}

fn next_text<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let end = end_of_part(rest.as_bytes())?;
    let text = rest.get(..end)?;
    *rest = rest.get(end + 1..)?;
    Some(text)
}

/// Where the first zero byte is. Parts are short, so this looks at eight bytes at a time without any preparation.
fn end_of_part(bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest byte that is flagged is the first zero; bytes above it may be flagged wrongly.
        let zeros = word.wrapping_sub(LOW) & !word & HIGH;
        if zeros != 0 {
            return Some(number * 8 + (zeros.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter()
        .position(|&byte| byte == END)
        .map(|at| words.len() * 8 + at)
}

fn next_part<'a>(rest: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
    // A C string ends where a part does, and the search for its end is a fast one.
    let part = CStr::from_bytes_until_nul(rest).ok()?.to_bytes();
    *rest = rest.get(part.len() + 1..)?;
    Some(unescaped(part))
}

fn unescaped(part: &[u8]) -> Cow<'_, [u8]> {
    if !part.contains(&ESCAPE) {
        return Cow::Borrowed(part);
    }
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            ESCAPE => out.push(bytes.next().map_or(ESCAPE, |code| code.saturating_sub(1))),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Series = Vec<(Vec<u8>, Vec<u8>)>;

    fn key_of(series: &Series) -> Vec<u8> {
        let mut key = Vec::new();
        for (name, value) in series {
            push_label(&mut key, name, value);
        }
        key
    }

    fn series() -> impl Strategy<Value = Series> {
        let part = || {
            proptest::collection::vec(
                prop_oneof![Just(0u8), Just(1), Just(2), Just(b'a'), Just(255)],
                0..4,
            )
        };
        proptest::collection::vec((part(), part()), 0..4)
    }

    #[test]
    fn pairs_are_compared_and_not_joined_strings() {
        let longer = from_labels([("a", "1"), ("b", "2")].into_iter());
        assert!(from_labels([("a", "1")].into_iter()) < longer);
        assert!(from_labels([("a", "12")].into_iter()) > longer);
        assert!(from_labels([("ab", "")].into_iter()) > longer);
    }

    proptest! {
        #[test]
        fn keys_order_like_labels_and_lead_back(a in series(), b in series()) {
            prop_assert_eq!(key_of(&a).cmp(&key_of(&b)), a.cmp(&b));
            let back: Series = labels(&key_of(&a)).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
            prop_assert_eq!(back, a);
        }

        #[test]
        fn both_ways_read_the_same_texts(labels in proptest::collection::vec((".{0,20}", ".{0,30}"), 0..6)) {
            let key = from_labels(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            match text_labels(&key) {
                Some(read) => prop_assert!(read.eq(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())))),
                None => prop_assert!(key.contains(&ESCAPE)),
            }
        }

        #[test]
        fn the_first_zero_is_found(bytes in proptest::collection::vec(0u8..3, 0..40)) {
            prop_assert_eq!(end_of_part(&bytes), bytes.iter().position(|byte| *byte == 0));
        }
    }
}
