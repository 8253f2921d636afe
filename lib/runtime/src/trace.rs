//! Traces: what a request did, where and for how long, for a collector that speaks OTLP.
//!
//! A server begins a [`Span`] for a request, with the caller's trace if the caller named one (W3C `traceparent`), and runs
//! its work within it. What the work begins by [`Span::child`] is a part of it, on whatever thread, as long as the work is
//! carried there: [`crate::run_cpu`] and [`crate::blocking`] do, for tasks there is [`carried`]. Without a tracer, or for
//! a trace that is not sampled, a span is nothing but the look whether there is one.
//!
//! Ended spans wait in a queue of limited length; when it is full they are dropped and counted. No request ever waits.

pub mod config;
mod context;
mod encode;
mod export;
pub(crate) mod layer;
mod post;
mod span;
#[cfg(test)]
mod tests;

use std::{sync::OnceLock, time::Duration};

use crate::{
    flags::{ContentError, Flags},
    metrics::Registry,
};
use config::{OtlpConfig, TraceConfig, TraceConfigError};
pub use context::{Context, carried, carried_call, trace_id};
pub use span::{Kind, Span, Tracer, Value};

/// How long the last spans may take to leave when the process ends.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// The tracer of the process. Servers take it when they are made; everything else finds its span by itself.
static INSTALLED: OnceLock<Tracer> = OnceLock::new();

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The document cannot be had.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// It makes no sense.
    #[error(transparent)]
    Config(#[from] TraceConfigError),
    /// Its files do not.
    #[error("--tracing.config: tls_config: {0}")]
    Tls(String),
}

/// Reads `--tracing.config` and begins to export. Traces of types that are not built are not exported, which is logged.
///
/// # Errors
/// When the document cannot be had, makes no sense, or names files that cannot be read.
pub fn init(flags: &Flags, registry: &Registry) -> Result<(), TraceError> {
    let Some(text) = flags.content("tracing.config")? else {
        return Ok(());
    };
    match TraceConfig::parse(&text)? {
        TraceConfig::Otlp(config) => {
            let tracer = start(&config, registry)?;
            // A second tracer in one process would be a second call of this, which nobody makes.
            let _ = INSTALLED.set(tracer);
        }
        TraceConfig::NotBuilt(name) => tracing::info!(
            "--tracing.config is accepted and ignored: traces are exported by type OTLP and not by {name}; a collector \
             takes OTLP and passes it on"
        ),
    }
    Ok(())
}

/// Begins to export to a collector, as long as the tracer or a clone of it lives.
///
/// # Errors
/// When the sampler makes no sense, or files of `tls_config` cannot be read.
pub fn start(config: &OtlpConfig, registry: &Registry) -> Result<Tracer, TraceError> {
    let sampler = config.sampler()?;
    let post = post::Post::new(config)?;
    Ok(Tracer::new(sampler, export::start(post, config, registry)))
}

/// The tracer of the process, if it has one.
pub(crate) fn installed() -> Option<Tracer> {
    INSTALLED.get().cloned()
}

/// Sends what waits, for a process that is about to end; each export is tried once, and all is given up after five
/// seconds.
pub async fn flush() {
    if let Some(tracer) = INSTALLED.get() {
        let flushed = tokio::time::timeout(LAST_FLUSH, tracer.flush_last());
        if flushed.await.is_err() {
            tracing::warn!("the last traces were not exported in time");
        }
    }
}
