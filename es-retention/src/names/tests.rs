use jiff::civil::date;
use proptest::prelude::*;

use super::*;

fn names(prefix: &str, pattern: &str, zone: &str) -> IndexNames {
    IndexNames {
        prefix: prefix.to_owned(),
        pattern: DatePattern::parse(pattern).unwrap(),
        zone: TimeZone::get(zone).unwrap(),
    }
}

#[test]
fn a_name_is_prefix_and_date_and_nothing_else() {
    let logging = names("logging-", "%Y.%m.%d", "UTC");
    assert_eq!(logging.read("logging-2026.01.01").unwrap().day, date(2026, 1, 1));
    for other in [
        "logging-nginx-2026.01.01",
        "logging-2026.01.01-1",
        "logging-2026.01.011",
        "logging-2026.1.1",
        "logging-2026.02.30",
        "logging-2026.01",
        "logging-+026.01.01",
        "logging-",
        "logging",
        "restored-logging-2026.01.01",
        "logging-２026.01.01",
        "logging-2026-01-01",
        "",
    ] {
        assert_eq!(logging.read(other), None, "{other}");
    }
}

#[test]
fn weeks_and_months_count_from_their_last_day() {
    let weekly = names("w-", "%G.%V", "UTC");
    // ISO week 53 of 2026 ends on 3 January 2027.
    assert_eq!(weekly.read("w-2026.53").unwrap().day, date(2027, 1, 3));
    assert_eq!(weekly.read("w-2027.53"), None, "2027 has 52 weeks");
    assert_eq!(weekly.name_of(date(2027, 1, 1)), "w-2026.53");
    let monthly = names("m-", "%Y.%m", "UTC");
    assert_eq!(monthly.read("m-2028.02").unwrap().day, date(2028, 2, 29));
    let ordinal = names("o-", "%Y.%j", "UTC");
    assert_eq!(ordinal.read("o-2028.366").unwrap().day, date(2028, 12, 31));
    assert_eq!(ordinal.read("o-2027.366"), None);
}

#[test]
fn a_zone_moves_the_end_of_the_day() {
    for (zone, day) in [
        ("UTC", date(2026, 7, 1)),
        ("Asia/Shanghai", date(2026, 7, 1)),
        ("America/Los_Angeles", date(2026, 7, 2)),
        ("Pacific/Kiritimati", date(2026, 7, 1)),
        ("Europe/Berlin", date(2026, 7, 1)),
    ] {
        let names = names("a-", "%Y.%m.%d", zone);
        assert_eq!(names.read("a-2026.07.01").unwrap().day, day, "{zone}");
    }
}

#[test]
fn indices_of_a_utc_day_overlap_it() {
    let covering = |zone: &str| names("a-", "%Y.%m.%d", zone).names_covering(date(2026, 1, 10));
    assert_eq!(covering("UTC"), ["a-2026.01.10"]);
    assert_eq!(covering("Asia/Shanghai"), ["a-2026.01.10", "a-2026.01.11"]);
    assert_eq!(covering("America/Los_Angeles"), ["a-2026.01.09", "a-2026.01.10"]);
    assert_eq!(
        names("m-", "%Y.%m", "Asia/Tokyo").names_covering(date(2026, 1, 10)),
        ["m-2026.01"]
    );
}

#[test]
fn bad_patterns_are_refused_with_the_reason() {
    for (pattern, problem) in [
        ("%Y.%m.%d.%H", "%H is not known"),
        ("%Y.%Y.%m", "%Y is given twice"),
        ("%Y", "a day"),
        ("%G.%m", "a day"),
        ("", "a day"),
        ("%Y.%m.%d%", "% is not known"),
        ("%Y/%m/%d", "cannot have '/'"),
        ("%Y.%m.%d*", "cannot have '*'"),
        ("W%G.%V", "cannot have 'W'"),
    ] {
        let error = DatePattern::parse(pattern).unwrap_err().to_string();
        assert!(error.contains(problem), "{pattern}: {error}");
    }
}

#[test]
fn snapshots_have_generations() {
    let logging = names("logging-", "%Y.%m.%d", "UTC");
    let index = "logging-2026.01.01";
    for generation in [1, 2, 3, 12] {
        let name = snapshot_name(index, generation);
        assert_eq!(split_snapshot_name(&name, index), Some(generation));
        let (read, day, number) = logging.read_snapshot(&name).unwrap();
        assert_eq!((read, day.day, number), (index, date(2026, 1, 1), generation));
    }
    for other in [
        "sn_logging-2026.01.01-1",
        "sn_logging-2026.01.01-02",
        "sn_logging-2026.01.01-",
        "sn_logging-2026.01.01-x",
        "sn_logging-2026.01.01-+2",
        "sn_logging-2026.01.01-2-2",
        "sn_logging-nginx-2026.01.01",
        "logging-2026.01.01",
        "sn_",
    ] {
        assert_eq!(logging.read_snapshot(other), None, "{other}");
        assert_eq!(split_snapshot_name(other, index), None, "{other}");
    }
}

#[test]
fn a_dash_pattern_keeps_generations_apart_from_days() {
    let daily = names("a-", "%Y-%m-%d", "UTC");
    assert_eq!(daily.read_snapshot("sn_a-2026-01-12").unwrap().2, 1);
    assert_eq!(daily.read_snapshot("sn_a-2026-01-12-2").unwrap().2, 2);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(days in 0_i64..200_000, pattern in 0_usize..5) {
        let patterns = ["%Y.%m.%d", "%Y.%j", "%G.w%V", "%Y-%m", "%d%m%Y"];
        let pattern = DatePattern::parse(patterns[pattern]).unwrap();
        let day = add_days(date(1901, 1, 1), days);
        let first = pattern.read(&pattern.write(day)).unwrap();
        prop_assert!(first <= day && day <= pattern.last_day(first).unwrap());
        prop_assert_eq!(pattern.write(first), pattern.write(day));
    }

    #[test]
    fn any_text_is_read_or_not(text in "\\PC{0,24}") {
        let names = names("a", "%Y.%m.%d", "America/Los_Angeles");
        let _ = names.read(&text);
        let _ = names.read(&format!("a{text}"));
        let _ = names.read_snapshot(&format!("sn_a{text}"));
        let _ = DatePattern::parse(&text);
    }

    #[test]
    fn days_are_counted_and_added_alike(from in -300_000_i64..300_000, days in -300_000_i64..300_000) {
        let day = add_days(date(2000, 1, 1), from);
        prop_assert_eq!(days_between(day, add_days(day, days)), days);
    }
}
