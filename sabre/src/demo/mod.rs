//! `sabre demo`: the main job with nothing to install.
//!
//! It makes what a pair of Prometheus servers would have on disk, stands in for their HTTP API, and then runs the very
//! same sidecars, compactor, store gateway and querier that a cluster runs, each from a command line that is printed.

mod blocks;
mod chart;
mod compaction;
mod component;
mod crew;
mod http;
mod linked;
mod querier;
mod query;
mod screen;
mod stand_in;
mod tsdb_dir;
mod work_dir;
mod workload;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use sabre_model::Labels;
use sabre_runtime::{
    clock,
    flags::{App, CommandSpec, FlagGroup, FlagSpec, Flags, Kind},
    logging::{LogOptions, Stderr},
    shutdown::Signals,
};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use self::{
    blocks::{DataDir, Recipe},
    component::{Component, start, wait_for_the_end, wait_until_ready},
    crew::{AtWork, Crew},
    screen::Screen,
    stand_in::StandIn,
    tsdb_dir::TsdbDir,
    work_dir::WorkDir,
    workload::Scraper,
};

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// Blocks end up in ranges of two days, on the clock; one that is whole is long enough for data of 5 minutes.
const WHOLE_RANGE_MS: i64 = 2 * DAY_MS;

/// The compactor leaves the newest block of a sidecar alone, and what is not shipped yet is in none.
const NOT_COMPACTED_MS: i64 = 4 * HOUR_MS;

/// So far beyond now the heads go: nothing scrapes while the demo is looked at, and graphs are to go on.
const AHEAD_MS: i64 = HOUR_MS;

/// How often the state of shipping is looked at.
const POLL: Duration = Duration::from_millis(200);

/// A sidecar that ships nothing for so long will not ship the rest: its log says why.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long components may take to end before their directory is removed all the same.
const LAST_PATIENCE: Duration = Duration::from_secs(30);

const FLAGS: &[FlagSpec] = &[
    FlagSpec::new(
        "tsdb.path",
        Kind::Text,
        "",
        "Data directory of a Prometheus to use instead of made-up data; its blocks are linked or copied, and nothing is written into it",
    ),
    FlagSpec::new(
        "days",
        Kind::Int,
        "3",
        "Days of data to make up; from 2 on up to two more, so that there is a block long enough to be downsampled",
    )
    .at_least(1),
];

/// The command, for the table of the binary.
pub(crate) fn command() -> CommandSpec {
    CommandSpec::new(
        "demo",
        "See the main job done on this machine, with nothing to install",
    )
    .group(FlagGroup::new("Demo", FLAGS))
    .example(
        "Make up some days of data, ship them to a folder, and query them",
        "sabre demo",
    )
    .example(
        "The same with the blocks of a Prometheus",
        "sabre demo --tsdb.path=/var/lib/prometheus",
    )
}

/// A Prometheus of the demo and what is beside it.
struct Replica {
    name: &'static str,
    data: DataDir,
    external_labels: Labels,
    /// Its blocks were there before the demo.
    is_existing: bool,
}

/// What all steps work with.
struct Stage<'a> {
    app: &'a App,
    work: &'a WorkDir,
    screen: &'a Screen,
    crew: &'a Crew,
    stop: &'a CancellationToken,
}

/// Runs the demo until Ctrl-C, and removes what it made.
pub(crate) async fn run(flags: &Flags, app: &App) -> Result<()> {
    let screen = Screen::new();
    let mut log = LogOptions::from_flags(flags)?;
    if !flags.is_given("log.level") {
        // The screen tells the story; the log only what goes wrong.
        log.level = LevelFilter::WARN;
    }
    tracing::subscriber::set_global_default(log.subscriber(Stderr))?;
    let signals = Signals::listen()?;
    let work = WorkDir::create(&std::env::temp_dir(), rand::random)?;
    let crew = Crew::new();
    let stage = Stage {
        app,
        work: &work,
        screen: &screen,
        crew: &crew,
        stop: &signals.stop,
    };
    let result = tokio::select! {
        result = show(flags, &stage) => result,
        () = signals.stop.cancelled() => Ok(()),
    };
    signals.stop.cancel();
    screen.line("");
    if !crew.ended(LAST_PATIENCE).await {
        tracing::warn!(after = ?LAST_PATIENCE, "not everything has ended, cleaning up all the same");
    }
    drop(work);
    screen.line("stopped, and removed what was made");
    result
}

