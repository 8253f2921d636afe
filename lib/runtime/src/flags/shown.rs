//! What of a command line may be shown to others: on pages, in logs, in errors.

/// What stands in a secret's place.
pub(super) const REDACTED: &str = "<REDACTED>";

/// The longest start of a stray argument that an error repeats, in characters.
const MAX_STRAY_CHARS: usize = 40;

/// Replaces what stands before the `@` of each address in `text`, which is a name and a password:
/// `http://me:x@host/` is shown as `http://<REDACTED>@host/`.
pub fn without_userinfo(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        // A comma may be part of a password; what ends an address in a list is the next one.
        let next = after.find("://").unwrap_or(after.len());
        let end = after
            .find(|char: char| matches!(char, '/' | '?' | '#' | '"') || char.is_whitespace())
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at_checked(end.min(next)).unwrap_or((after, ""));
        match authority.rsplit_once('@') {
            Some((_userinfo, host)) => {
                shown.push_str(REDACTED);
                shown.push('@');
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        rest = tail;
    }
    shown.push_str(rest);
    shown
}

/// The first word of an argument that no flag takes: a document given without its flag holds secrets further on.
pub(super) fn first_word(text: &str) -> String {
    let is_end = |char: char| matches!(char, ':' | '=') || char.is_whitespace();
    let word: String = text
        .chars()
        .take_while(|char| !is_end(*char))
        .take(MAX_STRAY_CHARS)
        .collect();
    match word.len() < text.len() {
        true => format!("{word}…"),
        false => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_of_addresses_are_replaced_and_nothing_else() {
        for (text, expected) in [
            (
                "http://me:CANARY@host:9090/p?q=a@b",
                "http://<REDACTED>@host:9090/p?q=a@b",
            ),
            (
                "http://CANARY@[::1]:1,https://a:CANARY@b",
                "http://<REDACTED>@[::1]:1,https://<REDACTED>@b",
            ),
            (
                "http://a,http://b:CAN,ARY@c,http://d",
                "http://a,http://<REDACTED>@c,http://d",
            ),
            ("https://a:CAN@ARY@b", "https://<REDACTED>@b"),
            ("http://host/me@there", "http://host/me@there"),
            ("a@b", "a@b"),
            ("://", "://"),
            ("", ""),
        ] {
            assert_eq!(without_userinfo(text), expected);
        }
    }

    #[test]
    fn a_stray_argument_is_known_by_its_first_word() {
        for (text, expected) in [
            ("stor", "stor"),
            ("type: S3\nconfig: {secret_key: CANARY}", "type…"),
            ("secret_key=CANARY", "secret_key…"),
            ("", ""),
        ] {
            assert_eq!(first_word(text), expected);
        }
        assert_eq!(first_word(&"ä".repeat(99)).chars().count(), MAX_STRAY_CHARS + 1);
    }
}
