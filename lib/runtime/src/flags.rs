//! Command-line flags as tables, read the way Thanos reads them.
//!
//! A component lists its [`FlagSpec`]s in [`FlagGroup`]s; the tables drive parsing, `--help`, and the documentation of
//! what is compatible. Parsing touches neither files nor ports, and a test can do it ([`App::parse`]).
//! ```
//! use sabre_runtime::flags::{App, CommandSpec, Example, FlagGroup, FlagSpec, Kind, groups};
//!
//! const STORE: &[FlagSpec] = &[
//!     FlagSpec::new("data-dir", Kind::Text, "./data", "Directory for index-headers"),
//!     FlagSpec::new("sync-block-duration", Kind::DURATION, "15m", "How often the list of blocks is read"),
//!     FlagSpec::new("chunk-pool-size", Kind::Size, "2GB", "").ignored("memory is bounded by --sabre.memory-budget"),
//! ];
//! let store = CommandSpec::new("store", "Serve the blocks of a bucket over gRPC")
//!     .group(FlagGroup::new("Store", STORE))
//!     .group(groups::objstore())
//!     .group(groups::http())
//!     .group(groups::grpc_server())
//!     .example("Serve a bucket", "sabre store --objstore.config-file=bucket.yaml");
//! let app = App::new("sabre", "0.1.0", "Storage for Prometheus").global(groups::global()).command(store);
//!
//! let parsed = app.parse(["sabre", "store", "--sync-block-duration", "1m"]).unwrap();
//! assert_eq!(parsed.command(), ["store"]);
//! assert_eq!(parsed.flags.duration_ms("sync-block-duration").unwrap(), 60_000);
//! assert_eq!(parsed.flags.text("data-dir").unwrap(), "./data");
//! let error = app.parse(["sabre", "store", "--data-dirr=x"]).unwrap_err();
//! assert_eq!(error.exit_code, 2);
//! assert!(error.text.contains("did you mean '--data-dir'?"));
//! ```

mod address;
mod app;
mod content;
pub mod groups;
mod help;
mod shown;
mod spec;
mod tokens;
mod values;

#[cfg(test)]
mod canary;
#[cfg(test)]
mod tests;

pub use address::{AddressError, BindError, ListenAddress};
pub use app::{App, CliError, Parsed, parse_groups};
pub use content::ContentError;
pub use shown::without_userinfo;
pub use spec::{CommandSpec, DurationSyntax, Example, FlagGroup, FlagSpec, Kind, Repeat, Status};
pub use values::{FlagError, FlagValue, Flags};
