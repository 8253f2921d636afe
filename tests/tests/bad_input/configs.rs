//! Configurations of buckets that cannot be used: both components refuse to start, and say which key, where and why.
//! Values are not repeated: they may be secrets.

use sabre_tests::in_process::{self, Running};

struct Row {
    what: &'static str,
    /// After the name of the program and of the command.
    flags: &'static [&'static str],
    says: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        what: "an unknown key",
        flags: &["--objstore.config=type: S3\nconfig:\n  bucket: b\n  endpoint: e\n  buckt: hunter2\n"],
        says: &[
            "objstore.config",
            "line 5",
            "unknown key `buckt`",
            "known are bucket, endpoint",
        ],
    },
    Row {
        what: "an unknown key beside type",
        flags: &["--objstore.config=type: FILESYSTEM\nconfig: {directory: /x}\nprefx: hunter2\n"],
        says: &["objstore.config", "line 3", "unknown key `prefx`", "prefix"],
    },
    Row {
        what: "a number that is a list",
        flags: &["--objstore.config=type: S3\nconfig:\n  bucket: b\n  endpoint: e\n  part_size: [hunter2]\n"],
        says: &["objstore.config", "line 5", "part_size"],
    },
    Row {
        what: "a flag that is a text",
        flags: &["--objstore.config=type: S3\nconfig:\n  bucket: b\n  endpoint: e\n  insecure: hunter2\n"],
        says: &["objstore.config", "line 5", "insecure"],
    },
    Row {
        what: "a duration that is none",
        flags: &[
            "--objstore.config=type: S3\nconfig:\n  bucket: b\n  endpoint: e\n  http_config:\n    idle_conn_timeout: soon\n",
        ],
        says: &["objstore.config", "line 6", "idle_conn_timeout"],
    },
    Row {
        what: "a part size that S3 does not take",
        flags: &["--objstore.config=type: S3\nconfig:\n  bucket: b\n  endpoint: e\n  part_size: 1000\n"],
        says: &["objstore.config", "line 5", "`part_size`", "5 MiB"],
    },
    Row {
        what: "an unset variable",
        flags: &["--objstore.config=type: S3\nconfig:\n  bucket: b\n  access_key: $(SABRE_TEST_NOT_SET)\n"],
        says: &[
            "--objstore.config",
            "line 4, column 15",
            "SABRE_TEST_NOT_SET is not set",
        ],
    },
    Row {
        what: "a type that is none",
        flags: &["--objstore.config=type: hunter2\n"],
        says: &["objstore.config", "line 1", "`type`", "S3 and FILESYSTEM"],
    },
    Row {
        what: "no bucket",
        flags: &["--objstore.config=type: S3\nconfig:\n  secret_key: hunter2\n"],
        says: &["objstore.config", "`bucket`", "required"],
    },
    Row {
        what: "half a pair of keys",
        flags: &["--objstore.config=type: S3\nconfig:\n  bucket: b\n  endpoint: e\n  secret_key: hunter2\n"],
        says: &["objstore.config", "`access_key`", "beside `secret_key`"],
    },
    Row {
        what: "a document that does not parse",
        flags: &["--objstore.config=type: S3\n  config: {hunter2: [\n"],
        says: &["objstore.config"],
    },
    Row {
        what: "a file that is not there",
        flags: &["--objstore.config-file=/nowhere/bucket.yaml"],
        says: &["--objstore.config-file", "/nowhere/bucket.yaml"],
    },
    Row {
        what: "a file and a text",
        flags: &[
            "--objstore.config-file=/nowhere/bucket.yaml",
            "--objstore.config=type: S3",
        ],
        says: &["--objstore.config", "--objstore.config-file", "one of them"],
    },
];

/// What a component says instead of starting.
async fn refusals(flags: &[&str]) -> [String; 2] {
    let text = |started: anyhow::Result<Running>| started.unwrap_err().to_string();
    [
        text(in_process::store(flags).await),
        text(in_process::sidecar(flags).await),
    ]
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_names_key_and_place_and_no_value() {
    for row in ROWS {
        for text in refusals(row.flags).await {
            for part in row.says {
                assert!(text.contains(part), "{}: {part:?} in {text}", row.what);
            }
            assert!(
                !text.contains("hunter2") || row.what.contains("type"),
                "{}: {text}",
                row.what
            );
        }
    }
}

#[tokio::test]
async fn a_store_without_a_bucket_says_which_flag_it_wants() {
    let text = in_process::store(&[]).await.unwrap_err().to_string();
    assert!(
        text.contains("--objstore.config") && text.contains("required"),
        "{text}"
    );
}
