//! The compactor as a process: from flags to running tasks.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sabre_block::data_dir;
use sabre_objstore::config::{from_yaml, with_metrics};
use sabre_runtime::clock;
use sabre_runtime::component::RunError;
use sabre_runtime::flags::{Flags, groups};
use sabre_runtime::http_server::{HttpOptions, HttpServer};
use sabre_runtime::metrics::Registry;
use sabre_runtime::probe::Probe;
use sabre_runtime::shutdown::Tasks;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::compactor::Compactor;
use crate::config::{CompactSettings, enough_memory};
use crate::error::PassError;
use crate::pages;
use crate::plan;

/// How long uploads that are given up at the end may take to be aborted.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

/// Runs a compactor until `stop`, or, without `--wait`, until everything is done once. All flags are checked before a
/// port is bound.
///
/// # Errors
/// A flag, a port; without `--wait` also whatever could not be done.
pub async fn run(
    flags: &Flags,
    registry: Registry,
    stop: CancellationToken,
    listening: Option<oneshot::Sender<SocketAddr>>,
) -> Result<(), RunError> {
    let settings = CompactSettings::from_flags(flags)?;
    let http = HttpOptions::from_flags(flags)?;
    let budget = groups::budget(flags)?;
    budget.register_metrics(&registry);
    enough_memory(&budget)?;
    let objstore = flags.content("objstore.config")?.unwrap_or_default();
    let bucket = with_metrics(from_yaml(&objstore, "compact")?, &registry);
    data_dir::prepare(&settings.config.data_dir)?;
    let now: Clock = Arc::new(clock::now_ms);
    let compactor = Arc::new(Compactor::new(
        bucket,
        settings.config.clone(),
        budget,
        &registry,
        now,
    ));
    if settings.is_dry_run {
        // It may be asked for beside a compactor that works: it keeps nothing there but copies of metas.
        return print_plan(&compactor).await;
    }
    // To the end: a second process would remove what this one is writing.
    let _lock = data_dir::lock(&settings.config.data_dir)?;
    compactor.prepare().await?;

    let probe = Probe::new(&registry);
    let mut server = HttpServer::new(http, &registry, &probe);
    if settings.has_pages {
        server = server.routes(pages::routes(Arc::clone(&compactor), &settings.route_prefix));
    }
    let http = server.bind().await?;
    if let Some(listening) = listening {
        // A caller that has gone does not want to know.
        let _ = listening.send(http.local_addr());
    }
    probe.set_ready();
    let mut tasks = Tasks::new(stop);
    tasks.serve("http", |stop| http.serve(stop));
    let stop = tasks.stop().clone();
    spawn_helpers(&mut tasks, &compactor, &settings);
    tasks.spawn_main("compact", async move {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            outcome = work(&compactor, &settings, &stop) => outcome,
        }
    });
    let outcome = tasks.run().await;
    // A block whose writing was given up just now is still to be aborted.
    sabre_objstore::aborts_done(ABORT_PATIENCE).await;
    Ok(outcome?)
}

async fn print_plan(compactor: &Compactor) -> Result<(), RunError> {
    let actions = compactor.plan().await?;
    let table = plan::render(&actions, &compactor.young(), clock::now_ms());
    writeln!(std::io::stdout(), "{table}")?;
    Ok(())
}

/// Progress always; with `--wait` also cleaning and counting, each on its own, so that none waits for compaction.
fn spawn_helpers(tasks: &mut Tasks, compactor: &Arc<Compactor>, settings: &CompactSettings) {
    let (stop, teller) = (tasks.stop().clone(), Arc::clone(compactor));
    tasks.spawn("progress", async move {
        teller.tell_progress(stop).await;
        Ok(())
    });
    if !settings.config.waits {
        return;
    }
    if let Some(every) = settings.cleanup_interval {
        let (stop, cleaner) = (tasks.stop().clone(), Arc::clone(compactor));
        tasks.spawn("cleaning", async move {
            repeat(every, &stop, "cleaning", || cleaner.tidy()).await;
            Ok(())
        });
    }
    if let Some(every) = settings.progress_interval {
        let (stop, counter) = (tasks.stop().clone(), Arc::clone(compactor));
        tasks.spawn("todo", async move {
            repeat(every, &stop, "counting what is left to do", || {
                counter.refresh_todo()
            })
            .await;
            Ok(())
        });
    }
}

/// Does something now and then until `stop`; failures are logged.
async fn repeat<F>(every: Duration, stop: &CancellationToken, what: &str, mut work: impl FnMut() -> F)
where
    F: Future<Output = Result<(), PassError>>,
{
    loop {
        let round = async {
            if let Err(error) = work().await {
                tracing::error!(%error, "{what} failed, it is tried again");
            }
            tokio::time::sleep(every).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = round => {}
        }
    }
}

async fn work(
    compactor: &Compactor,
    settings: &CompactSettings,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    loop {
        let outcome = compactor.iterate().await;
        if !settings.config.waits {
            outcome?;
            let young = compactor.young();
            if young.is_empty() {
                tracing::info!("everything is done");
            } else {
                tracing::info!("everything is done; {young}");
            }
            return Ok(());
        }
        match outcome {
            Ok(()) => tracing::info!("iteration is done"),
            Err(error @ PassError::Halt(_)) => {
                tracing::error!(%error, "halted; the process stays up for its metrics to be seen");
                stop.cancelled().await;
                return Ok(());
            }
            Err(error) => {
                tracing::error!(%error, again_in = ?settings.wait_interval, "iteration failed, it is tried again");
            }
        }
        tokio::time::sleep(settings.wait_interval).await;
    }
}
