//! The store gateway as a process: from flags to running tasks.

use std::{net::SocketAddr, time::Duration};

use sabre_block::fetcher::SyncError;
use sabre_objstore::config::{from_yaml, with_metrics};
use sabre_proto::FILE_DESCRIPTOR_SET;
use sabre_runtime::{
    clock,
    flags::{Flags, groups},
    grpc_server::{GrpcOptions, GrpcServer},
    http_server::{HttpOptions, HttpServer, RequestLog},
    metrics::Registry,
    probe::Probe,
    shutdown::Tasks,
};
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{config::StoreConfig, gateway::StoreGateway};

/// The first sync is tried again for so long before the store gives up.
const FIRST_SYNC_PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two tries of the first sync.
const FIRST_SYNC_PAUSE: Duration = Duration::from_secs(10);

/// A block that vanished brings the next sync forward, but syncs are never closer than this.
const LEAST_PAUSE: Duration = Duration::from_secs(30);

/// The error of a component, whatever it is.
pub type RunError = Box<dyn std::error::Error + Send + Sync>;

/// Where a store listens.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// Metrics and probes.
    pub http: SocketAddr,
    /// StoreAPI and Info.
    pub grpc: SocketAddr,
}

/// Runs a store gateway until `stop`, or until it cannot go on. All flags are checked before a port is bound.
///
/// # Errors
/// A flag, a port, or a bucket that cannot be listed.
pub async fn run(
    flags: &Flags,
    registry: Registry,
    stop: CancellationToken,
    listening: Option<oneshot::Sender<Listening>>,
) -> Result<(), RunError> {
    let config = StoreConfig::from_flags(flags)?;
    let (http_options, grpc_options) = (HttpOptions::from_flags(flags)?, GrpcOptions::from_flags(flags)?);
    let request_log = RequestLog::from_flags(flags)?;
    let budget = groups::budget(flags)?;
    budget.register_metrics(&registry);
    let objstore = flags.content("objstore.config")?.unwrap_or_default();
    let bucket = with_metrics(from_yaml(&objstore, "store")?, &registry);

    let probe = Probe::new(&registry);
    let sync_interval = config.sync_interval.max(Duration::from_secs(1));
    let gateway = StoreGateway::new(bucket, config, budget, &registry);
    let http = HttpServer::new(http_options, &registry, &probe).bind().await?;
    let grpc = GrpcServer::new(grpc_options)
        .with_log(request_log)
        .descriptors(FILE_DESCRIPTOR_SET)
        .service(gateway.store_service())
        .service(gateway.info_service())
        .bind(&registry, &probe)
        .await?;
    if let Some(listening) = listening {
        // A caller that has gone does not want to know.
        let _ = listening.send(Listening {
            http: http.local_addr(),
            grpc: grpc.local_addr(),
        });
    }

    let mut tasks = Tasks::new(stop);
    tasks.serve("http", |stop| http.serve(stop));
    tasks.serve("grpc", |stop| grpc.serve(stop));
    let stop = tasks.stop().clone();
    tasks.spawn("sync", async move {
        Ok(keep_in_step(&gateway, &probe, sync_interval, stop).await?)
    });
    Ok(tasks.run().await?)
}

/// Syncs until `stop`; ready after the first sync.
async fn keep_in_step(
    gateway: &StoreGateway,
    probe: &Probe,
    interval: Duration,
    stop: CancellationToken,
) -> Result<(), SyncError> {
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        first = first_sync(gateway) => first?,
    }
    probe.set_ready();
    let mut last = Instant::now();
    loop {
        let due = async {
            tokio::select! {
                () = tokio::time::sleep_until(last + interval) => {}
                () = gateway.resync_due() => tokio::time::sleep_until(last + LEAST_PAUSE.min(interval)).await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = due => {}
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            outcome = gateway.sync(clock::now_ms()) => match outcome {
                Ok(outcome) => tracing::info!(?outcome, "blocks are in step with the bucket"),
                Err(error) => tracing::error!(%error, "sync failed, the blocks known so far are served"),
            },
        }
        last = Instant::now();
    }
}

/// Tries the first sync until it succeeds, or for half a minute.
async fn first_sync(gateway: &StoreGateway) -> Result<(), SyncError> {
    let deadline = Instant::now() + FIRST_SYNC_PATIENCE;
    loop {
        match gateway.sync(clock::now_ms()).await {
            Ok(outcome) => {
                tracing::info!(?outcome, "first look at the bucket is done");
                return Ok(());
            }
            Err(error) if Instant::now() + FIRST_SYNC_PAUSE < deadline => {
                tracing::warn!(%error, "first sync failed, trying again");
                tokio::time::sleep(FIRST_SYNC_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}
