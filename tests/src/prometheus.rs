//! A real Prometheus: started, filled through remote write, read through remote read.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use prost::Message;
use sabre_proto::{
    prometheus::{Query, ReadRequest, ReadResponse},
    prometheus_copy::{BucketSpan, Histogram, Sample, TimeSeries, histogram},
    thanos::{Label, LabelMatcher, label_matcher},
};

use crate::{
    process::{Process, answers_ok, free_address},
    samples::{SeriesMap, of_remote_read},
};

/// What remote write takes.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

/// A running Prometheus with external labels `cluster="ci"` and `replica`, "a" if nothing else is said.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    /// Its address.
    pub address: String,
    /// Its data directory.
    pub data: PathBuf,
}

impl Prometheus {
    /// Starts `binary` on `<dir>/prometheus`; an earlier one's data are taken up again.
    ///
    /// # Errors
    /// A Prometheus that does not become ready.
    pub async fn start(
        dir: &Path,
        binary: &str,
        address: Option<&str>,
        retention: &str,
    ) -> Result<Prometheus> {
        Self::start_replica(dir, binary, address, retention, "a").await
    }

    /// The same, as one replica of several that each have a folder of their own.
    ///
    /// # Errors
    /// A Prometheus that does not become ready.
    pub async fn start_replica(
        dir: &Path,
        binary: &str,
        address: Option<&str>,
        retention: &str,
        replica: &str,
    ) -> Result<Prometheus> {
        let data = dir.join("prometheus");
        let config = dir.join("prometheus.yml");
        let labels = format!("global:\n  external_labels: {{cluster: ci, replica: {replica}}}\n");
        std::fs::write(&config, labels)?;
        let address = address.map_or_else(free_address, |address| Ok(address.to_string()))?;
        let arguments = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", data.display()),
            format!("--web.listen-address={address}"),
            "--storage.tsdb.min-block-duration=2h".to_string(),
            "--storage.tsdb.max-block-duration=2h".to_string(),
            format!("--storage.tsdb.retention.time={retention}"),
            "--enable-feature=native-histograms".to_string(),
            "--web.enable-remote-write-receiver".to_string(),
        ];
        let mut process = Process::start(dir, "prometheus", binary, &arguments)?;
        process
            .wait_until("ready", || answers_ok(&address, "/-/ready"))
            .await?;
        Ok(Prometheus {
            process,
            address,
            data,
        })
    }

    /// Stops it cleanly.
    ///
    /// # Errors
    /// One that does not end well.
    pub fn stop(self) -> Result<()> {
        self.process.terminate()
    }

    /// Waits for a number of blocks on disk: it cuts them once a minute.
    ///
    /// # Errors
    /// When they do not come.
    pub async fn wait_for_blocks(&mut self, want: usize) -> Result<()> {
        let data = self.data.clone();
        self.process
            .wait_until(&format!("{want} blocks are cut"), || async {
                blocks(&data).len() >= want
            })
            .await
    }

    /// Waits until all blocks but the newest are deleted: retention counts from that one.
    ///
    /// # Errors
    /// When they stay.
    pub async fn wait_for_one_block(&mut self) -> Result<()> {
        let data = self.data.clone();
        self.process
            .wait_until("one block is left", || async { blocks(&data).len() == 1 })
            .await
    }

    /// Sends samples through remote write.
    ///
    /// # Errors
    /// What it answers.
    pub async fn write(&self, timeseries: Vec<TimeSeries>) -> Result<()> {
        let body = snap::raw::Encoder::new().compress_vec(&WriteRequest { timeseries }.encode_to_vec())?;
        let response = reqwest::Client::new()
            .post(format!("http://{}/api/v1/write", self.address))
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .body(body)
            .send()
            .await?;
        let status = response.status();
        ensure!(
            status.is_success(),
            "remote write: {status} {}",
            response.text().await?
        );
        Ok(())
    }

    /// [`Prometheus::read`], once it cuts no more blocks: until then the answer moves from memory to disk.
    ///
    /// # Errors
    /// What it answers, and no rest within a minute.
    pub async fn settled_read(&self, range: (i64, i64)) -> Result<SeriesMap> {
        let mut before = (0, SeriesMap::new());
        for _ in 0..30 {
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            let now = (blocks(&self.data).len(), self.read(range).await?);
            if now == before {
                return Ok(now.1);
            }
            before = now;
        }
        anyhow::bail!("Prometheus still moves its data")
    }

    /// Its own answer, as samples: everything in `[mint, maxt]`.
    ///
    /// # Errors
    /// What it answers.
    pub async fn read(&self, (mint, maxt): (i64, i64)) -> Result<SeriesMap> {
        let matcher = LabelMatcher {
            r#type: label_matcher::Type::Re as i32,
            name: "__name__".to_string(),
            value: ".+".to_string(),
        };
        let query = Query {
            start_timestamp_ms: mint,
            end_timestamp_ms: maxt,
            matchers: vec![matcher],
            hints: None,
        };
        let request = ReadRequest {
            queries: vec![query],
            accepted_response_types: Vec::new(),
        };
        let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec())?;
        let response = reqwest::Client::new()
            .post(format!("http://{}/api/v1/read", self.address))
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf")
            .body(body)
            .send()
            .await?
            .error_for_status()?;
        let answer =
            ReadResponse::decode(&*snap::raw::Decoder::new().decompress_vec(&response.bytes().await?)?)?;
        let result = answer.results.first().context("one result")?;
        of_remote_read(&result.timeseries)
    }
}

