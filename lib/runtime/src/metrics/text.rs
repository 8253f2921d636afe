//! The two text formats of a page of metrics, and which one a scraper wants.

use std::collections::HashMap;

/// Content type of [`super::Registry::openmetrics`].
pub const OPENMETRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Content type of [`super::Registry::classic`].
pub const CLASSIC_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Rewrites OpenMetrics text, as `prometheus_client` emits it, into the classic format: a counter's metadata carries
/// the `_total` of its samples, types that only OpenMetrics knows are mapped, `le` and `quantile` lose their `.0`,
/// units, exemplars and the end mark go.
pub(super) fn to_classic(openmetrics: &str) -> String {
    let kinds: HashMap<&str, &str> = openmetrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let mut classic = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (family, help) = rest.split_once(' ').unwrap_or((rest, ""));
            let suffix = family_suffix(kinds.get(family).copied());
            classic.push_str(&format!("# HELP {family}{suffix} {help}\n"));
        } else if let Some((family, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = family_suffix(Some(kind));
            let kind = match kind {
                "info" | "stateset" => "gauge",
                "unknown" => "untyped",
                other => other,
            };
            classic.push_str(&format!("# TYPE {family}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            push_sample(&mut classic, line);
        }
    }
    classic
}

/// Whether a scraper that sends this `Accept` header prefers OpenMetrics to the classic format.
pub(crate) fn wants_openmetrics(accept: &str) -> bool {
    let quality_of = |wanted: &str| {
        let qualities = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts.next().filter(|media| *media == wanted)?;
            parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(Some(1.0), |text| text.parse().ok())
        });
        qualities.fold(0.0_f64, f64::max)
    };
    let openmetrics = quality_of("application/openmetrics-text");
    openmetrics > 0.0 && openmetrics >= quality_of("text/plain")
}

fn family_suffix(kind: Option<&str>) -> &'static str {
    match kind {
        Some("counter") => "_total",
        Some("info") => "_info",
        _ => "",
    }
}

fn push_sample(classic: &mut String, line: &str) {
    let sample = without_exemplar(line);
    match sample.split_once("{le=\"") {
        // `le` stands first and is a number, so the next quote ends it.
        Some((name, rest)) => {
            let (bound, tail) = rest.split_once('"').unwrap_or((rest, ""));
            let bound = bound.strip_suffix(".0").unwrap_or(bound);
            classic.push_str(&format!("{name}{{le=\"{bound}\"{tail}\n"));
        }
        None => {
            classic.push_str(sample);
            classic.push('\n');
        }
    }
}

/// Cuts ` # {...} value` behind the sample; a `#` inside a quoted label value does not count.
fn without_exemplar(line: &str) -> &str {
    let mut in_quotes = false;
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_quotes => escaped = true,
            '"' => in_quotes = !in_quotes,
            '#' if !in_quotes => return line.get(..at).unwrap_or(line).trim_end(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::{exemplar::CounterWithExemplar, info::Info};

    use super::*;
    use crate::metrics::Registry;

    #[test]
    fn every_type_is_rewritten() {
        let registry = Registry::new();
        registry.counter("requests_total", "Requests").inc_by(3);
        registry.gauges("up", "Up", ["job"]).with(["a # {b}"]).set(1);
        let histogram = registry
            .histograms("took_seconds", "Time", ["path"], &[0.5, 1.0])
            .with(["/"]);
        histogram.observe(0.7);
        registry.register(
            "build",
            "Build",
            Info::new(vec![("version".to_owned(), "1".to_owned())]),
        );
        assert_eq!(
            registry.classic(),
            "# HELP requests_total Requests.\n# TYPE requests_total counter\nrequests_total 3\n\
             # HELP up Up.\n# TYPE up gauge\nup{job=\"a # {b}\"} 1\n\
             # HELP took_seconds Time.\n# TYPE took_seconds histogram\n\
             took_seconds_sum{path=\"/\"} 0.7\ntook_seconds_count{path=\"/\"} 1\n\
             took_seconds_bucket{le=\"0.5\",path=\"/\"} 0\ntook_seconds_bucket{le=\"1\",path=\"/\"} 1\n\
             took_seconds_bucket{le=\"+Inf\",path=\"/\"} 1\n\
             # HELP build_info Build.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n"
        );
    }

    #[test]
    fn exemplars_go() {
        let registry = Registry::new();
        let counter = CounterWithExemplar::<Vec<(String, String)>>::default();
        counter.inc_by(1, Some(vec![("trace_id".to_owned(), "x".to_owned())]), None);
        registry.register("a", "A", counter);
        assert!(registry.openmetrics().contains("a_total 1 # {trace_id=\"x\"} 1"));
        assert!(registry.classic().ends_with("a_total 1\n"));
    }

    #[test]
    fn the_scraper_chooses_the_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.1";
        let protobuf_first = "application/vnd.google.protobuf;encoding=delimited;q=0.7,\
             application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.2,*/*;q=0.1";
        for (accept, openmetrics) in [
            (prometheus, true),
            (protobuf_first, true),
            ("application/openmetrics-text", true),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", false),
            ("text/plain, application/openmetrics-text; q=0.5", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=x", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(wants_openmetrics(accept), openmetrics, "{accept}");
        }
    }

    #[test]
    fn a_hash_in_an_escaped_label_value_is_no_exemplar() {
        let line = r##"a{x="\"# ",y="#"} 1"##;
        assert_eq!(without_exemplar(line), line);
    }
}
