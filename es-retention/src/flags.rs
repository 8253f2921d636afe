//! The flags of `sabre es-retention`.

use sabre_runtime::flags::{CommandSpec, FlagGroup, FlagSpec, Kind, groups};

use crate::config::DEFAULT_FILE;

const COMMON: &[FlagSpec] = &[
    FlagSpec::new(
        "config-file",
        Kind::Text,
        DEFAULT_FILE,
        "The configuration as YAML; the variables HOST, REGION, ES_REPO_NAME, S3_BUCKET_NAME, ES_INDEX_PREFIX, \
         INDEX_RETENTION, SNAPSHOT_RETENTION and IAM_ROLE_ARN override it",
    ),
    FlagSpec::new(
        "date",
        DATE,
        "",
        "The day of the run as YYYY-MM-DD, today in UTC when it is not given",
    ),
    FlagSpec::new(
        "role-arn",
        Kind::Text,
        "",
        "The role with which the service writes to the bucket of the repository; overrides IAM_ROLE_ARN",
    ),
];

const DELETES: FlagSpec = FlagSpec::new(
    "max-deletes",
    Kind::Int,
    "10",
    "How many indices and snapshots a run deletes beyond one of each for every prefix; overrides max_deletes in the file",
)
.at_least(0);

const OUTPUT: FlagSpec = FlagSpec::new(
    "output",
    Kind::Choice(&["table", "json"]),
    "table",
    "How the answer is written to standard output",
)
.short('o');

const METRICS: &[FlagSpec] = &[
    FlagSpec::new(
        "metrics.textfile",
        Kind::Text,
        "",
        "File for node exporter's textfile collector, written at the end",
    ),
    FlagSpec::new(
        "metrics.push-gateway",
        Kind::Text,
        "",
        "Address of a push gateway, to which metrics go at the end",
    ),
];

const INDEX: FlagSpec = FlagSpec::new(
    "index",
    Kind::Text,
    "",
    "The index as it was called, such as logging-2026.01.31",
)
.required();

const DATE: Kind = Kind::Checked {
    noun: "date",
    check: check_date,
};

/// The command, for the table of the binary.
pub fn command() -> CommandSpec {
    CommandSpec::new(
        "es-retention",
        "Move old log indices of Elasticsearch or OpenSearch into snapshots, and delete what expired",
    )
    .group(FlagGroup::new("Cluster", COMMON))
    .command(
        CommandSpec::new("register-repo", "Register the snapshot repository, and let every node try it")
            .example(
                "Register the bucket of the configuration",
                "sabre es-retention register-repo --role-arn=arn:aws:iam::123456789012:role/TheSnapshotRole",
            ),
    )
    .command(
        CommandSpec::new("plan", "Show what a run would do and why; touches nothing")
            .group(FlagGroup::new("Plan", &[DELETES, OUTPUT]))
            .example("What would happen today", "sabre es-retention plan")
            .example(
                "What would have happened on a day, for a program",
                "sabre es-retention plan --date=2026-01-31 --output=json",
            ),
    )
    .command(
        CommandSpec::new(
            "run",
            "Do the daily job: delete expired snapshots, delete indices that are safe in one, snapshot what is due, \
             create tomorrow's index",
        )
        .group(FlagGroup::new("Run", &[DELETES, OUTPUT]))
        .group(FlagGroup::new("Metrics", METRICS))
        .example("The daily job", "sabre es-retention run --config-file=app-config.yml")
        .example(
            "Catch up faster after a long pause",
            "sabre es-retention run --max-deletes=100",
        ),
    )
    .command(
        CommandSpec::new("status", "Show indices, snapshots, ages, sizes, gaps and what is due")
            .group(FlagGroup::new("Status", &[DELETES, OUTPUT]))
            .example("What there is", "sabre es-retention status"),
    )
    .command(
        CommandSpec::new("restore", "Restore all generations of a deleted index as restored-<index>")
            .operand("index")
            .group(FlagGroup::new("Restore", &[INDEX, OUTPUT]))
            .example("Look into an old day", "sabre es-retention restore logging-2026.01.31"),
    )
    .command(
        CommandSpec::new("schedule", "Stay up and do the daily job by a cron pattern of the configuration")
            .group(FlagGroup::new("Run", &[DELETES]))
            .group(groups::http())
            .example(
                "Every day at five, UTC, with metrics and probes on :10902",
                "sabre es-retention schedule --http-address=0.0.0.0:10902",
            ),
    )
}

fn check_date(text: &str) -> Result<(), String> {
    read_date(text).map(drop)
}

/// Reads `YYYY-MM-DD` and nothing else.
pub(crate) fn read_date(text: &str) -> Result<jiff::civil::Date, String> {
    let problem = || format!("a day such as 2026-01-31 is wanted, not {text:?}");
    if text.len() != 10 {
        return Err(problem());
    }
    text.parse().map_err(|_| problem())
}
