//! Logging of requests, as `--request.logging-config` says.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use tonic::Code;
use tracing::Level;

use crate::{
    flags::{ContentError, Flags},
    yaml::{self, YamlError, null_is_default},
};

/// Which requests are logged; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestLog {
    http: Option<Rules<HttpEntry>>,
    grpc: Option<Rules<GrpcEntry>>,
}

/// What a request came over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

/// Why the configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum RequestLogError {
    /// The document cannot be had.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// It is no YAML, or has unknown keys.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// Its options do not fit together.
    #[error("--request.logging-config: {protocol}: {problem}")]
    Options {
        /// `http`, `grpc` or `options`.
        protocol: &'static str,
        /// What does not fit.
        problem: &'static str,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rules<E> {
    /// Lines less severe than this are left out.
    level: Level,
    start: bool,
    /// Exact matches; none means every request.
    entries: Vec<E>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Document {
    #[serde(deserialize_with = "null_is_default")]
    options: Options,
    #[serde(deserialize_with = "null_is_default")]
    http: Section<HttpEntry>,
    #[serde(deserialize_with = "null_is_default")]
    grpc: Section<GrpcEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, bound = "E: Deserialize<'de>")]
struct Section<E> {
    #[serde(deserialize_with = "null_is_default")]
    options: Options,
    #[serde(deserialize_with = "null_is_default")]
    config: Vec<E>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields, default)]
struct Options {
    #[serde(deserialize_with = "null_is_default")]
    level: String,
    #[serde(deserialize_with = "null_is_default")]
    decision: Decision,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(deny_unknown_fields, default)]
struct Decision {
    log_start: bool,
    log_end: bool,
}

#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct HttpEntry {
    path: String,
    port: u16,
}

#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct GrpcEntry {
    service: String,
    method: String,
}

impl<E> Default for Section<E> {
    fn default() -> Self {
        Self {
            options: Options::default(),
            config: Vec::new(),
        }
    }
}

impl RequestLog {
    /// Reads `--request.logging-config` or its file.
    ///
    /// # Errors
    /// When the document cannot be had or says something that makes no sense.
    pub fn from_flags(flags: &Flags) -> Result<Self, RequestLogError> {
        match flags.content("request.logging-config")? {
            Some(text) => Self::parse(&text),
            None => Ok(Self::default()),
        }
    }

    /// Reads the document.
    ///
    /// # Errors
    /// When it says something that makes no sense.
    pub fn parse(text: &str) -> Result<Self, RequestLogError> {
        let document: Document = yaml::from_str_strict("--request.logging-config", text)?;
        Ok(Self {
            http: rules("http", &document.options, document.http)?,
            grpc: rules("grpc", &document.options, document.grpc)?,
        })
    }

    pub(crate) fn wants(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Http => self.http.is_some(),
            Protocol::Grpc => self.grpc.is_some(),
        }
    }

    pub(crate) fn http_start(&self, path: &str, port: u16, method: &str) {
        if self
            .http_rules(path, port)
            .is_some_and(|rules| rules.start && rules.level >= Level::DEBUG)
        {
            tracing::debug!(path, port, method, "started HTTP request");
        }
    }

    /// Server errors are errors, everything else is for debugging.
    pub(crate) fn http_end(&self, path: &str, port: u16, method: &str, code: StatusCode, took: Duration) {
        let Some(rules) = self.http_rules(path, port) else {
            return;
        };
        let (code, took_ms) = (code.as_u16(), millis(took));
        if code >= 500 {
            tracing::error!(path, port, method, code, took_ms, "finished HTTP request");
        } else if rules.level >= Level::DEBUG {
            tracing::debug!(path, port, method, code, took_ms, "finished HTTP request");
        }
    }

    pub(crate) fn grpc_start(&self, service: &str, method: &str) {
        if self
            .grpc_rules(service, method)
            .is_some_and(|rules| rules.start && rules.level >= Level::DEBUG)
        {
            tracing::debug!(service, method, "started gRPC call");
        }
    }

    /// Codes that mean a fault of the server are errors, everything else is for debugging.
    pub(crate) fn grpc_end(&self, service: &str, method: &str, code: Code, took: Duration) {
        let Some(rules) = self.grpc_rules(service, method) else {
            return;
        };
        let (code_name, took_ms) = (crate::grpc_server::code_name(code), millis(took));
        if matches!(
            code,
            Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss
        ) {
            tracing::error!(service, method, code = code_name, took_ms, "finished gRPC call");
        } else if rules.level >= Level::DEBUG {
            tracing::debug!(service, method, code = code_name, took_ms, "finished gRPC call");
        }
    }

    fn http_rules(&self, path: &str, port: u16) -> Option<&Rules<HttpEntry>> {
        let wanted = |entry: &HttpEntry| entry.path == path && entry.port == port;
        self.http
            .as_ref()
            .filter(|rules| rules.entries.is_empty() || rules.entries.iter().any(wanted))
    }

    fn grpc_rules(&self, service: &str, method: &str) -> Option<&Rules<GrpcEntry>> {
        let wanted = |entry: &GrpcEntry| entry.service == service && entry.method == method;
        self.grpc
            .as_ref()
            .filter(|rules| rules.entries.is_empty() || rules.entries.iter().any(wanted))
    }
}

