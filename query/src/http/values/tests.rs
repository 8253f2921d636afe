use super::*;

fn error(result: Result<impl std::fmt::Debug, ApiFailure>) -> String {
    result.unwrap_err().message
}

#[test]
fn times_of_every_form() {
    let cases = [
        ("0", 0),
        ("1767232800", 1_767_232_800_000),
        ("1767232800.123", 1_767_232_800_123),
        ("1767232800.1234", 1_767_232_800_123),
        ("1767232800.9999", 1_767_232_801_000),
        ("1.7672328e9", 1_767_232_800_000),
        ("+5", 5_000),
        (".5", 500),
        ("5.", 5_000),
        ("-1.5", -1_500),
        ("-0.25", -250),
        ("2026-01-01T00:00:00Z", 1_767_225_600_000),
        ("2026-01-01T00:00:00.25Z", 1_767_225_600_250),
        ("2026-01-01T02:00:00+02:00", 1_767_225_600_000),
        ("2026-01-01T00:00:00.999999999Z", 1_767_225_600_999),
        (MIN_TIME_TEXT, MIN_TIME_MS),
        (MAX_TIME_TEXT, MAX_TIME_MS),
        ("1e300", MAX_TIME_MS),
        ("-1e300", MIN_TIME_MS),
    ];
    for (text, expected) in cases {
        assert_eq!(time_ms(text), Ok(expected), "{text}");
    }
}

#[test]
fn times_that_are_none() {
    let bad = [
        "abc",
        "",
        " 5",
        "5s",
        "NaN",
        "Inf",
        "-inf",
        "1e999",
        "2026-01-01",
        "2026-13-01T00:00:00Z",
        "0x10",
        "1_000",
        "now",
        "\u{0}",
    ];
    for text in bad {
        let expected = format!("cannot parse {} to a valid timestamp", GoQuoted(text));
        assert_eq!(error(time_ms(text)), expected);
    }
}

#[test]
fn the_bounds_are_those_of_prometheus() {
    assert_eq!(MIN_TIME_MS, -9_223_309_901_257_974_000);
    assert_eq!(MAX_TIME_MS, 9_223_309_901_257_974_999);
}

#[test]
fn durations_of_every_form() {
    let cases = [
        ("15", 15_000_000_000),
        ("0.5", 500_000_000),
        ("-1", -1_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("1d", 86_400_000_000_000),
        ("5m", 300_000_000_000),
        ("0s", 0),
        ("1e3", 1_000_000_000_000),
    ];
    for (text, expected) in cases {
        assert_eq!(duration_ns(text), Ok(expected), "{text}");
    }
    assert_eq!(
        error(duration_ns("zzz")),
        "cannot parse \"zzz\" to a valid duration"
    );
    assert_eq!(
        error(duration_ns("1e30")),
        "cannot parse \"1e30\" to a valid duration. It overflows int64"
    );
    for text in ["", "1x", "-5m", "NaN", "+Inf", "9999999999y"] {
        assert!(
            error(duration_ns(text)).starts_with("cannot parse"),
            "{text:?} was taken"
        );
    }
}

#[test]
fn truth_values_are_those_of_go() {
    for text in ["1", "t", "T", "true", "TRUE", "True"] {
        assert_eq!(boolean(text), Ok(true));
    }
    for text in ["0", "f", "F", "false", "FALSE", "False"] {
        assert_eq!(boolean(text), Ok(false));
    }
    assert_eq!(
        error(boolean("perhaps")),
        "strconv.ParseBool: parsing \"perhaps\": invalid syntax"
    );
}

#[test]
fn limits_are_whole_and_not_negative() {
    assert_eq!(limit(None), Ok(0));
    assert_eq!(limit(Some("10")), Ok(10));
    assert_eq!(error(limit(Some("-1"))), "limit must be non-negative");
    assert_eq!(error(limit(Some("1.5"))), "cannot parse \"1.5\" to a valid limit");
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_odd(text in ".{0,40}") {
        let _ = (time_ms(&text), duration_ns(&text), boolean(&text), limit(Some(&text)));
    }

    #[test]
    fn a_time_printed_with_three_decimals_comes_back(ms in 0_i64..4_102_444_800_000) {
        let text = format!("{}.{:03}", ms / 1000, ms % 1000);
        let read = time_ms(&text).unwrap();
        // Go cuts off what binary fractions leave, which may cost a millisecond.
        proptest::prop_assert!(read == ms || read + 1 == ms, "{text} became {read}");
    }
}
