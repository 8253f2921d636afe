//! Which key was meant by one that is not known.

/// Longer keys than any of ours are not looked at.
const MAX_CHARS: usize = 64;

/// The nearest of the known keys: at most a third of its letters are to be put in, taken out or changed, and no other is as
/// near.
pub(super) fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    if wrong.chars().count() > MAX_CHARS {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    let mut is_tied = false;
    for &key in known {
        let changes = changes(wrong, key);
        match best {
            Some((fewest, _)) if changes > fewest => {}
            Some((fewest, _)) if changes == fewest => is_tied = true,
            _ => (best, is_tied) = (Some((changes, key)), false),
        }
    }
    let (changes, key) = best?;
    (!is_tied && changes * 3 <= key.chars().count()).then_some(key)
}

/// How many letters must be put in, taken out or changed to make the one of the other; case and `-` for `_` count for
/// nothing.
fn changes(from: &str, to: &str) -> usize {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let (from, to) = (plain(from), plain(to));
    // By the number of letters of `to`: what it takes to make them of the letters of `from` seen so far.
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (at, letter) in from.chars().enumerate() {
        let mut next = vec![at + 1];
        let (mut left, mut diagonal) = (at + 1, at);
        for (wanted, above) in to.chars().zip(row.iter().skip(1)) {
            let changed = diagonal + usize::from(letter != wanted);
            left = changed.min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_a_slip_away_is_found() {
        let known = ["bucket", "endpoint", "region", "secret_key", "access_key"];
        for (wrong, meant) in [
            ("buckt", "bucket"),
            ("Endpoint", "endpoint"),
            ("enpoints", "endpoint"),
            ("secret-key", "secret_key"),
            ("acess_key", "access_key"),
        ] {
            assert_eq!(nearest(wrong, &known), Some(meant), "{wrong}");
        }
    }

    #[test]
    fn what_is_far_from_all_or_as_near_to_two_is_not_guessed() {
        assert_eq!(nearest("http_config", &["bucket", "endpoint"]), None);
        assert_eq!(nearest("min_tine", &["min_time", "min_tone"]), None);
        assert_eq!(nearest("x", &[]), None);
        assert_eq!(nearest(&"a".repeat(1_000), &["a"]), None);
    }

    #[test]
    fn changes_are_counted() {
        for (from, to, count) in [
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
        ] {
            assert_eq!(changes(from, to), count, "{from} {to}");
        }
    }
}