/// A protocol's own options replace the global ones; without a decision to log nothing is.
fn rules<E>(
    protocol: &'static str,
    global: &Options,
    section: Section<E>,
) -> Result<Option<Rules<E>>, RequestLogError> {
    let refuse = |problem| RequestLogError::Options { protocol, problem };
    let own = &section.options;
    let own_is_given = !own.level.is_empty() || own.decision.log_start || own.decision.log_end;
    let options = if own_is_given { own } else { global };
    if !options.decision.log_end {
        let problem = "log_start without log_end is not possible";
        return if options.decision.log_start {
            Err(refuse(problem))
        } else {
            Ok(None)
        };
    }
    let level = match options.level.to_ascii_uppercase().as_str() {
        "DEBUG" => Level::DEBUG,
        "INFO" => Level::INFO,
        "WARN" | "WARNING" => Level::WARN,
        "ERROR" => Level::ERROR,
        "" => return Err(refuse("a decision needs a level: DEBUG, INFO, WARN or ERROR")),
        _ => return Err(refuse("the level is not one of DEBUG, INFO, WARN, ERROR")),
    };
    Ok(Some(Rules {
        level,
        start: options.decision.log_start,
        entries: section.config,
    }))
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tracing::level_filters::LevelFilter;

    use super::*;
    use crate::logging::{Capture, LogOptions};

    fn logged(log: &RequestLog) -> Vec<String> {
        let capture = Capture::default();
        let options = LogOptions {
            level: LevelFilter::DEBUG,
            ..LogOptions::default()
        };
        tracing::subscriber::with_default(options.subscriber(capture.clone()), || {
            log.http_start("/api/v1/query", 10902, "get");
            log.http_end(
                "/api/v1/query",
                10902,
                "get",
                StatusCode::OK,
                Duration::from_millis(5),
            );
            log.http_end(
                "/other",
                10902,
                "get",
                StatusCode::BAD_GATEWAY,
                Duration::from_millis(6),
            );
            log.grpc_start("thanos.Store", "Series");
            log.grpc_end("thanos.Store", "Series", Code::NotFound, Duration::from_millis(7));
            log.grpc_end(
                "thanos.Store",
                "LabelNames",
                Code::Internal,
                Duration::from_millis(8),
            );
        });
        let cut = |line: &str| line.split_once("level=").unwrap().1.to_owned();
        capture.text().lines().map(cut).collect()
    }

    #[test]
    fn nothing_is_logged_unless_asked_for() {
        for text in ["", "options:\n", "http:\n  options:\n    level: DEBUG\n"] {
            let log = if text.is_empty() {
                RequestLog::default()
            } else {
                RequestLog::parse(text).unwrap()
            };
            assert_eq!(logged(&log), Vec::<String>::new());
        }
    }

    #[test]
    fn global_options_hold_for_both_protocols() {
        let log =
            RequestLog::parse("options: {level: DEBUG, decision: {log_start: true, log_end: true}}").unwrap();
        assert_eq!(
            logged(&log),
            [
                "debug msg=\"started HTTP request\" path=/api/v1/query port=10902 method=get",
                "debug msg=\"finished HTTP request\" path=/api/v1/query port=10902 method=get code=200 took_ms=5",
                "error msg=\"finished HTTP request\" path=/other port=10902 method=get code=502 took_ms=6",
                "debug msg=\"started gRPC call\" service=thanos.Store method=Series",
                "debug msg=\"finished gRPC call\" service=thanos.Store method=Series code=NotFound took_ms=7",
                "error msg=\"finished gRPC call\" service=thanos.Store method=LabelNames code=Internal took_ms=8",
            ]
        );
    }

    #[test]
    fn lists_allow_and_levels_leave_out() {
        let log = RequestLog::parse(
            "http: {options: {level: debug, decision: {log_end: true}}, config: [{path: /api/v1/query, port: 10902}]}\n\
             grpc: {options: {level: ERROR, decision: {log_end: true}}, config: [{service: thanos.Store, method: LabelNames}]}",
        )
        .unwrap();
        let lines = logged(&log);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("path=/api/v1/query") && lines[1].contains("method=LabelNames"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, problem) in [
            (
                "options: {level: DEBUG, decision: {log_start: true}}",
                "http: log_start without log_end is not possible",
            ),
            (
                "options: {decision: {log_end: true}}",
                "http: a decision needs a level",
            ),
            (
                "grpc: {options: {level: LOUD, decision: {log_end: true}}}",
                "grpc: the level is not one of",
            ),
            ("grpcs: {}", "unknown key `grpcs`"),
            ("http: {config: [{path: /x}]}", "key `port` is missing"),
        ] {
            let error = RequestLog::parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
