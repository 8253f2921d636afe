//! A secret in every place of the command line where one can stand never shows again.

use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use super::*;
use crate::{
    logging::{Capture, Format, LogOptions},
    metrics::Registry,
    request_log::RequestLog,
    yaml,
};

const CANARY: &str = "k4n4ri3nv0g3l";

const FLAGS: &[FlagSpec] = &[
    FlagSpec::new("prometheus.url", Kind::Text, "", "Where Prometheus is"),
    FlagSpec::new("endpoint", Kind::Text, "", "Endpoints").repeated(),
    FlagSpec::new("prometheus.http-client", Kind::Content, "", "Client"),
    FlagSpec::new("old-url", Kind::Text, "", "No more used").ignored("nothing needs it"),
    FlagSpec::new("later-url", Kind::Text, "", "Not built").refused("use --endpoint"),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BasicAuth {
    #[expect(dead_code, reason = "only what parsing says of it matters")]
    username: u64,
}

fn groups() -> Vec<FlagGroup> {
    let mut groups = vec![
        FlagGroup::new("Test", FLAGS),
        super::groups::objstore(),
        super::groups::request_logging(),
    ];
    groups.extend(super::groups::global());
    groups
}

fn assert_silent(what: &str, shown: &str) {
    assert!(!shown.contains(CANARY), "{what}: {shown}");
}

/// Every place of a command line that is accepted.
fn accepted() -> Flags {
    let arguments = [
        format!("--prometheus.url=http://me:{CANARY}@host:9090/prefix"),
        format!("--endpoint=http://{CANARY}@one:1"),
        format!("--endpoint=dns+https://me:{CANARY}@two:2"),
        format!("--prometheus.http-client=basic_auth: {{password: {CANARY}}}"),
        format!("--objstore.config={{type: S3, config: {{secret_key: {CANARY}}}}}"),
        format!("--tracing.config={{type: LIGHTSTEP, config: {{access_token: {CANARY}}}}}"),
        format!("--request.logging-config=http: {{{CANARY}: 1}}"),
        format!("--old-url=http://me:{CANARY}@host"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    parse_groups(&groups(), &arguments).unwrap()
}

#[test]
fn flags_show_no_secret_on_pages_in_debug_output_in_logs_and_in_metrics() {
    let flags = accepted();
    for flag in flags.shown() {
        assert_silent(&flag.name, &flag.value);
    }
    assert_silent("debug output", &format!("{flags:?} {flags:#?}"));
    let registry = Registry::new();
    for format in [Format::Logfmt, Format::Json] {
        let capture = Capture::default();
        let options = LogOptions {
            level: LevelFilter::DEBUG,
            format,
            ..LogOptions::default()
        };
        tracing::subscriber::with_default(options.subscriber(capture.clone()), || {
            flags.log_notices();
            tracing::debug!(?flags, "read the flags");
        });
        let text = capture.text();
        assert!(text.contains("--old-url is accepted and ignored") && text.contains("read the flags"));
        assert_silent("log", &text);
    }
    assert_silent("metrics", &registry.classic());
    assert_silent("metrics", &registry.openmetrics());
    // What the flags are for is not lost.
    assert!(flags.text("prometheus.url").unwrap().contains(CANARY));
    let value = |name: &str| {
        flags
            .shown()
            .into_iter()
            .find(|flag| flag.name == name)
            .unwrap()
            .value
    };
    assert_eq!(value("prometheus.url"), "http://<REDACTED>@host:9090/prefix");
    assert_eq!(
        value("endpoint"),
        "http://<REDACTED>@one:1,dns+https://<REDACTED>@two:2"
    );
}

#[test]
fn refused_command_lines_show_no_secret() {
    for argument in [
        format!("type: S3\nconfig: {{secret_key: {CANARY}}}"),
        format!("secret_key={CANARY}"),
        format!("http://me:{CANARY}@host"),
        format!("--objstore.confg=secret_key: {CANARY}"),
        format!("--prometheus.ulr=http://me:{CANARY}@host"),
        format!("--later-url=http://me:{CANARY}@host"),
    ] {
        let error = parse_groups(&groups(), &[argument.as_str()]).unwrap_err();
        assert_eq!(error.exit_code, 2);
        assert_silent(
            &argument.replace(CANARY, "…"),
            &format!("{} {error:?}", error.text),
        );
    }
    let twice = format!("--objstore.config=secret_key: {CANARY}");
    let error = parse_groups(&groups(), &[twice.as_str(), twice.as_str()]).unwrap_err();
    assert!(error.text.contains("cannot be repeated"), "{}", error.text);
    assert_silent("a document given twice", &error.text);
}

#[test]
fn documents_that_do_not_parse_show_no_secret() {
    let texts = [
        format!("username: {CANARY}"),
        format!("username: [{CANARY}"),
        format!("username: \"{CANARY}"),
        format!("username: 1\npassword: {CANARY}"),
        format!("- {CANARY}"),
        CANARY.to_owned(),
        format!("username: &a {CANARY}\nb: *c"),
        format!("username: !!int {CANARY}"),
    ];
    for text in texts {
        let error = yaml::from_str_strict::<BasicAuth>("--x", &text).unwrap_err();
        assert_silent("a document", &format!("{error} {error:?}"));
        let error = RequestLog::parse(&text).unwrap_err();
        assert_silent("a document", &format!("{error} {error:?}"));
    }
    let text = format!("password: {CANARY}\nusername: $(NOT_SET)");
    let error = yaml::expand_env("--x", &text, &|_| None).unwrap_err();
    assert_silent("a missing variable", &format!("{error} {error:?}"));
}
