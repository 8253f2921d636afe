//! The sidecar as a process: from flags to running tasks.

use std::sync::Arc;

use sabre_objstore::{
    SharedBucket,
    config::{from_yaml_for_writer, with_metrics},
};
use sabre_proto::{
    FILE_DESCRIPTOR_SET, StoreService,
    thanos::{
        exemplars_server::ExemplarsServer, info::info_server::InfoServer, metadata_server::MetadataServer,
        rules_server::RulesServer, status_server::StatusServer, targets_server::TargetsServer,
    },
};
use sabre_runtime::{
    component::Listening,
    flags::{Flags, groups},
    grpc_server::{GrpcOptions, GrpcServer, MAX_MESSAGE_BYTES},
    http_server::{HttpOptions, HttpServer, RequestLog},
    metrics::Registry,
    probe::Probe,
    shutdown::Tasks,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    flags::SidecarConfig,
    heartbeat::Heartbeat,
    known::contact,
    metrics::SidecarMetrics,
    prometheus::{ClientMetrics, PrometheusClient, ReadQueue},
    proxy::PrometheusProxy,
    reloader::{Reloader, ReloaderMetrics, Trigger},
    shipper::Shipper,
    shipping,
    store_api::SidecarApi,
};

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
        Some(shipping) => {
            let bucket = from_yaml_for_writer(&shipping.objstore, "sidecar")?;
            Some(with_metrics(bucket, &registry))
        }
        None => None,
    };

    let probe = Probe::new(&registry);
    let metrics = SidecarMetrics::new(&registry);
    let (contact_writer, contact) = contact();
    let client = PrometheusClient::new(config.http, config.prometheus_url, config.heartbeat_timeout)
        .counted_in(ClientMetrics::new(&registry));
    // Callers share the budget; the heartbeat does not wait behind them.
    let reads = ReadQueue::new(
        config.read_concurrency,
        metrics.reads_in_flight.clone(),
        metrics.reads_waiting.clone(),
    );
    let label_calls = ReadQueue::new(
        config.read_concurrency,
        metrics.label_calls_in_flight.clone(),
        metrics.label_calls_waiting.clone(),
    );
    let callers_client = client
        .clone()
        .charged_to(budget.clone())
        .queued_in(reads)
        .labels_queued_in(label_calls);
    let proxy = PrometheusProxy::new(callers_client.clone(), contact.clone());
    let api = SidecarApi::new(
        callers_client,
        contact.clone(),
        config.min_time,
        budget,
        metrics.clone(),
    );
    let api = Arc::new(api.limited(config.limits));

    let http = HttpServer::new(http_options, &registry, &probe).bind().await?;
    let grpc = GrpcServer::new(grpc_options)
        .with_log(request_log)
        .descriptors(FILE_DESCRIPTOR_SET)
        .service(StoreService::new(Arc::clone(&api)))
        .service(InfoServer::from_arc(api))
        .service(RulesServer::new(proxy.clone()).max_encoding_message_size(MAX_MESSAGE_BYTES))
        .service(TargetsServer::new(proxy.clone()).max_encoding_message_size(MAX_MESSAGE_BYTES))
        .service(MetadataServer::new(proxy.clone()).max_encoding_message_size(MAX_MESSAGE_BYTES))
        .service(ExemplarsServer::new(proxy.clone()).max_encoding_message_size(MAX_MESSAGE_BYTES))
        .service(StatusServer::new(proxy).max_encoding_message_size(MAX_MESSAGE_BYTES))
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
    // Before the first contact calls are answered by Unavailable: a port that takes connections and then says nothing would
    // hold every query up until the querier has given this sidecar up.
    tasks.serve("grpc", |stop| grpc.serve(stop));
    let trigger = match config.signal_process {
        Some(process_name) => Trigger::Signal {
            process_name,
            client: client.clone(),
        },
        None => Trigger::Http(client.clone()),
    };
    let reloader = Reloader::new(
        config.reloader,
        trigger,
        ReloaderMetrics::new(&registry),
        |name| std::env::var(name).ok(),
        sabre_runtime::clock::now_ms,
    );
    let stop = tasks.stop().clone();
    tasks.spawn("reloader", async move { Ok(reloader.run(stop).await?) });
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
        let directory_taken = metrics.directory_taken.clone();
        let shipper = Shipper::new(shipping.shipper, bucket, metrics);
        let stop = tasks.stop().clone();
        tasks.spawn("shipper", async move {
            Ok(shipping::run(
                shipper,
                &tsdb_dir,
                directory_taken,
                contact,
                config.ready_timeout,
                stop,
            )
            .await?)
        });
    } else {
        tracing::info!("no --objstore.config, nothing is shipped");
    }
    Ok(tasks.run().await?)
}
