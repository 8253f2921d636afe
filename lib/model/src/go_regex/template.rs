//! Templates that take what groups caught.

use super::GoCaptures;

/// What stands after a dollar.
enum Reference<'a> {
    Number(usize),
    Name(&'a str),
}

/// Fills a template.
pub(super) fn expand(template: &str, caught: &GoCaptures<'_, '_>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut left = template;
    while let Some((before, after)) = left.split_once('$') {
        out.push_str(before);
        if let Some(rest) = after.strip_prefix('$') {
            out.push('$');
            left = rest;
        } else if let Some((reference, rest)) = read_reference(after) {
            let text = match reference {
                Reference::Number(number) => caught.get(number),
                Reference::Name(name) => caught.name(name),
            };
            out.push_str(text.unwrap_or(""));
            left = rest;
        } else {
            out.push('$');
            left = after;
        }
    }
    out.push_str(left);
    out
}

/// Reads `name` or `{name}`; gives the text after it. Without braces a name is as long as it can be: `$1x` is `${1x}`.
fn read_reference(text: &str) -> Option<(Reference<'_>, &str)> {
    let (name, rest) = match text.strip_prefix('{') {
        Some(inner) => inner.split_once('}')?,
        None => {
            let end = text.find(|c: char| !is_name_char(c)).unwrap_or(text.len());
            text.split_at_checked(end)?
        }
    };
    if name.is_empty() || !name.chars().all(is_name_char) {
        return None;
    }
    // With a zero in front it is a name, and so is a number that no expression has groups for.
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let reference = match name.parse() {
        Ok(number) if is_number => Reference::Number(number),
        _ => Reference::Name(name),
    };
    Some((reference, rest))
}

/// Letters and digits of any script, and `_`.
fn is_name_char(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
