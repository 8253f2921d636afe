//! Log lines in Thanos' shape, on standard error.
//!
//! `ts=2026-01-02T03:04:05.000000006Z caller=sync.rs:67 level=info msg="blocks listed" count=4`, or the same as JSON.
//! Messages and keys are lower case without a full stop; `error` means that someone must act.

mod layer;
mod logfmt;
mod sink;
#[cfg(test)]
mod tests;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, Registry,
    filter::Targets,
    layer::{Layered, SubscriberExt as _},
    registry::LookupSpan,
};

use crate::flags::{FlagError, Flags};
pub use layer::LogLayer;
pub use sink::{Capture, Sink, Stderr};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// The least severe level of this project's own lines. Libraries are logged from `warn` up, from `info` up when
    /// this is `debug`.
    pub level: LevelFilter,
    /// How lines look.
    pub format: Format,
    /// A name put on every line, when not empty.
    pub name: String,
}

/// Logging was set up twice in this process.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A flag has a wrong value.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// Logging was set up before.
    #[error("logging is already set up")]
    AlreadySet,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            level: LevelFilter::INFO,
            format: Format::Logfmt,
            name: String::new(),
        }
    }
}

impl LogOptions {
    /// Reads `--log.level`, `--log.format` and `--debug.name`.
    ///
    /// # Errors
    /// When a flag was not declared or its value is wrong.
    pub fn from_flags(flags: &Flags) -> Result<Self, FlagError> {
        let level = match flags.text("log.level")? {
            "error" => LevelFilter::ERROR,
            "warn" => LevelFilter::WARN,
            "debug" => LevelFilter::DEBUG,
            _ => LevelFilter::INFO,
        };
        let format = if flags.text("log.format")? == "json" {
            Format::Json
        } else {
            Format::Logfmt
        };
        Ok(Self {
            level,
            format,
            name: flags.text("debug.name")?.to_owned(),
        })
    }

    /// Makes a subscriber; tests hand it to [`tracing::subscriber::with_default`].
    pub fn subscriber<S: Sink>(
        &self,
        sink: S,
    ) -> Layered<tracing_subscriber::filter::Filtered<LogLayer<S>, Targets, Registry>, Registry> {
        tracing_subscriber::registry().with(self.layer(sink))
    }

    fn layer<S, R>(&self, sink: S) -> tracing_subscriber::filter::Filtered<LogLayer<S>, Targets, R>
    where
        S: Sink,
        R: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let libraries = match self.level {
            LevelFilter::ERROR => LevelFilter::ERROR,
            LevelFilter::DEBUG | LevelFilter::TRACE => LevelFilter::INFO,
            _ => LevelFilter::WARN,
        };
        let targets = Targets::new()
            .with_default(libraries)
            .with_target("sabre", self.level);
        LogLayer::new(self.format, self.name.clone(), sink).with_filter(targets)
    }
}

/// Sets up logging for the process as the flags say; [`Flags::log_notices`] then says what is to be said about them.
///
/// # Errors
/// When a flag is wrong or logging is set up already.
pub fn init(flags: &Flags) -> Result<(), LogError> {
    let options = LogOptions::from_flags(flags)?;
    tracing::subscriber::set_global_default(options.subscriber(Stderr)).map_err(|_| LogError::AlreadySet)?;
    if flags.text("log.format")? == "journald" {
        tracing::info!("--log.format=journald is accepted and ignored, lines are logfmt on standard error");
    }
    Ok(())
}
