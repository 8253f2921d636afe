//! The store gateway as a process: from flags to running tasks.

use std::{sync::Arc, time::Duration};

use sabre_block::{data_dir, fetcher::SyncError};
use sabre_cache::CachingBucket;
use sabre_objstore::{
    SharedBucket,
    config::{from_yaml, with_metrics},
    hedged,
};
use sabre_proto::FILE_DESCRIPTOR_SET;
use sabre_runtime::{
    budget::Budget,
    clock,
    component::{Listening, RunError},
    flags::{Flags, groups},
    grpc_server::{GrpcOptions, GrpcServer},
    http_server::{HttpMetrics, HttpOptions, HttpServer, RequestLog},
    metrics::Registry,
    probe::Probe,
    shutdown::Tasks,
};
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    blocks_api::BlocksApiOptions,
    config::StoreConfig,
    config_flags::{enough_memory, index_cache},
    gateway::StoreGateway,
    sync::SyncOutcome,
};

/// The first sync is tried again for so long before the store gives up.
const FIRST_SYNC_PATIENCE: Duration = Duration::from_secs(30);

/// The pause before the second try of the first sync; the ones after it are longer.
const FIRST_SYNC_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause between two tries of the first sync.
const LONGEST_FIRST_SYNC_PAUSE: Duration = Duration::from_secs(80);

/// A block that vanished brings the next sync forward, but syncs are never closer than this.
const LEAST_PAUSE: Duration = Duration::from_secs(30);

/// How often in the time after which they are closed index-headers are looked at.
const IDLE_CHECKS: u32 = 10;

/// Why a store is not ready that has looked at the bucket.
const HELPLESS: &str = "no block can be served, for want of memory or because nothing can be kept in --data-dir: see \
                        the errors in the log, and raise --sabre.memory-budget or mend the directory; it is tried again";

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
    let blocks_api = BlocksApiOptions::from_flags(flags)?;
    let budget = groups::budget(flags)?;
    budget.register_metrics(&registry);
    enough_memory(&budget)?;
    let objstore = flags.content("objstore.config")?.unwrap_or_default();
    let quantile = flags.float("sabre.hedge-quantile")?;
    let bucket = hedged(from_yaml(&objstore, "store")?, quantile, &registry);
    let origin = with_metrics(bucket, &registry);
    let index_cache = index_cache(flags)?;
    let bucket_cache = flags.content("store.caching-bucket.config")?;

    data_dir::prepare(&config.data_dir)?;
    let index_cache = index_cache.start(&budget, &registry).await?;
    let bucket = with_cache(bucket_cache, &origin, &budget, &registry).await?;
    let probe = Probe::new(&registry);
    let sync_interval = config.sync_interval.max(Duration::from_secs(1));
    let idle = config.headers.idle;
    let gateway = StoreGateway::with_caches(bucket, origin, index_cache, config, budget, &registry);
    let mut http = HttpServer::new(http_options, &registry, &probe);
    if let Some(options) = blocks_api {
        let metrics = HttpMetrics::new(&registry).with_log(request_log.clone());
        http = http.routes(gateway.http_routes(options, &metrics));
    }
    let http = http.bind().await?;
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
    if let Some(idle) = idle {
        let (gateway, stop) = (gateway.clone(), tasks.stop().clone());
        tasks.spawn("idle index-headers", async move {
            close_unused(&gateway, idle, stop).await;
            Ok(())
        });
    }
    let stop = tasks.stop().clone();
    tasks.spawn("sync", async move {
        Ok(keep_in_step(&gateway, &probe, sync_interval, stop).await?)
    });
    Ok(tasks.run().await?)
}

/// Puts a cache around the bucket, if the flags ask for one.
async fn with_cache(
    document: Option<String>,
    origin: &SharedBucket,
    budget: &Budget,
    registry: &Registry,
) -> Result<SharedBucket, RunError> {
    let Some(document) = document else {
        return Ok(Arc::clone(origin));
    };
    const WHAT: &str = "--store.caching-bucket.config";
    let cached = CachingBucket::from_yaml(WHAT, &document, Arc::clone(origin), budget, registry).await?;
    Ok(Arc::new(cached))
}

/// Closes index-headers that were not used for `idle`, until `stop`.
async fn close_unused(gateway: &StoreGateway, idle: Duration, stop: CancellationToken) {
    let pause = (idle / IDLE_CHECKS).max(Duration::from_millis(100));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let closed = gateway.close_unused(std::time::Instant::now());
        if closed > 0 {
            tracing::debug!(closed, "index-headers that were not used were closed");
        }
    }
}

