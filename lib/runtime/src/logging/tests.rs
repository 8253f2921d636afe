use tracing::{debug, error, info, info_span, warn};

use super::*;
use crate::flags::{groups, parse_groups};

fn logged(arguments: &[&str], work: impl FnOnce()) -> String {
    let flags = parse_groups(&groups::global(), arguments).unwrap();
    let capture = Capture::default();
    let subscriber = LogOptions::from_flags(&flags)
        .unwrap()
        .subscriber(capture.clone());
    tracing::subscriber::with_default(subscriber, work);
    capture.text()
}

/// Cuts the time and the line number, which differ from run to run.
fn stable(line: &str) -> String {
    let (ts, rest) = line.split_once(' ').unwrap();
    assert!(
        ts.starts_with("ts=20") && ts.ends_with('Z') && ts.contains('T'),
        "{ts}"
    );
    let (caller, rest) = rest.split_once(' ').unwrap();
    assert!(caller.starts_with("caller=tests.rs:"), "{caller}");
    rest.to_owned()
}

#[derive(Debug, thiserror::Error)]
#[error("outer")]
struct Outer(#[source] std::io::Error);

#[test]
fn a_line_has_the_shape_of_thanos() {
    let text = logged(&[], || info!(count = 4, path = "a b", ok = true, "blocks listed"));
    assert_eq!(
        stable(&text),
        "level=info msg=\"blocks listed\" count=4 path=\"a b\" ok=true\n"
    );
}

#[test]
fn json_has_the_same_keys() {
    let text = logged(&["--log.format=json", "--debug.name=x"], || {
        warn!(count = 4, ratio = 0.5, path = "a \"b\"", "blocks\nlisted");
    });
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["ts", "caller", "level", "name", "msg", "count", "ratio", "path"]
    );
    assert_eq!(
        (&line["level"], &line["msg"]),
        (&"warn".into(), &"blocks\nlisted".into())
    );
    assert_eq!(
        (&line["count"], &line["ratio"], &line["path"]),
        (&4.into(), &0.5.into(), &"a \"b\"".into())
    );
}

#[test]
fn levels_are_filtered() {
    let all = || {
        error!("e");
        warn!("w");
        info!("i");
        debug!("d");
    };
    let levels = |arguments: &[&str]| logged(arguments, all).lines().count();
    assert_eq!(levels(&["--log.level=error"]), 1);
    assert_eq!(levels(&["--log.level=warn"]), 2);
    assert_eq!(levels(&[]), 3);
    assert_eq!(levels(&["--log.level=debug"]), 4);
}

#[test]
fn libraries_are_quieter_than_our_own_lines() {
    let library = || {
        info!(target: "h2::codec", "i");
        debug!(target: "h2::codec", "d");
        warn!(target: "h2::codec", "w");
    };
    assert_eq!(logged(&[], library).lines().count(), 1);
    assert_eq!(logged(&["--log.level=debug"], library).lines().count(), 2);
    assert_eq!(logged(&["--log.level=error"], library).lines().count(), 0);
}

#[test]
fn errors_are_written_with_their_causes() {
    let cause = Outer(std::io::Error::other("inner"));
    let text = logged(&[], || {
        error!(err = &cause as &dyn std::error::Error, "sync failed");
    });
    assert_eq!(
        stable(&text),
        "level=error msg=\"sync failed\" err=\"outer: inner\"\n"
    );
}

#[test]
fn fields_of_spans_stand_behind_and_the_inner_value_wins() {
    let text = logged(&[], || {
        let outer = info_span!("request", tenant = "a", block = tracing::field::Empty);
        outer.record("block", "01ABC");
        let _outer = outer.entered();
        let _inner = info_span!("fetch", tenant = "b").entered();
        info!(bytes = 5_u64, "fetched");
    });
    assert_eq!(
        stable(&text),
        "level=info msg=fetched bytes=5 tenant=b block=01ABC\n"
    );
}

#[test]
fn notices_of_ignored_flags_are_logged_once() {
    let flags = parse_groups(&groups::global(), &["--enable-auto-gomemlimit"]).unwrap();
    let capture = Capture::default();
    tracing::subscriber::with_default(LogOptions::default().subscriber(capture.clone()), || {
        flags.log_notices();
    });
    assert!(
        capture
            .text()
            .contains("level=info msg=\"flag --enable-auto-gomemlimit is accepted and ignored: ")
    );
}
