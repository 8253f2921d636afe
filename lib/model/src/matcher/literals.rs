//! Expressions that stand for a list of texts.

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

/// The most texts that sequences, classes and counts may stand for. Alternatives that are written out may be more.
const MAX_PRODUCT: usize = 256;

/// The most bytes of the texts that sequences, classes and counts may stand for.
const MAX_PRODUCT_BYTES: usize = 256 << 10;

/// The longest list that is read without looking at it as an expression. Dashboards write such lists, of all the pods a
/// variable selects.
const MAX_LIST_BYTES: usize = 1 << 20;

/// Reads an expression that is nothing but alternatives of characters and escaped punctuation, in one pair of
/// parentheses or none: `a|b`, `(10\.0\.0\.1|10\.0\.0\.2)`.
pub(super) fn written_out(pattern: &str) -> Option<Vec<String>> {
    if pattern.len() > MAX_LIST_BYTES {
        return None;
    }
    let inner = match pattern.strip_prefix('(') {
        // An escaped parenthesis at the end shows as a backslash there.
        Some(inner) => inner.strip_prefix("?:").unwrap_or(inner).strip_suffix(')')?,
        None => pattern,
    };
    let mut list = Vec::new();
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '|' => list.push(std::mem::take(&mut text)),
            '\\' => text.push(chars.next().filter(char::is_ascii_punctuation)?),
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | '{' | '^' | '$' => return None,
            c => text.push(c),
        }
    }
    list.push(text);
    Some(list)
}

/// The texts that an expression matches, in no order and some perhaps twice, if they are few or written out, that is
/// not more than a pattern of this length could list.
pub(super) fn enumerate(hir: &Hir, pattern_bytes: usize) -> Option<Vec<String>> {
    texts_of(hir, MAX_PRODUCT.max(pattern_bytes / 2 + 1))
}

fn texts_of(hir: &Hir, max_texts: usize) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => Some(vec![std::str::from_utf8(&literal.0).ok()?.to_owned()]),
        HirKind::Class(class) => members(class),
        HirKind::Look(_) => None,
        HirKind::Repetition(repetition) => repeated(repetition, max_texts),
        HirKind::Capture(capture) => texts_of(&capture.sub, max_texts),
        HirKind::Concat(parts) => {
            let mut texts = vec![String::new()];
            for part in parts {
                texts = product(&texts, &texts_of(part, max_texts)?)?;
            }
            Some(texts)
        }
        HirKind::Alternation(parts) => {
            let mut texts = Vec::new();
            for part in parts {
                texts.append(&mut texts_of(part, max_texts)?);
                if texts.len() > max_texts {
                    return None;
                }
            }
            Some(texts)
        }
    }
}

/// The characters of a small class.
fn members(class: &Class) -> Option<Vec<String>> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class
            .iter()
            .map(|range| (range.start().into(), range.end().into()))
            .collect(),
    };
    let size: usize = ranges
        .iter()
        .map(|(start, end)| *end as usize - *start as usize + 1)
        .sum();
    if size > MAX_PRODUCT {
        return None;
    }
    Some(
        ranges
            .into_iter()
            .flat_map(|(start, end)| start..=end)
            .map(String::from)
            .collect(),
    )
}

fn repeated(repetition: &Repetition, max_texts: usize) -> Option<Vec<String>> {
    let max = repetition.max.filter(|max| *max as usize <= MAX_PRODUCT)?;
    let one = texts_of(&repetition.sub, max_texts)?;
    let mut power = vec![String::new()];
    let mut texts = Vec::new();
    for count in 0..=max {
        if count > 0 {
            power = product(&power, &one)?;
        }
        if count >= repetition.min {
            texts.extend_from_slice(&power);
        }
        if texts.len() > MAX_PRODUCT {
            return None;
        }
    }
    Some(texts)
}

/// Every text of `heads` followed by every one of `tails`. One text before or after a list makes it no longer.
fn product(heads: &[String], tails: &[String]) -> Option<Vec<String>> {
    let count = heads.len().checked_mul(tails.len())?;
    if count > MAX_PRODUCT && heads.len() > 1 && tails.len() > 1 {
        return None;
    }
    let head_bytes: usize = heads.iter().map(String::len).sum();
    let tail_bytes: usize = tails.iter().map(String::len).sum();
    let bytes = head_bytes
        .saturating_mul(tails.len())
        .saturating_add(tail_bytes.saturating_mul(heads.len()));
    if bytes > MAX_PRODUCT_BYTES {
        return None;
    }
    Some(
        heads
            .iter()
            .flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}")))
            .collect(),
    )
}
