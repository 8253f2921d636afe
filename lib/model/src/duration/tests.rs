use proptest::prelude::*;

use super::*;

const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_MS: i64 = 86_400_000;

#[test]
fn reads_go_durations() {
    let table = [
        ("0", 0),
        ("-0", 0),
        ("+0", 0),
        ("0s", 0),
        ("5s", 5_000_000_000),
        ("+5s", 5_000_000_000),
        ("-2m", -120_000_000_000),
        ("1h30m", HOUR_NS + HOUR_NS / 2),
        ("1.5h", HOUR_NS + HOUR_NS / 2),
        (".5h", HOUR_NS / 2),
        ("5.s", 5_000_000_000),
        ("300ms", 300_000_000),
        ("1us", 1_000),
        ("1µs", 1_000),
        ("1μs", 1_000),
        ("7ns", 7),
        ("0.9ns", 0),
        ("5h10m5h", 10 * HOUR_NS + 600_000_000_000),
        ("1s1s", 2_000_000_000),
        ("0.3333333333333333333h", 1_200_000_000_000),
        ("0.100000000000000000000h", 360_000_000_000),
        ("9007199254.740993ms", 9_007_199_254_740_993),
        ("2562047h47m16.854775807s", i64::MAX),
        ("9223372036854775807ns", i64::MAX),
        ("-9223372036854775808ns", i64::MIN),
        ("-2562047h47m16.854775808s", i64::MIN),
    ];
    for (text, ns) in table {
        assert_eq!(parse_go(text).map(GoDuration::as_ns), Ok(ns), "{text}");
    }
}

#[test]
fn refuses_what_go_refuses() {
    let table = [
        ("", "the text is empty"),
        ("-", "the text is empty"),
        (
            "3",
            "the number at offset 0 has no unit, expected ns, us, ms, s, m or h",
        ),
        (
            "1h3",
            "the number at offset 2 has no unit, expected ns, us, ms, s, m or h",
        ),
        ("s", "expected a number at offset 0"),
        (".", "expected a number at offset 0"),
        (".s", "expected a number at offset 0"),
        ("--1s", "expected a number at offset 1"),
        ("1d", "unknown unit \"d\", expected ns, us, ms, s, m or h"),
        ("1 h", "unknown unit \" h\", expected ns, us, ms, s, m or h"),
        ("1H", "unknown unit \"H\", expected ns, us, ms, s, m or h"),
        ("9223372036854775808ns", "longer than 292 years"),
        ("-9223372036854775809ns", "longer than 292 years"),
        ("99999999999999999999ns", "longer than 292 years"),
        ("2562048h", "longer than 292 years"),
        ("2562047h48m", "longer than 292 years"),
    ];
    for (text, problem) in table {
        let error = parse_go(text).unwrap_err().to_string();
        assert_eq!(error, format!("not a duration: {text:?}: {problem}"));
    }
}

#[test]
fn prints_go_durations() {
    let table = [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (999_999_999, "999.999999ms"),
        (1_500_000_000, "1.5s"),
        (60_000_000_000, "1m0s"),
        (HOUR_NS + HOUR_NS / 2, "1h30m0s"),
        (40 * HOUR_NS, "40h0m0s"),
        (HOUR_NS + 1, "1h0m0.000000001s"),
        (-HOUR_NS, "-1h0m0s"),
        (i64::MAX, "2562047h47m16.854775807s"),
        (i64::MIN, "-2562047h47m16.854775808s"),
    ];
    for (ns, text) in table {
        assert_eq!(format_go(GoDuration::from_ns(ns)), text);
    }
}

#[test]
fn go_durations_turn_into_milliseconds_towards_zero() {
    assert_eq!(GoDuration::from_ns(1_999_999).as_ms(), 1);
    assert_eq!(GoDuration::from_ns(-1_999_999).as_ms(), -1);
    assert_eq!(GoDuration::from_ms(i64::MAX), GoDuration::from_ns(i64::MAX));
    assert_eq!(
        GoDuration::from_ms(1).to_std(),
        std::time::Duration::from_millis(1)
    );
    assert_eq!(GoDuration::from_ms(-1).to_std(), std::time::Duration::ZERO);
}

