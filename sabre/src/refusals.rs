//! Commands of Thanos that are not built: they say what to use instead, so that whoever swaps an image is not left with
//! "unknown command".

use sabre_runtime::flags::{App, CommandSpec};

const COMPONENTS: &[(&str, &str)] = &[
    (
        "query-frontend",
        "point its clients, such as Grafana, at the port of sabre query; or keep Thanos' own before it, which works \
         with --query-frontend.downstream-url",
    ),
    (
        "rule",
        "evaluate rules in Prometheus, or keep Thanos' own with --query pointing at sabre query; its gRPC address is an \
         --endpoint of sabre query",
    ),
    (
        "receive",
        "put sabre sidecar beside each Prometheus, or keep Thanos' own; its blocks and its gRPC address are served as \
         any others",
    ),
];

const TOOLS: &[(&str, &str)] = &[(
    "rules-check",
    "use promtool check rules, or Thanos' own where rules have a partial_response_strategy",
)];

const BUCKET: &[(&str, &str)] = &[
    (
        "web",
        "use sabre tools bucket inspect, or the page of sabre compact --wait at its HTTP address",
    ),
    ("replicate", "use replication of S3 itself, or Thanos' own"),
    (
        "downsample",
        "use sabre compact, which downsamples after it has compacted",
    ),
    (
        "retention",
        "use sabre compact with --retention.resolution-raw, -5m and -1h, which marks what is too old",
    ),
    (
        "rewrite",
        "use Thanos' own; stores and the compactor take its blocks as any others",
    ),
    (
        "upload-blocks",
        "use sabre sidecar with --shipper.upload-compacted beside a Prometheus on that directory, or Thanos' own",
    ),
];

/// Adds those that `app` has not, so that building one is enough to have it.
pub(crate) fn with_refusals(app: App) -> App {
    missing(COMPONENTS, app.commands())
        .into_iter()
        .fold(app, App::command)
}

/// Adds to `sabre tools` and `sabre tools bucket`.
pub(crate) fn with_refused_tools(mut tools: CommandSpec) -> CommandSpec {
    for bucket in tools
        .commands
        .iter_mut()
        .filter(|command| command.name == "bucket")
    {
        let refused = missing(BUCKET, &bucket.commands);
        bucket.commands.extend(refused);
    }
    let refused = missing(TOOLS, &tools.commands);
    tools.commands.extend(refused);
    tools
}

fn missing(table: &[(&'static str, &'static str)], built: &[CommandSpec]) -> Vec<CommandSpec> {
    table
        .iter()
        .filter(|(name, _)| built.iter().all(|command| command.name != *name))
        .map(|(name, instead)| CommandSpec::not_built(name, instead))
        .collect()
}