/// The block directories of a data directory.
pub fn blocks(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let is_block = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| sabre_model::BlockId::parse(name).is_ok())
    };
    entries.filter(is_block).collect()
}

/// A batch of samples at `t`: floats that rise, fall, reset and go stale, and histograms with gaps and resets.
pub fn batch(t: i64, step: i64) -> Vec<TimeSeries> {
    let mut all = Vec::new();
    for pod in 0..12_i64 {
        let value = match pod % 4 {
            0 => (step % 500) as f64 * 3.0,
            1 => (step as f64 / 10.0).sin() * 1e9,
            2 if step % 97 == 0 => f64::from_bits(0x7ff0_0000_0000_0002),
            2 => 7.25,
            _ => f64::NAN,
        };
        if (step + pod) % 41 != 0 {
            all.push(TimeSeries {
                samples: vec![Sample { value, timestamp: t }],
                ..series("shop_requests_total", pod)
            });
        }
    }
    for pod in 0..4_i64 {
        let n = step % 700 + 1;
        let odd = i64::from(step % 200 > 100);
        let (first, second) = (n, n / 2 + odd);
        let mut spans = vec![BucketSpan {
            offset: -2,
            length: 2,
        }];
        let mut deltas = vec![first, second - first];
        if odd == 1 {
            spans.push(BucketSpan { offset: 3, length: 1 });
            deltas.push(n - second);
        }
        let total = first + second + if odd == 1 { n } else { 0 };
        let histogram = Histogram {
            count: Some(histogram::Count::CountInt(total.unsigned_abs() + 1)),
            sum: total as f64 * 0.5,
            schema: 2,
            zero_threshold: 1e-128,
            zero_count: Some(histogram::ZeroCount::ZeroCountInt(1)),
            positive_spans: spans,
            positive_deltas: deltas,
            timestamp: t,
            ..Histogram::default()
        };
        all.push(TimeSeries {
            histograms: vec![histogram],
            ..series("shop_latency_seconds", pod)
        });
    }
    all
}

fn series(name: &str, pod: i64) -> TimeSeries {
    let label = |name: &str, value: String| Label {
        name: name.to_string(),
        value,
    };
    let labels = vec![
        label("__name__", name.to_string()),
        label("instance", format!("10.0.0.{pod}:8080")),
        label("job", "shop \"quoted\"\n".to_string()),
        label("pod", format!("shop-{pod}")),
    ];
    TimeSeries {
        labels,
        ..TimeSeries::default()
    }
}
