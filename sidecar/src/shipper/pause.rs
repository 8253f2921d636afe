//! Pauses by the clock of the wall, which is set now and then.

/// Whether `pause_ms` have passed since `at_ms`. A clock that was set back by more than the pause cannot tell, and then
/// they have: no step of the clock makes a pause longer than twice what it should be.
pub(super) fn has_passed(at_ms: i64, pause_ms: i64, now_ms: i64) -> bool {
    now_ms.abs_diff(at_ms) >= u64::try_from(pause_ms).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_ends_a_pause_instead_of_freezing_it() {
        assert!(!has_passed(1000, 100, 1000) && !has_passed(1000, 100, 1099));
        assert!(has_passed(1000, 100, 1100));
        assert!(!has_passed(1000, 100, 901), "a small step is waited out");
        assert!(has_passed(1000, 100, 900) && has_passed(1000, 100, -5));
        assert!(has_passed(i64::MAX, 100, i64::MIN) && has_passed(7, 0, 7));
    }
}