/// Syncs until `stop`; ready after the first sync that has anything to show for it.
async fn keep_in_step(
    gateway: &StoreGateway,
    probe: &Probe,
    interval: Duration,
    stop: CancellationToken,
) -> Result<(), SyncError> {
    let mut outcome = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        first = first_sync(gateway) => first?,
    };
    let (mut last, mut early) = (Instant::now(), LEAST_PAUSE);
    loop {
        tell(probe, &outcome);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = gateway.warm(clock::now_ms()) => {}
        }
        // What failed for now is not left out for a whole interval, unless it fails again and again.
        let pause = if outcome.retryable > 0 {
            early.min(interval)
        } else {
            interval
        };
        early = if outcome.retryable > 0 {
            (early * 2).min(interval)
        } else {
            LEAST_PAUSE
        };
        let due = async {
            tokio::select! {
                () = tokio::time::sleep_until(last + pause) => {}
                () = gateway.resync_due() => tokio::time::sleep_until(last + LEAST_PAUSE.min(interval)).await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = due => {}
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            synced = gateway.sync(clock::now_ms()) => match synced {
                Ok(synced) => {
                    synced.log("blocks are in step with the bucket");
                    outcome = synced;
                }
                Err(error) => tracing::error!(%error, "sync failed, the blocks known so far are served"),
            },
        }
        last = Instant::now();
    }
}

/// Becomes ready unless blocks are there and none can be served for a reason that lies here: traffic is better off with
/// another store. What was ready stays so.
fn tell(probe: &Probe, outcome: &SyncOutcome) {
    if probe.is_ready() {
        return;
    }
    if !outcome.is_helpless() {
        probe.set_ready();
        return;
    }
    tracing::error!(failed = outcome.failed, "{HELPLESS}");
    probe.set_not_ready(HELPLESS);
}

