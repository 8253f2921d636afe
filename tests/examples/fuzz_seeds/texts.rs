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
