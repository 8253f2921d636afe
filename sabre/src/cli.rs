//! From the command line to a running component.

use std::{io::Write, process::ExitCode};

use sabre_runtime::{
    flags::{App, Flags, groups},
    logging,
    metrics::{BuildInfo, Registry},
    profiles,
    shutdown::Signals,
    trace,
};

use crate::{check::check, demo, heap::Jemalloc, refusals};

/// The table of all commands.
pub(crate) fn app() -> App {
    let app = App::new(
        "sabre",
        env!("CARGO_PKG_VERSION"),
        "Long-term storage for Prometheus in object storage, compatible with Thanos",
    )
    .global(groups::global())
    .command(sabre_sidecar::flags::command())
    .command(sabre_store::flags::command())
    .command(sabre_compactor::flags::command())
    .command(sabre_query::flags::command())
    .command(refusals::with_refused_tools(sabre_tools::flags::command()))
    .command(sabre_es_retention::flags::command())
    .command(demo::command());
    refusals::with_refusals(app)
}

/// Reads the arguments, starts the component and returns the exit code: 0 after a clean stop, 1 when it failed, 2 for
/// arguments that cannot be used; a command that ends of itself may have codes of its own.
pub(crate) fn main() -> ExitCode {
    // Thanos images are replaced name and all: the program may be called `thanos`.
    let parsed = match app().parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let text = error.text.as_bytes();
            // A reader that closed the pipe has seen enough.
            let _ = if error.exit_code == 0 {
                std::io::stdout().write_all(text)
            } else {
                std::io::stderr().write_all(text)
            };
            return ExitCode::from(error.exit_code);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::from(error).context("start the runtime")),
    };
    let result = runtime.block_on(async {
        let result = run(parsed.command(), &parsed.flags).await;
        trace::flush().await;
        result
    });
    // Threads that still read files do not keep the process alive.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

async fn run(words: &[&str], flags: &Flags) -> anyhow::Result<()> {
    let command = words.first().copied().unwrap_or_default();
    install_crypto();
    let only_checks = flags.bool(groups::CHECK_CONFIG)?;
    if command == "demo" && !only_checks {
        return demo::run(flags, &app()).await;
    }
    logging::init(flags)?;
    flags.log_notices();
    if only_checks {
        check(words, flags)?;
        writeln!(
            std::io::stdout(),
            "flags of sabre {command}, and the files that they name, can be used"
        )?;
        return Ok(());
    }
    if command == "tools" {
        return Ok(sabre_tools::run::run(words, flags, &mut std::io::stdout()).await?);
    }
    let registry = Registry::new();
    registry.register_process();
    registry.register_build_info(BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        ..BuildInfo::default()
    });
    trace::init(flags, &registry)?;
    profiles::heap::install(Box::<Jemalloc>::default());
    let signals = Signals::listen()?;
    tracing::info!(command, version = env!("CARGO_PKG_VERSION"), "starting");
    match command {
        "sidecar" => sabre_sidecar::run::run(flags, registry, signals.stop, None).await?,
        "store" => sabre_store::run::run(flags, registry, signals.stop, None)
            .await
            .map_err(|error| anyhow::anyhow!(error))?,
        "compact" => sabre_compactor::run::run(flags, registry, signals.stop, None)
            .await
            .map_err(|error| anyhow::anyhow!(error))?,
        "query" => sabre_query::run::run(flags, registry, signals.stop, None)
            .await
            .map_err(|error| anyhow::anyhow!(error))?,
        "es-retention" => {
            let command = words.get(1).copied().unwrap_or_default();
            sabre_es_retention::run::run(command, flags, registry, signals.stop).await?;
        }
        other => anyhow::bail!("command {other} is in the table and is not started"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// One provider for all who speak TLS; a second call changes nothing.
fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let text = told_once(error);
    tracing::error!(error = text, "failed");
    if !tracing::event_enabled!(tracing::Level::ERROR) {
        let _ = writeln!(std::io::stderr(), "sabre: {text}");
    }
    let own = error.downcast_ref::<sabre_es_retention::exit::Exit>();
    own.map_or(ExitCode::FAILURE, |exit| ExitCode::from(exit.code))
}

/// The error with its causes, but for those that the words before them tell already.
fn told_once(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cause = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let inner = anyhow::Error::new(cause).context("/prometheus: no such file");
        let outer = inner.context("the sidecar fails");
        assert_eq!(told_once(&outer), "the sidecar fails: /prometheus: no such file");
    }
}
