//! A sidecar that is killed within an answer: what came of it counts, the rest is that of the others, and a warning says so.
//!
//! Between querier and sidecar stands a proxy that lets through so much of the answer and then no more, until the sidecar is
//! dead. The answer is longer than that and the querier's window together: the sidecar cannot have sent all of it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sabre_proto::{
    prometheus_copy::{Sample, TimeSeries},
    thanos::Label,
};
use sabre_tests::{process::Process, prometheus::Prometheus};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use super::get;

/// Series of each replica, and the length of a label of each.
const SERIES: usize = 8_000;
const LABEL_BYTES: usize = 600;

/// What is let through: a frame of HTTP/2 is a mebibyte at most.
const LET_THROUGH_BYTES: usize = (1 << 20) + (256 << 10);

/// For what takes a moment unless all is lost.
const PATIENCE: Duration = Duration::from_secs(100);

/// A proxy that lets all through until it is closed.
#[derive(Debug)]
pub(super) struct Throttle {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_closed: AtomicBool,
    through_bytes: AtomicUsize,
    /// Told when nothing more is let through.
    stuck: Notify,
    /// Ends all connections.
    cut: CancellationToken,
}

impl Throttle {
    /// One before a server.
    pub(super) async fn before(server: &str) -> Result<Throttle> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (shared, server) = (Arc::<Shared>::default(), server.to_string());
        let all = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (shared, server) = (Arc::clone(&all), server.clone());
                tokio::spawn(async move {
                    let cut = shared.cut.clone();
                    tokio::select! {
                        () = cut.cancelled() => {}
                        _ended = shared.pass(client, &server) => {}
                    }
                });
            }
        });
        Ok(Throttle { address, shared })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Shared {
    async fn pass(&self, client: TcpStream, server: &str) -> io::Result<()> {
        let server = TcpStream::connect(server).await?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let answers = async {
            let mut piece = vec![0; 16 << 10];
            loop {
                let len = from_server.read(&mut piece).await?;
                if len == 0 {
                    return Ok(());
                }
                to_client.write_all(&piece[..len]).await?;
                if self.is_closed.load(Ordering::SeqCst)
                    && self.through_bytes.fetch_add(len, Ordering::SeqCst) + len >= LET_THROUGH_BYTES
                {
                    self.stuck.notify_one();
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            ended = answers => ended,
            ended = tokio::io::copy(&mut from_client, &mut to_server) => ended.map(drop),
        }
    }
}

/// Writes the series.
pub(super) async fn fill(prometheus: &Prometheus, at_ms: i64) -> Result<()> {
    let series = |number: usize| {
        let label = |name: &str, value: String| Label {
            name: name.to_string(),
            value,
        };
        TimeSeries {
            labels: vec![
                label("__name__", "wide_info".to_string()),
                label("note", "x".repeat(LABEL_BYTES)),
                label("number", format!("{number:05}")),
            ],
            samples: vec![Sample {
                value: 1.0,
                timestamp: at_ms,
            }],
            ..TimeSeries::default()
        }
    };
    let all: Vec<usize> = (0..SERIES).collect();
    for numbers in all.chunks(1_000) {
        prometheus
            .write(numbers.iter().copied().map(series).collect())
            .await?;
    }
    Ok(())
}

/// How many series each replica has in an answer of `querier`, and its warnings.
async fn counted(querier: &str, at_ms: i64) -> Result<([usize; 2], Vec<String>)> {
    let parameters = [
        ("query", "count by (replica) (wide_info)".to_string()),
        ("time", (at_ms / 1000 + 1).to_string()),
        ("dedup", "false".to_string()),
    ];
    let answer = get(querier, "query", &parameters).await?;
    let mut counts = [0; 2];
    for series in answer["data"]["result"].as_array().context("a result")? {
        let place = usize::from(series["metric"]["replica"] == "b");
        counts[place] = series["value"][1].as_str().context("a value")?.parse()?;
    }
    let warnings = answer["warnings"].as_array().cloned().unwrap_or_default();
    let text = |warning: &serde_json::Value| warning.as_str().map(str::to_string);
    Ok((counts, warnings.iter().filter_map(text).collect()))
}

/// Kills the sidecar behind the proxy while its answer is read.
pub(super) async fn within_an_answer(
    querier: &str,
    throttle: &Throttle,
    sidecar: Process,
    at_ms: i64,
) -> Result<()> {
    let whole = counted(querier, at_ms).await?;
    ensure!(whole == ([SERIES, SERIES], Vec::new()), "both answer: {whole:?}");
    throttle.shared.is_closed.store(true, Ordering::SeqCst);
    let kill = async {
        tokio::time::timeout(PATIENCE, throttle.shared.stuck.notified())
            .await
            .context("the answer does not come as far as it is let through")?;
        sidecar.kill();
        throttle.shared.cut.cancel();
        anyhow::Ok(())
    };
    let (answer, killed) = tokio::join!(counted(querier, at_ms), kill);
    killed?;
    let ([of_a, of_b], warnings) = answer?;
    ensure!(of_a == SERIES, "{of_a} series of the replica that lives");
    ensure!(
        of_b > 0 && of_b < SERIES,
        "{of_b} series of the one that was killed: it was not within its answer"
    );
    let [warning] = warnings.as_slice() else {
        anyhow::bail!("{} warnings, not one: {warnings:?}", warnings.len());
    };
    ensure!(
        warning.contains(throttle.address()),
        "the warning does not name the sidecar: {warning}"
    );
    println!(
        "a sidecar was killed within its answer: {of_a} series of the other, {of_b} of its own, and {warning:?}"
    );
    Ok(())
}