async fn show(flags: &Flags, stage: &Stage<'_>) -> Result<()> {
    let Stage { work, screen, .. } = *stage;
    screen.title("Sabre, the main job on this machine");
    screen.line(&format!(
        "everything is in {} until you stop it",
        work.path.display()
    ));
    let bucket_dir = work.path.join("bucket");
    std::fs::create_dir_all(&bucket_dir)?;
    let bucket = format!(
        "type: FILESYSTEM\nconfig: {{directory: {}}}",
        bucket_dir.display()
    );

    let replicas = match flags.text("tsdb.path")? {
        "" => made_up(flags.int("days")?, stage).await?,
        path => vec![existing(path, stage).await?],
    };

    let mut components = Vec::new();
    screen.title("2. Ship: a sidecar beside each Prometheus sends its blocks to the bucket");
    for replica in &replicas {
        let stand_in = StandIn {
            external_labels: replica.external_labels.clone(),
            data: TsdbDir::new(vec![replica.data.tsdb.clone(), replica.data.head.clone()]),
        };
        let prometheus = stand_in::serve(stand_in, stage.stop.clone(), stage.crew.join()).await?;
        let mut arguments = vec![
            format!("--tsdb.path={}", replica.data.tsdb.display()),
            format!("--prometheus.url=http://{prometheus}"),
        ];
        if replica.is_existing {
            // A Prometheus that was alone compacts its blocks.
            arguments.push("--shipper.upload-compacted".to_string());
        }
        arguments.push(format!("--objstore.config={bucket}"));
        components.push(start(stage, "sidecar", format!("sidecar {}", replica.name), &arguments).await?);
    }
    for replica in &replicas {
        wait_until_shipped(replica, &bucket_dir, screen).await?;
    }

    screen.title("3. Compact: replicas are merged, blocks become longer, old data gets a coarser copy");
    let compact_dir = work.path.join("compact").display().to_string();
    compaction::run(stage, &bucket, &compact_dir, replicas.len() > 1).await?;

    screen.title("4. Serve: a store gateway answers gRPC from the bucket");
    let arguments = [
        format!("--data-dir={}", work.path.join("store").display()),
        format!("--objstore.config={bucket}"),
    ];
    let store = start(stage, "store", "store gateway".to_string(), &arguments).await?;
    wait_until_ready(&store).await?;
    components.push(store);
    query::print_blocks(&bucket, screen).await?;

    screen.title("5. Query: over gRPC, as a querier does");
    for component in &components {
        query::ask(&component.what, component.grpc, screen).await?;
    }
    screen.title("6. PromQL: a querier over all of them, on the paths of Prometheus");
    let querier = start_querier(stage, &components).await?;
    let newest_ms = querier::wait_for_endpoints(querier.http, components.len(), screen).await?;
    querier::ask(querier.http, newest_ms, screen).await?;
    what_next(&components, &querier, &bucket_dir, screen);
    components.push(querier);
    wait_for_the_end(components, stage.stop).await
}

/// When data of so many days begins. From two on there is a whole range of blocks among them.
fn begin_ms(days: i64, to_ms: i64) -> i64 {
    let asked_ms = to_ms - days.saturating_mul(DAY_MS);
    if days < 2 {
        return asked_ms;
    }
    let compacted_ms = to_ms - NOT_COMPACTED_MS;
    let whole_ms = compacted_ms - compacted_ms.rem_euclid(WHOLE_RANGE_MS) - WHOLE_RANGE_MS;
    asked_ms.min(whole_ms)
}

/// Two replicas of one Prometheus: the same targets, scraped at other moments, and one of them was down for a while.
async fn made_up(days: i64, stage: &Stage<'_>) -> Result<Vec<Replica>> {
    let Stage { work, screen, .. } = *stage;
    let to_ms = clock::now_ms();
    let from_ms = begin_ms(days, to_ms);
    screen.title(&format!(
        "1. Make: {:.1} days of a small web shop, as two Prometheus servers have them on disk",
        (to_ms - from_ms) as f64 / DAY_MS as f64
    ));
    let down_ms = to_ms - 5 * HOUR_MS;
    let mut replicas = Vec::new();
    for (name, offset_ms, outage_ms) in [
        ("a", 0, (i64::MAX, i64::MAX)),
        ("b", 7_000, (down_ms, down_ms + HOUR_MS)),
    ] {
        let dir = work.path.join(format!("prometheus-{name}"));
        let data = DataDir {
            tsdb: dir.join("data"),
            head: dir.join("head"),
        };
        let recipe = Recipe {
            from_ms,
            to_ms,
            head_to_ms: to_ms + AHEAD_MS,
            scraper: Scraper { offset_ms, outage_ms },
        };
        let (progress, made_data) = (screen.progress(&format!("replica {name}")), data.clone());
        let (stop, at_work) = (stage.stop.clone(), stage.crew.join());
        let made = tokio::task::spawn_blocking(move || {
            let _at_work: AtWork = at_work;
            let made = blocks::make(
                &made_data,
                &recipe,
                workload::series(to_ms - 30 * HOUR_MS),
                |done, of| {
                    progress.set(done, of);
                    !stop.is_cancelled()
                },
            );
            progress.finish();
            made
        });
        let made = made.await.context("making the data failed")??;
        screen.line(&format!(
            "replica {name}: {} blocks of 2 h, the newest data and an hour to come, {} samples",
            made.blocks,
            screen::grouped(made.samples)
        ));
        let external_labels = Labels::from_pairs([("cluster", "demo"), ("replica", name)])?;
        replicas.push(Replica {
            name,
            data,
            external_labels,
            is_existing: false,
        });
    }
    Ok(replicas)
}

