//! What people write: durations, expressions, selectors, relabelling, YAML, command lines; and what servers send.

use anyhow::Result;

use crate::Corpus;

pub(crate) fn add(corpus: &mut Corpus) -> Result<()> {
    corpus.add_texts(
        "model_duration",
        &[
            "1h30m",
            "1.5s",
            "15d",
            "2w",
            "1y",
            "-2d",
            "2026-01-01T00:00:00.5Z",
            "64MB",
            "1GiB",
            "01KE1Y3XTRWGF29YHY29V0RWTA",
        ],
    )?;
    corpus.add_texts(
        "model_regex",
        &[
            "api-.*\0api-1",
            "(a|b|c)(d|e)\0ad",
            "foo.+bar?\0fooxba",
            "(?i:Get|put)\0GET",
            r"[^\pL[:digit:]]{2,5}\b|\Qa.b\E",
            "(?P<first>a+)-(b*)$\0aa-b",
            ".*5..|^$",
        ],
    )?;
    corpus.add_texts(
        "model_selector",
        &[
            r#"{__name__="up",job!="a",instance=~"a.*|b",x!~""}"#,
            r#"up{job="a"}"#,
            r#"{"http.status"=~"5..", a="\x41\u00e9\n"}"#,
            r#"a="b""#,
        ],
    )?;
    corpus.add_texts(
        "model_relabel",
        &[
            "replace\na,b\n;\n(.*);(.*)\n0\nt\n$2-$1\nx",
            "hashmod\na\n;\n(.*)\n3\nt\n$1\nx",
            "labelmap\n\n;\n(a|b)\n0\n\nx_$1\ny",
            "keep\na\n;\nx|y\n0\n\n$1\nx",
            "labeldrop\n\n;\nb\n0\n\n$1\nx",
        ],
    )?;
    corpus.add_texts(
        "runtime_yaml_document",
        &[
            "type: S3\nconfig:\n  bucket: b\n  endpoint: e\n  http_config: {tls_config: {ca_file: x}}\nprefix: p\n",
            "a: 1\nb: 2\n",
            "http:\n  options:\n    level: ERROR\n    decision: {log_start: true}\n",
            "x: &a [1, 2]\ny: *a\nz: |\n  text\n  more\n",
        ],
    )?;
    corpus.add_texts("promql_query", QUERIES)?;
    corpus.add_texts(
        "runtime_expand_env",
        &["a: $(VAR)\nb: $(A1)$(B)\nc: $$(D)\nd: $(\ne: $()"],
    )?;
    corpus.add_texts(
        "runtime_command_line",
        &[
            "--http-address=:10902\n--no-wait\n--out\nx",
            "-w\n-oout\n--request.logging-config-file=/x",
            "--http-grace-period=2m\n[::1]:10902",
        ],
    )?;
    corpus.add_texts(
        "objstore_server_text",
        &[
            "bytes 0-99/1000",
            "bytes */1000",
            "Thu, 01 Jan 2026 00:00:00 GMT",
            "a/b/c",
            "a%2Fb+c",
            "the region 'us-east-1' is wrong; expecting 'eu-west-1'",
        ],
    )
}

/// Queries of all kinds, some of which cannot be read.
const QUERIES: &[&str] = &[
    "up",
    "sum by (job) (rate(http_requests_total{code=~\"5..\"}[5m]))",
    "histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))",
    "a{b=\"c\",d!=\"e\",f=~\"g.+\",h!~\"i|j\"} offset 5m @ 1609746000",
    "a + on (b) group_left (c) d",
    "a == bool b unless ignoring (c) d",
    "topk without (a) (3, b ^ -2)",
    "max_over_time((rate(a[1m]) > 0)[10m:30s] @ end() offset -1m)",
    "-Inf ^ +NaN",
    "0x1f + 1_000 + .5e-3 + 1h30m",
    "{\"metric.name\", \"läbel\"=\"\\u00e9\"}",
    "count_values(\"v\", a)",
    "label_replace(a, \"b\", \"$1-${x}\", \"c\", \"(?P<x>.*)\")",
    "label_join(a, \"b\", \"-\", \"c\", \"d\")",
    "absent_over_time(a[5m])",
    "a[5m+step()]",
    "a[min(5m, 1h) * 2:max(step(), 15s)]",
    "rate(a[5m] smoothed) - increase(a[5m] anchored)",
    "info(a, {b=\"c\"})",
    "limitk(2, a) or limit_ratio(-0.5, b)",
    "sort_by_label_desc(a, \"b\", \"c\")",
    "quantile_over_time(scalar(a), b[5m])",
    "# a comment\na # another\n",
    "\"a \\\"quoted\\\" text\"",
    "'single \\x41'",
    "`raw`",
    "a[0.0001]",
    "a[5m:0.0001]",
    "a @ 9223372036854775.807",
    "sum(a) by (b",
    "a[5m",
    "a{b=~\"(\"}",
    "foo(1)",
    "a offset 5m offset 1m",
    "1 == 1",
    "((((((((a))))))))",
    "start() + end()",
    "histogram_fraction(0, 0.2, rate(h[5m]))",
    "a atan2 b % c",
    "vector(1)[1h:1s]",
];
