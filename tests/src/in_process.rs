//! Components as their commands start them, in the process of the test.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, anyhow};
use sabre_runtime::{
    flags::{App, CommandSpec, Flags, groups},
    metrics::Registry,
};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A component that runs until this is dropped.
#[derive(Debug)]
pub struct Running {
    /// Where metrics and probes are.
    pub http: SocketAddr,
    /// Where gRPC is.
    pub grpc: SocketAddr,
    /// Its metrics.
    pub registry: Registry,
    /// What came of it, once it ends.
    pub ended: JoinHandle<Result<(), String>>,
    _stop: DropGuard,
}

/// Starts `sabre sidecar` with these flags, on free loopback ports, and waits until its Prometheus has answered.
///
/// # Errors
/// What it says when it does not start.
pub async fn sidecar(flags: &[&str]) -> Result<Running> {
    let flags = parse(sabre_sidecar::flags::command(), "sidecar", flags)?;
    let (registry, stop, (sender, receiver)) =
        (Registry::new(), CancellationToken::new(), oneshot::channel());
    let ended = tokio::spawn({
        let (registry, stop) = (registry.clone(), stop.clone());
        async move {
            let outcome = sabre_sidecar::run::run(&flags, registry, stop, Some(sender)).await;
            outcome.map_err(|error| format!("{error:#}"))
        }
    });
    let Ok(listening) = receiver.await else {
        return Err(why(ended).await);
    };
    let running = Running {
        http: listening.http,
        grpc: listening.grpc,
        registry,
        ended,
        _stop: stop.drop_guard(),
    };
    while running.metric("thanos_sidecar_prometheus_up")? != 1.0 {
        if running.ended.is_finished() {
            return Err(why(running.ended).await);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(running)
}

/// Starts `sabre store` with these flags, on free loopback ports.
///
/// # Errors
/// What it says when it does not start.
pub async fn store(flags: &[&str]) -> Result<Running> {
    let flags = parse(sabre_store::flags::command(), "store", flags)?;
    let (registry, stop, (sender, receiver)) =
        (Registry::new(), CancellationToken::new(), oneshot::channel());
    let ended = tokio::spawn({
        let (registry, stop) = (registry.clone(), stop.clone());
        async move {
            let outcome = sabre_store::run::run(&flags, registry, stop, Some(sender)).await;
            outcome.map_err(|error| error.to_string())
        }
    });
    let Ok(listening) = receiver.await else {
        return Err(why(ended).await);
    };
    Ok(Running {
        http: listening.http,
        grpc: listening.grpc,
        registry,
        ended,
        _stop: stop.drop_guard(),
    })
}

/// Starts `sabre query` with these flags, on free loopback ports. Its gRPC answers once endpoints said who they are.
///
/// # Errors
/// What it says when it does not start.
pub async fn querier(flags: &[&str]) -> Result<Running> {
    let flags = parse(sabre_query::flags::command(), "query", flags)?;
    let (registry, stop, (sender, receiver)) =
        (Registry::new(), CancellationToken::new(), oneshot::channel());
    let ended = tokio::spawn({
        let (registry, stop) = (registry.clone(), stop.clone());
        async move {
            let outcome = sabre_query::run::run(&flags, registry, stop, Some(sender)).await;
            outcome.map_err(|error| error.to_string())
        }
    });
    let Ok(listening) = receiver.await else {
        return Err(why(ended).await);
    };
    Ok(Running {
        http: listening.http,
        grpc: listening.grpc,
        registry,
        ended,
        _stop: stop.drop_guard(),
    })
}

impl Running {
    /// The value of a metric, by its name and, where it has any, its labels.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = self.registry.classic();
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(found.with_context(|| format!("no metric {name}"))?.parse()?)
    }
}

fn parse(command: CommandSpec, name: &str, flags: &[&str]) -> Result<Flags> {
    let app = App::new("sabre", "test", "")
        .global(groups::global())
        .command(command);
    let ports = ["--http-address=127.0.0.1:0", "--grpc-address=127.0.0.1:0"];
    let arguments = [["sabre", name].as_slice(), &ports, flags].concat();
    Ok(app.parse(arguments).map_err(|error| anyhow!(error.text))?.flags)
}

async fn why(ended: JoinHandle<Result<(), String>>) -> anyhow::Error {
    match ended.await {
        Ok(Err(error)) => anyhow!(error),
        Ok(Ok(())) => anyhow!("it ended by itself"),
        Err(error) => anyhow!(error),
    }
}
