//! The components of the demo: each from a command line, in this process.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use sabre_runtime::metrics::Registry;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Stage, http, screen};

/// A component that runs in this process, and where it listens.
pub(crate) struct Component {
    pub(crate) what: String,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    task: JoinHandle<Result<()>>,
}

/// Parses the same arguments as a shell would pass, and starts the component with them.
pub(crate) async fn start(
    stage: &Stage<'_>,
    command: &'static str,
    what: String,
    arguments: &[String],
) -> Result<Component> {
    let mut line = vec!["sabre".to_string(), command.to_string()];
    line.extend_from_slice(arguments);
    line.extend([
        "--http-address=127.0.0.1:0".to_string(),
        "--grpc-address=127.0.0.1:0".to_string(),
    ]);
    stage.screen.line(&format!("$ {}", screen::shell_line(&line)));
    let flags = stage
        .app
        .parse(&line)
        .map_err(|error| anyhow::anyhow!(error.text))?
        .flags;
    let (stop, registry, at_work) = (stage.stop.clone(), Registry::new(), stage.crew.join());
    let silent = || format!("{what} did not start, its log says why");
    let (task, http, grpc) = match command {
        "store" => {
            let (sender, listening) = oneshot::channel();
            let task = tokio::spawn(async move {
                let _at_work = at_work;
                let run = sabre_store::run::run(&flags, registry, stop, Some(sender));
                run.await.map_err(|error| anyhow::anyhow!(error))
            });
            let at = listening.await.with_context(silent)?;
            (task, at.http, at.grpc)
        }
        "query" => {
            let (sender, listening) = oneshot::channel();
            let task = tokio::spawn(async move {
                let _at_work = at_work;
                let run = sabre_query::run::run(&flags, registry, stop, Some(sender));
                run.await.map_err(|error| anyhow::anyhow!(error))
            });
            let at = listening.await.with_context(silent)?;
            (task, at.http, at.grpc)
        }
        _ => {
            let (sender, listening) = oneshot::channel();
            let task = tokio::spawn(async move {
                let _at_work = at_work;
                sabre_sidecar::run::run(&flags, registry, stop, Some(sender)).await
            });
            let at = listening.await.with_context(silent)?;
            (task, at.http, at.grpc)
        }
    };
    Ok(Component {
        what,
        http,
        grpc,
        task,
    })
}

/// Waits until a component says that it is ready.
pub(crate) async fn wait_until_ready(component: &Component) -> Result<()> {
    for _ in 0..600 {
        if matches!(http::get(component.http, "/-/ready").await, Ok((200, _))) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the {} did not become ready, its log says why", component.what)
}

/// Waits until all have ended; one that ends before `stop` is an error.
pub(crate) async fn wait_for_the_end(components: Vec<Component>, stop: &CancellationToken) -> Result<()> {
    let mut running: futures::stream::FuturesUnordered<_> = components
        .into_iter()
        .map(|component| async move { (component.what, component.task.await) })
        .collect();
    while let Some((what, result)) = futures::StreamExt::next(&mut running).await {
        result
            .with_context(|| what.clone())?
            .with_context(|| what.clone())?;
        if !stop.is_cancelled() {
            bail!("{what} stopped by itself");
        }
    }
    Ok(())
}
