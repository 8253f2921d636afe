//! Finds the key that a position in a JSON text belongs to, for error messages.

use std::fmt::Write as _;

/// An open object or array, and where in it the position is.
enum Frame {
    Object { key: String },
    Array { index: usize },
}

/// Returns the path, such as `thanos.files[2].size_bytes`, of the value that contains (or ends at) the given
/// line and column of `text`, both counted from 1 in bytes. The top level is the empty path.
///
/// The text may be broken anywhere: what comes after the position is not looked at.
pub(super) fn at(text: &[u8], line: usize, column: usize) -> String {
    let mut frames = Vec::new();
    let mut rest = text.get(..offset_of(text, line, column)).unwrap_or(text);
    // Whether the next string is a key of the innermost object.
    let mut key_follows = false;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'{' => {
                frames.push(Frame::Object { key: String::new() });
                key_follows = true;
            }
            b'[' => frames.push(Frame::Array { index: 0 }),
            b'}' | b']' => {
                frames.pop();
            }
            b',' => match frames.last_mut() {
                Some(Frame::Object { .. }) => key_follows = true,
                Some(Frame::Array { index }) => *index = index.saturating_add(1),
                None => {}
            },
            b'"' => {
                let (string, after) = split_string(rest);
                rest = after;
                if let (true, Some(Frame::Object { key })) = (key_follows, frames.last_mut()) {
                    *key = String::from_utf8_lossy(string).into_owned();
                    key_follows = false;
                }
            }
            _ => {}
        }
    }
    render(&frames)
}

fn offset_of(text: &[u8], line: usize, column: usize) -> usize {
    let line_start = match line.checked_sub(2) {
        None => 0,
        Some(newlines_before) => text
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(newlines_before)
            .map_or(text.len(), |(at, _)| at.saturating_add(1)),
    };
    line_start.saturating_add(column).min(text.len())
}

/// Splits at the closing quote; a string without one takes everything.
fn split_string(text: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'"' if !escaped => {
                let (string, after) = text.split_at(at);
                return (string, after.get(1..).unwrap_or_default());
            }
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    (text, &[])
}

fn render(frames: &[Frame]) -> String {
    let mut path = String::new();
    for frame in frames {
        match frame {
            Frame::Object { key } if key.is_empty() => {}
            Frame::Object { key } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Frame::Array { index } => {
                // Writing into a String cannot fail.
                let _ = write!(path, "[{index}]");
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_the_innermost_key() {
        let text = b"{\n\"a\": {\"b\": [1, {\"c\\\"d\": 2}]},\n\"e\": 3}";
        assert_eq!(at(text, 1, 1), "");
        assert_eq!(at(text, 2, 13), "a.b[0]");
        assert_eq!(at(text, 2, 25), "a.b[1].c\\\"d");
        assert_eq!(at(text, 2, 28), "a");
        assert_eq!(at(text, 3, 6), "e");
        assert_eq!(at(text, 3, 100), "", "past the end of the text");
    }

    proptest! {
        #[test]
        fn any_text_and_position_is_fine(text: Vec<u8>, line: usize, column: usize) {
            at(&text, line, column);
        }
    }
}
