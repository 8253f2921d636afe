//! The querier as a process: from flags to running tasks.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
};
use sabre_proto::FILE_DESCRIPTOR_SET;
use sabre_runtime::{
    component::{Listening, RunError},
    flags::{Flags, groups},
    grpc_server::{GrpcOptions, GrpcServer},
    http_server::{HttpOptions, HttpServer, RequestLog},
    metrics::Registry,
    probe::Probe,
    shutdown::Tasks,
};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    config::QueryConfig,
    discovery::{DiscoveryMetrics, Sources},
    endpoints::{Pool, Refresher},
    evaluate::Engine,
    fanout::Fanout,
    grpc::Services,
    http::{HttpApi, PeerLimits, Queries},
    metrics::Measured,
};

/// Queries are answered once endpoints were asked who they are, or after this.
const FIRST_ROUND: Duration = Duration::from_secs(30);

/// Runs a querier until `stop`, or until it cannot go on. All flags are checked before a port is bound.
///
/// # Errors
/// A flag, or a port.
pub async fn run(
    flags: &Flags,
    registry: Registry,
    stop: CancellationToken,
    listening: Option<oneshot::Sender<Listening>>,
) -> Result<(), RunError> {
    let budget = groups::budget(flags)?;
    let config = QueryConfig::from_flags(flags, &budget)?;
    let (http_options, grpc_options) = (HttpOptions::from_flags(flags)?, GrpcOptions::from_flags(flags)?);
    let request_log = RequestLog::from_flags(flags)?;
    let sources = Sources::new(config.sources, DiscoveryMetrics::register(&registry))?;
    budget.register_metrics(&registry);

    let pool = Pool::new();
    let mut refresher = Refresher::new(pool.clone(), sources, config.refresh, &registry);
    let fanout = Fanout::new(pool.clone(), config.fanout, &registry);
    let max_concurrent = config.engine.max_concurrent;
    let engine = Arc::new(Engine::new(Arc::new(fanout.clone()), config.engine).with_metrics(&registry));
    let queries: Arc<dyn Queries> = Arc::new(Measured::new(engine, max_concurrent, &registry));
    let peer_limits = PeerLimits::of(&config.api, &registry);
    let api = HttpApi::new(Arc::clone(&queries), pool.clone(), config.api, &registry);
    let services = Services::new(fanout, queries, pool, budget, config.services, peer_limits);

    let probe = Probe::new(&registry);
    let http_metrics = api.metrics(&registry).with_log(request_log.clone());
    let (met, first_round) = watch::channel(false);
    let http = HttpServer::new(http_options, &registry, &probe)
        .routes(after_first_round(api.routes(&http_metrics), first_round.clone()))
        .bind()
        .await?;
    let grpc = GrpcServer::new(grpc_options)
        .with_log(request_log)
        .descriptors(FILE_DESCRIPTOR_SET)
        .service(services.store_service())
        .service(services.info_service())
        .service(services.query_service())
        .service(services.rules_service())
        .service(services.targets_service())
        .service(services.metadata_service())
        .service(services.exemplars_service())
        .service(services.status_service())
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
    probe.set_ready();
    tasks.serve("grpc", |stop| async move {
        // Other queriers would take what is not known yet for what is not there.
        tokio::select! {
            () = stop.cancelled() => {}
            () = is_over(first_round) => {}
        }
        grpc.serve(stop).await;
    });
    tasks.serve("endpoints", |stop| async move {
        tokio::select! {
            () = stop.cancelled() => return,
            () = refresher.refresh() => {}
        }
        met.send_replace(true);
        refresher.run(stop).await;
    });
    Ok(tasks.run().await?)
}

/// Waits until all endpoints were asked who they are, or for as long as anybody waits for that.
async fn is_over(mut first_round: watch::Receiver<bool>) {
    // Every request comes here: of those after the first round none needs a timer.
    if *first_round.borrow() {
        return;
    }
    // One that ends without a word has nothing to wait for.
    let _ = tokio::time::timeout(FIRST_ROUND, first_round.wait_for(|is_over| *is_over)).await;
}

/// The routes, which answer nothing before the first round: a client that comes that early would take what is not known
/// yet for what is not there. Probes are no part of them.
fn after_first_round(routes: Router, first_round: watch::Receiver<bool>) -> Router {
    routes.layer(middleware::from_fn(move |request: Request, next: Next| {
        let first_round = first_round.clone();
        async move {
            is_over(first_round).await;
            next.run(request).await
        }
    }))
}

#[cfg(test)]
mod tests;
