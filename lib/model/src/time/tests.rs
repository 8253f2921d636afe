use proptest::prelude::*;

use super::*;

/// The bounds that the time flags of Thanos have by default.
const FIRST: i64 = -62_167_219_200_000;
const LAST: i64 = 253_402_300_799_000;

#[test]
fn the_default_bounds_of_the_flags_are_read() {
    assert_eq!(parse_rfc3339_ms("0000-01-01T00:00:00Z"), Ok(FIRST));
    assert_eq!(parse_rfc3339_ms("9999-12-31T23:59:59Z"), Ok(LAST));
    assert_eq!(format_rfc3339_ms(FIRST), "0000-01-01T00:00:00Z");
    assert_eq!(format_rfc3339_ms(LAST), "9999-12-31T23:59:59Z");
}

#[test]
fn reads_rfc_3339() {
    let table = [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-01T00:00:00Z", 1_767_225_600_000),
        ("2026-01-01T01:30:00+01:30", 1_767_225_600_000),
        ("2025-12-31T16:00:00-08:00", 1_767_225_600_000),
        ("2026-01-01T00:00:00-00:00", 1_767_225_600_000),
        ("2026-01-02T01:00:00+24:60", 1_767_225_600_000),
        ("2024-02-29T12:00:00.25Z", 1_709_208_000_250),
        ("2024-02-29T12:00:00.2509999999999Z", 1_709_208_000_250),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ("9999-12-31T23:59:59-01:00", 253_402_304_399_000),
    ];
    for (text, ms) in table {
        assert_eq!(parse_rfc3339_ms(text), Ok(ms), "{text}");
    }
}

#[test]
fn refuses_what_is_not_rfc_3339() {
    let not_syntax = [
        "",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "2026-01-01t00:00:00z",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00Z ",
        "20260101T000000Z",
        "-026-01-01T00:00:00Z",
        "2026-01-0éT00:00:00Z",
    ];
    for text in not_syntax {
        assert_eq!(
            UtcTime::parse(text),
            Err(TimeError::Syntax {
                text: text.to_owned()
            })
        );
    }
    let out_of_range = [
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2016-12-31T23:59:60Z",
        "2026-01-01T00:00:00+25:00",
        "2026-01-01T00:00:00+00:61",
    ];
    for text in out_of_range {
        assert_eq!(
            UtcTime::parse(text),
            Err(TimeError::Range {
                text: text.to_owned()
            })
        );
    }
}

#[test]
fn prints_as_few_decimals_as_go() {
    for text in [
        "2026-08-22T10:11:12.123456789Z",
        "2026-08-22T10:11:12.1234Z",
        "2026-08-22T10:11:12.000000001Z",
    ] {
        assert_eq!(UtcTime::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(
        UtcTime::parse("2026-08-22T10:11:12.500Z").unwrap().to_string(),
        "2026-08-22T10:11:12.5Z"
    );
    assert_eq!(
        UtcTime::from_unix(0, 2_500_000_000).to_string(),
        "1970-01-01T00:00:02.5Z"
    );
}

#[test]
fn times_beyond_four_digits_are_still_printed() {
    assert_eq!(format_rfc3339_ms(LAST + 1_000), "@253402300800");
    assert_eq!(format_rfc3339_ms(FIRST - 1), "@-62167219201.999");
    assert_eq!(format_rfc3339_ms(i64::MAX), "@9223372036854775.807");
    assert_eq!(format_rfc3339_ms(i64::MIN), "@-9223372036854776.192");
    assert_eq!(UtcTime::from_unix(i64::MAX, u32::MAX).as_ms(), i64::MAX);
}

#[test]
fn zero_is_that_of_go() {
    assert_eq!(UtcTime::default().to_string(), "0001-01-01T00:00:00Z");
    let read: UtcTime = serde_json::from_str(r#""0001-01-01T00:00:00Z""#).unwrap();
    assert!(read.is_zero());
    assert_eq!(serde_json::to_string(&read).unwrap(), r#""0001-01-01T00:00:00Z""#);
}

#[test]
fn flags_take_times_and_durations_from_now() {
    let now_ms = 1_767_225_600_000;
    let table = [
        ("0000-01-01T00:00:00Z", FIRST),
        ("2026-01-01T00:00:00Z", now_ms),
        ("-2w", now_ms - 14 * 86_400_000),
        ("2h30m", now_ms + 9_000_000),
        ("0s", now_ms),
        ("-0", now_ms),
    ];
    for (text, ms) in table {
        assert_eq!(TimeOrDuration::parse(text).unwrap().resolve(now_ms), ms, "{text}");
    }
    assert_eq!(
        TimeOrDuration::parse("-292y").unwrap().resolve(i64::MIN),
        i64::MIN
    );
}

#[test]
fn flags_refuse_what_is_neither() {
    for text in ["", "now", "--2w", "1.5h", "-", "yesterday"] {
        assert!(
            matches!(TimeOrDuration::parse(text), Err(TimeError::Neither { .. })),
            "{text}"
        );
    }
    let error = TimeOrDuration::parse("2026-02-30T00:00:00Z").unwrap_err();
    assert_eq!(
        error,
        TimeError::Range {
            text: "2026-02-30T00:00:00Z".to_owned()
        }
    );
}

#[test]
fn flags_are_printed_as_they_can_be_read() {
    for text in ["2026-01-01T00:00:00Z", "-2w", "1h30m", "0s"] {
        assert_eq!(TimeOrDuration::parse(text).unwrap().to_string(), text);
    }
}

proptest! {
    #[test]
    fn times_of_four_digit_years_come_back(seconds in FIRST / 1_000..=LAST / 1_000, nanos in 0_u32..1_000_000_000) {
        let time = UtcTime::from_unix(seconds, nanos);
        prop_assert_eq!(UtcTime::parse(&time.to_string()), Ok(time));
    }

    #[test]
    fn milliseconds_come_back(ms: i64) {
        prop_assert_eq!(UtcTime::from_ms(ms).as_ms(), ms);
    }

    #[test]
    fn text_orders_as_time_does_with_whole_seconds(a in FIRST / 1_000..=LAST / 1_000, b in FIRST / 1_000..=LAST / 1_000) {
        let (left, right) = (UtcTime::from_unix(a, 0), UtcTime::from_unix(b, 0));
        prop_assert_eq!(left.cmp(&right), left.to_string().cmp(&right.to_string()));
    }

    #[test]
    fn parsers_are_total(text in "[-0-9T:.Z+ dhw]{0,32}|.{0,24}", now_ms: i64) {
        if let Ok(time) = TimeOrDuration::parse(&text) {
            let _ = (time.resolve(now_ms), time.to_string());
        }
    }
}
