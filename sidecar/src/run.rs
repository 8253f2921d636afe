//! The sidecar as a process: from flags to running tasks.

use std::{net::SocketAddr, sync::Arc};

use sabre_objstore::{
    SharedBucket,
    config::{from_yaml, with_metrics},
};
use sabre_proto::{FILE_DESCRIPTOR_SET, StoreService, thanos::info::info_server::InfoServer};
use sabre_runtime::{
    flags::{Flags, groups},
    grpc_server::{GrpcOptions, GrpcServer},
    http_server::{HttpOptions, HttpServer, RequestLog},
    metrics::Registry,
    probe::Probe,
    shutdown::Tasks,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    flags::SidecarConfig, heartbeat::Heartbeat, known::contact, metrics::SidecarMetrics,
    prometheus::PrometheusClient, shipper::Shipper, shipping, store_api::SidecarApi,
};

/// Where a sidecar listens.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// Metrics and probes.
    pub http: SocketAddr,
    /// StoreAPI and Info.
    pub grpc: SocketAddr,
}

/// Runs a sidecar until `stop`, or until it cannot go on. All flags are checked before a port is bound.
///
/// # Errors
/// A flag, a port, or a Prometheus without external labels.
pub async fn run(
    flags: &Flags,
    registry: Registry,
    stop: CancellationToken,
    listening: Option<oneshot::Sender<Listening>>,
) -> anyhow::Result<()> {
    let config = SidecarConfig::from_flags(flags)?;
    let (http_options, grpc_options) = (HttpOptions::from_flags(flags)?, GrpcOptions::from_flags(flags)?);
    let request_log = RequestLog::from_flags(flags)?;
    let budget = groups::budget(flags)?;
    budget.register_metrics(&registry);
    let bucket: Option<SharedBucket> = match &config.shipping {
        Some(shipping) => Some(with_metrics(from_yaml(&shipping.objstore, "sidecar")?, &registry)),
        None => None,
    };

    let probe = Probe::new(&registry);
    let metrics = SidecarMetrics::new(&registry);
    let (contact_writer, contact) = contact();
    let client = PrometheusClient::new(config.http, config.prometheus_url, config.heartbeat_timeout);
    let api = Arc::new(SidecarApi::new(
        client.clone(),
        contact.clone(),
        config.min_time,
        budget,
        metrics.clone(),
    ));

    let http = HttpServer::new(http_options, &registry, &probe).bind().await?;
    let grpc = GrpcServer::new(grpc_options)
        .with_log(request_log)
        .descriptors(FILE_DESCRIPTOR_SET)
        .service(StoreService::new(Arc::clone(&api)))
        .service(InfoServer::from_arc(api))
        .bind(&registry, &probe)
        .await?;
    if let Some(listening) = listening {
        let _ = listening.send(Listening {
            http: http.local_addr(),
            grpc: grpc.local_addr(),
        });
    }

    let mut tasks = Tasks::new(stop);
    tasks.serve("http", |stop| http.serve(stop));
    // Queriers connect once there is something to ask.
    let mut first_contact = contact.clone();
    tasks.serve("grpc", |stop| async move {
        let known = tokio::select! {
            () = stop.cancelled() => None,
            known = first_contact.first() => known,
        };
        if known.is_some() {
            grpc.serve(stop).await;
        }
    });
    let heartbeat = Heartbeat {
        client,
        interval: config.heartbeat_interval,
        flag_rules: config
            .shipping
            .as_ref()
            .map(|shipping| shipping.flag_rules.clone()),
        contact: contact_writer,
        probe,
        up: metrics.prometheus_up.clone(),
    };
    let stop = tasks.stop().clone();
    tasks.spawn("heartbeat", async move { Ok(heartbeat.run(stop).await?) });
    if let (Some(shipping), Some(bucket)) = (config.shipping, bucket) {
        let tsdb_dir = shipping.shipper.tsdb_dir.clone();
        let shipper = Shipper::new(shipping.shipper, bucket, metrics);
        let stop = tasks.stop().clone();
        tasks.spawn("shipper", async move {
            Ok(shipping::run(shipper, &tsdb_dir, contact, config.ready_timeout, stop).await?)
        });
    } else {
        tracing::info!("no --objstore.config, nothing is shipped");
    }
    Ok(tasks.run().await?)
}