/// The blocks of a directory, linked into one of the demo's own: a state file in the user's would make a real sidecar
/// believe that they are safe in a bucket.
async fn existing(path: &str, stage: &Stage<'_>) -> Result<Replica> {
    let from = PathBuf::from(path);
    if !from.is_dir() {
        bail!("--tsdb.path={path}: not a directory");
    }
    let dir = stage.work.path.join("prometheus-a");
    let data = DataDir {
        tsdb: dir.join("data"),
        // There is no head to be had from a directory.
        head: dir.join("head"),
    };
    std::fs::create_dir_all(&data.head)?;
    let (to, stop, at_work) = (data.tsdb.clone(), stage.stop.clone(), stage.crew.join());
    let linking = tokio::task::spawn_blocking(move || {
        let _at_work: AtWork = at_work;
        linked::link_blocks(&from, &to, || !stop.is_cancelled())
    });
    let linked = linking
        .await
        .context("linking the blocks failed")?
        .with_context(|| format!("--tsdb.path={path}: its blocks cannot be linked or copied"))?;
    if linked == 0 {
        bail!("--tsdb.path={path}: there is no block in it");
    }
    Ok(Replica {
        name: "a",
        data,
        external_labels: Labels::from_pairs([("cluster", "demo"), ("replica", "a")])?,
        is_existing: true,
    })
}

/// The state file says what is shipped; the sidecar keeps it up to date block by block. Goes on without blocks that
/// are not shipped for [`PATIENCE`].
async fn wait_until_shipped(replica: &Replica, bucket_dir: &Path, screen: &Screen) -> Result<()> {
    let data = replica.data.tsdb.clone();
    let found = tokio::task::spawn_blocking(move || sabre_sidecar::shipper::scan(&data)).await??;
    // Blocks without samples are not shipped.
    let want = found
        .blocks
        .iter()
        .filter(|block| block.meta.stats.num_samples > 0)
        .count();
    let state = sabre_sidecar::shipper::StateFile::new(&replica.data.tsdb, "thanos.shipper.json");
    let progress = screen.progress(&format!("sidecar {}", replica.name));
    let (mut before, mut unchanged) = (0, Duration::ZERO);
    loop {
        let shipped = match state.read() {
            sabre_sidecar::shipper::ReadState::Known(ids) => ids.len(),
            _ => 0,
        };
        progress.set(shipped, want);
        unchanged = if shipped == before {
            unchanged + POLL
        } else {
            Duration::ZERO
        };
        before = shipped;
        if shipped >= want || unchanged >= PATIENCE {
            progress.finish();
            screen.line(&format!(
                "sidecar {}: {shipped} of {want} blocks are in {}",
                replica.name,
                bucket_dir.display()
            ));
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn start_querier(stage: &Stage<'_>, components: &[Component]) -> Result<Component> {
    let mut arguments: Vec<String> = components
        .iter()
        .map(|component| format!("--endpoint={}", component.grpc))
        .collect();
    arguments.push("--query.replica-label=replica".to_string());
    arguments.push("--query.auto-downsampling".to_string());
    let querier = start(stage, "query", "querier".to_string(), &arguments).await?;
    wait_until_ready(&querier).await?;
    Ok(querier)
}

fn what_next(components: &[Component], querier: &Component, bucket_dir: &Path, screen: &Screen) {
    screen.title("7. Try it: everything stays up");
    for component in components.iter().chain([querier]) {
        screen.line(&format!(
            "{:14} gRPC {}   http://{}/-/ready   http://{}/metrics",
            component.what, component.grpc, component.http, component.http
        ));
    }
    let http = querier.http;
    screen.line(&format!("the bucket     ls {}", bucket_dir.display()));
    screen.line(&format!("graphs         http://{http}/graph"));
    screen.line(&format!("endpoints      http://{http}/stores"));
    screen.line(&format!(
        "for Grafana    http://{http} is the URL of a data source of type Prometheus"
    ));
    screen.line(&format!(
        "or by hand     curl -s 'http://{http}/api/v1/query?query=up'"
    ));
    screen.line("");
    screen.line("press Ctrl-C to stop and clean up");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_days_have_a_range_of_two_days_that_is_whole_at_any_hour() {
        for hours in 0..48 {
            let to_ms = 10_000 * DAY_MS + hours * HOUR_MS;
            let from_ms = begin_ms(3, to_ms);
            let first_ms = from_ms + (-from_ms).rem_euclid(WHOLE_RANGE_MS);
            assert!(first_ms + WHOLE_RANGE_MS + NOT_COMPACTED_MS <= to_ms, "{hours}");
            let days = (to_ms - from_ms) as f64 / DAY_MS as f64;
            assert!((3.0..=5.0).contains(&days), "{hours}: {days}");
            assert_eq!(begin_ms(1, to_ms), to_ms - DAY_MS, "what is too short stays so");
            assert_eq!(begin_ms(9, to_ms), to_ms - 9 * DAY_MS);
        }
    }
}
