//! Whether flags reach the settings that are made of them.

/// Checks that of each argument the settings show what is written beside it, and that without the argument they do not.
///
/// # Panics
/// At the first argument that changes nothing, or that changes something else.
#[track_caller]
pub fn each_flag_is_seen<'a>(
    flags: impl IntoIterator<Item = (&'a str, &'a str)>,
    settings: impl Fn(&[&str]) -> String,
) {
    let defaults = settings(&[]);
    for (flag, text) in flags {
        let given = settings(&[flag]);
        assert!(given.contains(text), "{flag}: {given}");
        assert!(!defaults.contains(text), "{flag}");
    }
}
