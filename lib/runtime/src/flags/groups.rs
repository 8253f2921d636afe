//! Flags that several components share.

use std::path::Path;

use super::{
    FlagError, Flags,
    spec::{FlagGroup, FlagSpec, Kind},
};
use crate::{budget::Budget, limits, profiles};

/// The flag that sets the process' [`Budget`].
pub const MEMORY_BUDGET: &str = "sabre.memory-budget";

/// The flag that has a command check what it is given, and end.
pub const CHECK_CONFIG: &str = "sabre.check-config";

const GO_RUNTIME: &str = "there is no Go runtime, memory is bounded by --sabre.memory-budget";

const LOGGING: &[FlagSpec] = &[
    FlagSpec::new(
        "log.level",
        Kind::Choice(&["error", "warn", "info", "debug"]),
        "info",
        "Log from this level up",
    ),
    FlagSpec::new(
        "log.format",
        Kind::Choice(&["logfmt", "json", "journald"]),
        "logfmt",
        "Format of log lines",
    ),
    FlagSpec::new("debug.name", Kind::Text, "", "Name put on every log line").hidden(),
];

const PROCESS: &[FlagSpec] = &[
    FlagSpec::new(
        MEMORY_BUDGET,
        Kind::Size,
        "",
        "Bytes that buffers may hold in all, 60 % of the container's or machine's memory when it is not given",
    ),
    FlagSpec::new(
        CHECK_CONFIG,
        Kind::Bool,
        "false",
        "Check flags and the files that they name, say whether they can be used, and end: nobody is asked, nothing is written",
    ),
    FlagSpec::new(
        "tracing.config",
        Kind::Content,
        "",
        "Where traces go, as YAML: type and config; type OTLP is exported",
    ),
    FlagSpec::new(
        "enable-auto-gomemlimit",
        Kind::Bool,
        "false",
        "Memory limit of the Go runtime",
    )
    .ignored(GO_RUNTIME),
    FlagSpec::new(
        "auto-gomemlimit.ratio",
        Kind::Float,
        "0.9",
        "Share of memory for the Go runtime",
    )
    .ignored(GO_RUNTIME),
];

const HTTP: &[FlagSpec] = &[
    FlagSpec::new(
        "http-address",
        Kind::Address,
        "0.0.0.0:10902",
        "Where HTTP is served: metrics, probes and APIs",
    ),
    FlagSpec::new(
        "http-grace-period",
        Kind::DURATION,
        "2m",
        "How long requests may finish at shutdown",
    ),
    FlagSpec::new(
        "http.config",
        Kind::Text,
        "",
        "File with TLS, basic authentication and headers of the HTTP server, in the shape of Prometheus' web \
         configuration, read again when it changes",
    ),
];

const GRPC_SERVER: &[FlagSpec] = &[
    FlagSpec::new(
        "grpc-address",
        Kind::Address,
        "0.0.0.0:10901",
        "Where gRPC is served: StoreAPI and others",
    ),
    FlagSpec::new(
        "grpc-grace-period",
        Kind::DURATION,
        "2m",
        "How long calls may finish at shutdown",
    ),
    FlagSpec::new(
        "grpc-server-max-connection-age",
        Kind::DURATION,
        "60m",
        "Age at which clients are asked to connect anew, so that load is spread again, 0 for never",
    ),
    FlagSpec::new(
        "grpc-server-tls-cert",
        Kind::Text,
        "",
        "Certificate file of the gRPC server, which then speaks TLS; read again when it changes",
    ),
    FlagSpec::new(
        "grpc-server-tls-key",
        Kind::Text,
        "",
        "Key file of the gRPC server, read again when it changes",
    ),
    FlagSpec::new(
        "grpc-server-tls-client-ca",
        Kind::Text,
        "",
        "CA file that client certificates must come from, read again when it changes",
    ),
    FlagSpec::new(
        "grpc-server-tls-min-version",
        Kind::Choice(&["1.0", "1.1", "1.2", "1.3"]),
        "1.3",
        "Lowest TLS version; nothing older than 1.2 is spoken",
    ),
    FlagSpec::new(
        "grpc-server-tls-ciphers",
        Kind::Text,
        "",
        "Cipher suites of TLS 1.2, best first, by Go's names; weak ones are left out",
    )
    .comma_lists(),
    FlagSpec::new(
        "grpc-server-tls-curves",
        Kind::Text,
        "",
        "Curves, best first: X25519, CurveP256, CurveP384",
    )
    .comma_lists(),
];

const OBJSTORE: FlagSpec = FlagSpec::new(
    "objstore.config",
    Kind::Content,
    "",
    "The bucket as YAML: type, config, prefix",
);

const REQUEST_LOGGING: &[FlagSpec] = &[
    FlagSpec::new(
        "request.logging-config",
        Kind::Content,
        "",
        "Which requests are logged, as YAML",
    ),
    FlagSpec::new(
        "log.request.decision",
        Kind::Text,
        "",
        "Which requests are logged",
    )
    .ignored("Thanos dropped it for --request.logging-config"),
];

/// Flags of every command.
pub fn global() -> Vec<FlagGroup> {
    vec![
        FlagGroup::new("Logging", LOGGING),
        FlagGroup::new("Process", PROCESS),
    ]
}

/// Flags of the HTTP server.
pub fn http() -> FlagGroup {
    FlagGroup::new("HTTP server", HTTP)
}

/// Flags of the gRPC server.
pub fn grpc_server() -> FlagGroup {
    FlagGroup::new("gRPC server", GRPC_SERVER)
}

/// The bucket, for components that can do without (`--objstore.config` and its file).
pub fn objstore() -> FlagGroup {
    FlagGroup::new("Bucket", &[OBJSTORE])
}

/// The bucket, for components that need one.
pub fn objstore_required() -> FlagGroup {
    FlagGroup::new("Bucket", &[OBJSTORE.required()])
}

/// Which requests are logged.
pub fn request_logging() -> FlagGroup {
    FlagGroup::new("Request log", REQUEST_LOGGING)
}

/// Makes the process' budget as [`MEMORY_BUDGET`] says. Components call it before they bind a port.
///
/// # Errors
/// When the flag's value is no size, is zero, or is more than the container or the machine gives.
pub fn budget(flags: &Flags) -> Result<Budget, FlagError> {
    let budget = budget_within(flags, limits::memory_limit_bytes(Path::new("/")))?;
    profiles::charge_to(&budget);
    Ok(budget)
}

/// A budget that the kernel would end the process for is refused: who sets it would learn of it at the worst time.
pub(super) fn budget_within(flags: &Flags, memory_bytes: Option<u64>) -> Result<Budget, FlagError> {
    let limit_bytes = flags
        .bytes(MEMORY_BUDGET)?
        .unwrap_or_else(|| limits::budget_of(memory_bytes));
    let problem = match memory_bytes {
        _ if limit_bytes == 0 => "a budget of no bytes allows nothing".to_owned(),
        Some(memory_bytes) if limit_bytes > memory_bytes => format!(
            "{limit_bytes} bytes are more than the {memory_bytes} bytes of memory this process may use (limit of its \
             cgroup or memory of the machine); lower the flag, raise the memory limit, or leave the flag out for 60 % \
             of the limit"
        ),
        _ => return Ok(Budget::new(limit_bytes, format!("--{MEMORY_BUDGET}"))),
    };
    Err(FlagError::new(MEMORY_BUDGET, problem))
}