/// Tries the first sync until it succeeds. What will not pass by itself is given half a minute; a bucket that is
/// throttled or away is waited for, because a store that gives up and starts anew only adds to what throttles it.
async fn first_sync(gateway: &StoreGateway) -> Result<SyncOutcome, SyncError> {
    let deadline = Instant::now() + FIRST_SYNC_PATIENCE;
    let mut pause = FIRST_SYNC_PAUSE;
    loop {
        match gateway.sync(clock::now_ms()).await {
            Ok(outcome) => {
                outcome.log("first look at the bucket is done");
                return Ok(outcome);
            }
            Err(error) if error.0.is_retryable() => {
                tracing::warn!(%error, pause_s = pause.as_secs(), "first sync failed, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_FIRST_SYNC_PAUSE);
            }
            Err(error) if Instant::now() + FIRST_SYNC_PAUSE < deadline => {
                tracing::warn!(%error, "first sync failed, trying again");
                tokio::time::sleep(FIRST_SYNC_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use sabre_objstore::{ErrorKind, MemoryBucket, Operation};
    use sabre_testkit::fault::{Fault, FaultBucket, Rule};

    use super::*;

    fn started(kind: ErrorKind) -> (FaultBucket, Probe, tempfile::TempDir, StoreGateway) {
        let bucket = FaultBucket::new(Arc::new(MemoryBucket::new("test")));
        bucket.add(Rule::next(Operation::Iter, Fault::Error(kind)).times(usize::MAX));
        let (registry, data_dir) = (Registry::new(), tempfile::tempdir().unwrap());
        let gateway = StoreGateway::new(
            Arc::new(bucket.clone()),
            StoreConfig::new(data_dir.path()),
            Budget::unlimited(),
            &registry,
        );
        (bucket, Probe::new(&registry), data_dir, gateway)
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_is_away_for_hours_is_waited_for_and_asked_ever_more_seldom() {
        let (bucket, probe, _data_dir, gateway) = started(ErrorKind::Unavailable);
        let stop = CancellationToken::new();
        let (its_probe, its_stop) = (probe.clone(), stop.clone());
        let interval = Duration::from_secs(180);
        let task = tokio::spawn(async move { keep_in_step(&gateway, &its_probe, interval, its_stop).await });
        tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
        assert!(!task.is_finished() && !probe.is_ready());
        let asked = bucket.count(Operation::Iter);
        assert!((100..150).contains(&asked), "{asked} listings in three hours");
        bucket.heal();
        tokio::time::sleep(LONGEST_FIRST_SYNC_PAUSE).await;
        while !probe.is_ready() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    /// Runs a store with these flags and returns why it ended, and whether it had bound its ports by then.
    async fn refusal(more: &[&str]) -> (String, bool) {
        use sabre_runtime::flags::parse_groups;

        let mut groups = crate::flags::command().groups;
        groups.extend(groups::global());
        let common = [
            "--objstore.config={type: FILESYSTEM, config: {directory: /}}",
            "--http-address=127.0.0.1:0",
            "--grpc-address=127.0.0.1:0",
        ];
        let flags = parse_groups(&groups, &[&common, more].concat());
        let flags = flags.map_err(|error| error.text).unwrap();
        let (sender, mut listening) = oneshot::channel();
        // What is not refused is to end as well.
        let stop = CancellationToken::new();
        stop.cancel();
        let ended = run(&flags, Registry::new(), stop, Some(sender)).await;
        (ended.unwrap_err().to_string(), listening.try_recv().is_ok())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_data_dir_that_is_a_file_ends_the_start_before_a_port_is_bound() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let (error, is_bound) = refusal(&[&format!("--data-dir={}", file.display())]).await;
        let begins = format!("--data-dir: {} cannot be used", file.display());
        assert!(
            error.starts_with(&begins) && error.contains("name a directory"),
            "{error}"
        );
        assert!(!is_bound);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_budget_that_is_too_small_ends_the_start_before_a_port_is_bound() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = format!("--data-dir={}", dir.path().display());
        let (error, is_bound) = refusal(&[&data_dir, "--sabre.memory-budget=1KB"]).await;
        assert!(error.starts_with("--sabre.memory-budget: 1024 bytes"), "{error}");
        assert!(!is_bound);
    }

    /// A store of two blocks with this data directory.
    async fn store_of_two(data_dir: &std::path::Path) -> (Arc<MemoryBucket>, Probe, StoreGateway) {
        let bucket = Arc::new(MemoryBucket::new("test"));
        for number in [1, 2] {
            let block = sabre_testkit::blocks::BlockBuilder::new(number)
                .ext_labels(&[("cluster", "eu")])
                .floats(&[("__name__", "up")], [(0, 1.0), (15_000, 2.0)])
                .build()
                .unwrap();
            block.put_into(&*bucket).await.unwrap();
        }
        let registry = Registry::new();
        let shared: SharedBucket = Arc::<MemoryBucket>::clone(&bucket);
        let gateway = StoreGateway::new(shared, StoreConfig::new(data_dir), Budget::unlimited(), &registry);
        (bucket, Probe::new(&registry), gateway)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_can_keep_no_index_header_is_ready_once_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        std::fs::write(&data_dir, "a file is in the way").unwrap();
        let (_bucket, probe, gateway) = store_of_two(&data_dir).await;
        let outcome = gateway.sync(0).await.unwrap();
        assert_eq!((outcome.served, outcome.failed, outcome.local), (0, 2, 2));
        assert!(
            outcome.retryable > 0,
            "the next sync does not wait for a whole interval"
        );
        tell(&probe, &outcome);
        assert!(!probe.is_ready());
        assert!(probe.state().ready.unwrap_err().contains("--data-dir"));
        std::fs::remove_file(&data_dir).unwrap();
        let outcome = gateway.sync(3_600_000).await.unwrap();
        assert_eq!((outcome.served, outcome.failed, outcome.local), (2, 0, 0));
        tell(&probe, &outcome);
        assert!(probe.is_ready());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn broken_blocks_alone_do_not_keep_a_store_from_being_ready() {
        use sabre_objstore::{Bucket, BucketExt};

        let dir = tempfile::tempdir().unwrap();
        let (bucket, probe, gateway) = store_of_two(dir.path()).await;
        for entry in bucket.list_all("", true, 100).await.unwrap() {
            if entry.key().ends_with("/index") {
                bucket.put(entry.key(), "no index".into()).await.unwrap();
            }
        }
        let outcome = gateway.sync(0).await.unwrap();
        assert_eq!((outcome.served, outcome.failed, outcome.local), (0, 2, 0));
        tell(&probe, &outcome);
        assert!(probe.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_block_is_served_when_the_interval_of_the_flag_has_passed_and_not_before() {
        use sabre_runtime::flags::parse_groups;
        use sabre_testkit::{blocks::BlockBuilder, time};

        // Blocks are opened by other threads.
        let _still = time::stand_still();
        let dir = tempfile::tempdir().unwrap();
        let (bucket, probe, gateway) = store_of_two(dir.path()).await;
        let flags = ["--objstore.config=type: FILESYSTEM", "--sync-block-duration=7m"];
        let flags = parse_groups(&crate::flags::command().groups, &flags).map_err(|error| error.text);
        let interval = StoreConfig::from_flags(&flags.unwrap()).unwrap().sync_interval;
        let stop = CancellationToken::new();
        let (its_gateway, its_probe, its_stop) = (gateway.clone(), probe.clone(), stop.clone());
        let task =
            tokio::spawn(async move { keep_in_step(&its_gateway, &its_probe, interval, its_stop).await });
        time::until(|| probe.is_ready()).await;
        let labels = [("cluster", "us")];
        let block = BlockBuilder::new(3)
            .ext_labels(&labels)
            .floats(&[("__name__", "up")], [(0, 1.0)])
            .build()
            .unwrap();
        block.put_into(&*bucket).await.unwrap();
        tokio::time::advance(Duration::from_millis(7 * 60_000 - 1)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gateway.advertised().label_sets.len(), 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        time::until(|| gateway.advertised().label_sets.len() == 2).await;
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_pass_by_itself_ends_the_start_after_half_a_minute() {
        let (bucket, probe, _data_dir, gateway) = started(ErrorKind::AccessDenied);
        let outcome = keep_in_step(
            &gateway,
            &probe,
            Duration::from_secs(180),
            CancellationToken::new(),
        );
        assert!(outcome.await.is_err() && !probe.is_ready());
        assert_eq!(bucket.count(Operation::Iter), 3);
    }
}