#[test]
fn reads_prometheus_durations() {
    let table = [
        ("0", 0),
        ("0d", 0),
        ("0s", 0),
        ("15d", 15 * DAY_MS),
        ("2w", 14 * DAY_MS),
        ("1y", 365 * DAY_MS),
        ("07m", 420_000),
        (
            "1y2w3d4h5m6s7ms",
            382 * DAY_MS + 4 * 3_600_000 + 5 * 60_000 + 6_007,
        ),
        ("1d30ms", DAY_MS + 30),
        ("106751d23h47m16s854ms", i64::MAX / 1_000_000),
    ];
    for (text, ms) in table {
        assert_eq!(parse_model(text), Ok(ms), "{text}");
    }
}

#[test]
fn refuses_what_prometheus_refuses() {
    let table = [
        ("", "the text is empty"),
        (
            "1",
            "the number at offset 0 has no unit, expected y, w, d, h, m, s or ms",
        ),
        (
            "00",
            "the number at offset 0 has no unit, expected y, w, d, h, m, s or ms",
        ),
        (
            "1d3",
            "the number at offset 2 has no unit, expected y, w, d, h, m, s or ms",
        ),
        ("-1d", "expected a number at offset 0"),
        ("d", "expected a number at offset 0"),
        ("1.5h", "unknown unit \".\", expected y, w, d, h, m, s or ms"),
        ("1h 30m", "unknown unit \"h \", expected y, w, d, h, m, s or ms"),
        ("1D", "unknown unit \"D\", expected y, w, d, h, m, s or ms"),
        ("1m1h", "unit \"h\" comes twice or after a smaller one"),
        ("1d1d", "unit \"d\" comes twice or after a smaller one"),
        ("1ms1s", "unit \"s\" comes twice or after a smaller one"),
        ("293y", "longer than 292 years"),
        ("106751d23h47m16s855ms", "longer than 292 years"),
        ("99999999999999999999d", "longer than 292 years"),
        ("18446744073709551615d", "longer than 292 years"),
    ];
    for (text, problem) in table {
        let error = parse_model(text).unwrap_err().to_string();
        assert_eq!(error, format!("not a duration: {text:?}: {problem}"));
    }
}

#[test]
fn prints_prometheus_durations() {
    let table = [
        (0, "0s"),
        (324, "324ms"),
        (3_000, "3s"),
        (90 * 60_000, "1h30m"),
        (10 * DAY_MS, "10d"),
        (14 * DAY_MS, "2w"),
        (90 * DAY_MS, "90d"),
        (365 * DAY_MS, "1y"),
        (730 * DAY_MS, "2y"),
        (364 * DAY_MS, "52w"),
        (372 * DAY_MS, "372d"),
        (365 * DAY_MS + 1, "365d1ms"),
        (-60_000, "-1m"),
    ];
    for (ms, text) in table {
        assert_eq!(format_model(ms), text);
    }
    assert!(format_model(i64::MIN).starts_with('-'));
}

#[test]
fn either_manner_is_read() {
    assert_eq!(parse_either("2d"), Ok(2 * DAY_MS));
    assert_eq!(parse_either("1.5h"), Ok(5_400_000));
    assert_eq!(parse_either("-1m"), Ok(-60_000));
    assert_eq!(parse_either("1500us"), Ok(1));
    assert_eq!(
        parse_either("3 days").unwrap_err().to_string(),
        "not a duration: \"3 days\": unknown unit \" days\", expected ns, us, ms, s, m, h, d, w or y"
    );
}

proptest! {
    #[test]
    fn go_durations_come_back(ns: i64) {
        let duration = GoDuration::from_ns(ns);
        prop_assert_eq!(parse_go(&duration.to_string()), Ok(duration));
    }

    #[test]
    fn prometheus_durations_come_back(ms in 0..=i64::MAX / 1_000_000) {
        prop_assert_eq!(parse_model(&format_model(ms)), Ok(ms));
    }

    #[test]
    fn where_both_manners_read_a_text_they_agree(text in "([0-9]{1,3}(h|m|s|ms)){1,4}") {
        if let (Ok(model_ms), Ok(go)) = (parse_model(&text), parse_go(&text)) {
            prop_assert_eq!(model_ms, go.as_ms());
        }
    }

    #[test]
    fn parsers_are_total(text in "[-+0-9.smhdwyµnu ]{0,12}|.{0,12}") {
        let _ = (parse_go(&text), parse_model(&text), parse_either(&text));
    }
}
