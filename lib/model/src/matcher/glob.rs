//! Expressions that are texts with gaps of anything: `api-.*`, `.*foo.*`, `a.*b.+`.

use regex_syntax::hir::{Class, Hir, HirKind};

/// A text, then gaps of any characters, each followed by a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Glob {
    /// What values start with; can be empty.
    head: String,
    /// At least one. Only the text of the last can be empty.
    gaps: Vec<Gap>,
}

/// Any characters, and the text after them.
#[derive(Debug, PartialEq, Eq)]
struct Gap {
    min_chars: u32,
    text: String,
}

impl Glob {
    /// The glob that an expression is, if it is one and has a gap.
    pub(super) fn from_hir(hir: &Hir) -> Option<Glob> {
        let mut glob = Glob {
            head: String::new(),
            gaps: Vec::new(),
        };
        match hir.kind() {
            HirKind::Concat(parts) => parts.iter().try_for_each(|part| glob.push(part))?,
            _ => glob.push(hir)?,
        }
        (!glob.gaps.is_empty()).then_some(glob)
    }

    fn push(&mut self, part: &Hir) -> Option<()> {
        match part.kind() {
            HirKind::Literal(literal) => {
                let text = std::str::from_utf8(&literal.0).ok()?;
                self.gaps
                    .last_mut()
                    .map_or(&mut self.head, |gap| &mut gap.text)
                    .push_str(text);
            }
            HirKind::Repetition(repetition) if repetition.max.is_none() && is_any(&repetition.sub) => {
                match self.gaps.last_mut() {
                    // One gap after another is one that is as long as both.
                    Some(gap) if gap.text.is_empty() => {
                        gap.min_chars = gap.min_chars.saturating_add(repetition.min);
                    }
                    _ => self.gaps.push(Gap {
                        min_chars: repetition.min,
                        text: String::new(),
                    }),
                }
            }
            HirKind::Empty => {}
            _ => return None,
        }
        Some(())
    }

    /// What values start with.
    pub(super) fn head(&self) -> &str {
        &self.head
    }

    /// The least length, if all values match that have it.
    pub(super) fn min_chars_of_anything(&self) -> Option<u32> {
        match self.gaps.as_slice() {
            [gap] if self.head.is_empty() && gap.text.is_empty() => Some(gap.min_chars),
            _ => None,
        }
    }

    /// Whether the whole value matches. Every text but the last is taken where it comes first, which leaves the most to
    /// those after it.
    pub(super) fn is_match(&self, value: &str) -> bool {
        let Some(mut left) = value.strip_prefix(self.head.as_str()) else {
            return false;
        };
        let Some((last, gaps)) = self.gaps.split_last() else {
            return left.is_empty();
        };
        for gap in gaps {
            let found = skip_chars(left, gap.min_chars).and_then(|rest| rest.split_once(gap.text.as_str()));
            match found {
                Some((_, rest)) => left = rest,
                None => return false,
            }
        }
        skip_chars(left, last.min_chars).is_some_and(|rest| rest.ends_with(last.text.as_str()))
    }
}

/// The text after so many characters, if it has as many.
fn skip_chars(text: &str, count: u32) -> Option<&str> {
    let mut chars = text.chars();
    for _ in 0..count {
        chars.next()?;
    }
    Some(chars.as_str())
}

/// Whether an expression is one of any character, line ends too.
fn is_any(hir: &Hir) -> bool {
    let HirKind::Class(Class::Unicode(class)) = hir.kind() else {
        return false;
    };
    matches!(class.ranges(), [range] if range.start() == '\0' && range.end() == char::MAX)
}
