//! `--sabre.check-config`: whether flags, and the files that they name, can be used. Nobody is asked and nothing is written.

use std::fmt::Display;

use anyhow::anyhow;
use sabre_cache::CachingBucket;
use sabre_model::relabel::{RelabelConfig, validate_for_blocks};
use sabre_query::discovery::parse_document;
use sabre_runtime::{
    flags::{ContentError, Flags, groups},
    grpc_server::GrpcOptions,
    http_server::HttpOptions,
    request_log::RequestLog,
    trace::config::TraceConfig,
    yaml,
};

/// Reads flags and documents as the command does when it starts.
///
/// # Errors
/// The first flag or file that is of no use, and why.
pub(crate) fn check(command: &[&str], flags: &Flags) -> anyhow::Result<()> {
    match command {
        ["sidecar"] => {
            servers(flags)?;
            sabre_sidecar::flags::SidecarConfig::from_flags(flags)?;
        }
        ["store"] => {
            servers(flags)?;
            sabre_store::check_flags(flags).map_err(anyhow::Error::from_boxed)?;
        }
        ["compact"] => {
            HttpOptions::from_flags(flags)?;
            sabre_compactor::check_flags(flags).map_err(anyhow::Error::from_boxed)?;
        }
        ["query"] => {
            servers(flags)?;
            sabre_query::config::QueryConfig::from_flags(flags, &groups::budget(flags)?)?;
        }
        ["es-retention", ..] => sabre_es_retention::run::check(flags)?,
        _ => {}
    }
    documents(command, flags)
}

fn servers(flags: &Flags) -> anyhow::Result<()> {
    HttpOptions::from_flags(flags)?;
    GrpcOptions::from_flags(flags)?;
    RequestLog::from_flags(flags)?;
    Ok(())
}

/// What is read after the flags, by whoever uses it.
fn documents(command: &[&str], flags: &Flags) -> anyhow::Result<()> {
    let component = command.first().copied().unwrap_or_default();
    document(flags, "objstore.config", |_, text| {
        sabre_objstore::config::from_yaml(text, component).map(drop)
    })?;
    document(flags, "store.caching-bucket.config", CachingBucket::check_yaml)?;
    document(flags, "tracing.config", |_, text| {
        TraceConfig::parse(text).map(drop)
    })?;
    document(flags, "selector.relabel-config", |what, text| {
        let rules: Vec<RelabelConfig> =
            yaml::from_str_strict(what, text).map_err(|error| error.to_string())?;
        validate_for_blocks(&rules).map_err(|error| error.to_string())
    })?;
    document(flags, "endpoint.sd-config", |what, text| {
        parse_document(what, text, &Default::default()).map(drop)
    })
}

/// Reads the document of a flag, if the command has the flag and it is given.
fn document<E: Display>(
    flags: &Flags,
    name: &str,
    read: impl FnOnce(&str, &str) -> Result<(), E>,
) -> anyhow::Result<()> {
    let what = format!("--{name}");
    match flags.content(name) {
        Ok(Some(text)) => read(&what, &text).map_err(|error| named(&what, &error)),
        // The command has no such flag, or it is not given.
        Ok(None) | Err(ContentError::Flag(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The error with its flag, which most say themselves.
fn named(what: &str, error: &dyn Display) -> anyhow::Error {
    let text = error.to_string();
    match text.contains(what.trim_start_matches('-')) {
        true => anyhow!(text),
        false => anyhow!("{what}: {text}"),
    }
}
