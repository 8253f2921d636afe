//! The demo's questions, asked with a real StoreAPI client.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use futures::TryStreamExt;
use sabre_block::layout::{META_FILE, block_of_dir, key};
use sabre_model::time::format_rfc3339_ms;
use sabre_objstore::{BucketExt, ListEntry};
use sabre_proto::thanos::{
    LabelMatcher, LabelValuesRequest, Series, SeriesRequest,
    info::{InfoRequest, info_client::InfoClient},
    series_response,
    store_client::StoreClient,
};
use sabre_runtime::clock;
use sabre_tsdb::{chunk::Encoding, meta::BlockMeta};
use tonic::transport::Channel;

use super::screen::{Screen, grouped};

const MAX_META_BYTES: u64 = 1 << 20;

/// The newest blocks of the table; a longer one would push the rest off the screen.
const SHOWN_BLOCKS: usize = 6;

/// A table of what the bucket holds, newest first.
pub(crate) async fn print_blocks(bucket: &str, screen: &Screen) -> Result<()> {
    let bucket = sabre_objstore::config::from_yaml(bucket, "demo")?;
    let mut metas = Vec::new();
    let entries: Vec<ListEntry> = bucket.list("", false).await?.try_collect().await?;
    for id in entries.iter().filter_map(|entry| block_of_dir(entry.key())) {
        metas.push(BlockMeta::parse(
            &bucket.get_all(&key(id, META_FILE), MAX_META_BYTES).await?,
        )?);
    }
    metas.sort_by_key(|meta| (std::cmp::Reverse(meta.min_time), meta.ext_labels()));
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_header(["block", "from", "until", "series", "samples", "labels"]);
    for meta in metas.iter().take(SHOWN_BLOCKS) {
        table.add_row([
            meta.ulid.to_string(),
            format_rfc3339_ms(meta.min_time),
            format_rfc3339_ms(meta.max_time),
            grouped(meta.stats.num_series),
            grouped(meta.stats.num_samples),
            meta.ext_labels().to_string(),
        ]);
    }
    screen.line(&table.to_string());
    if metas.len() > SHOWN_BLOCKS {
        screen.line(&format!("and {} older blocks", metas.len() - SHOWN_BLOCKS));
    }
    Ok(())
}

/// Asks one component what it has, and prints the answers.
pub(crate) async fn ask(what: &str, address: SocketAddr, screen: &Screen) -> Result<()> {
    let channel = Channel::from_shared(format!("http://{address}"))?
        .connect_timeout(std::time::Duration::from_secs(30))
        .connect_lazy();
    let info = InfoClient::new(channel.clone())
        .info(InfoRequest {})
        .await
        .with_context(|| format!("Info of the {what}"))?
        .into_inner();
    let range = info
        .store
        .map(|store| (store.min_time, store.max_time))
        .unwrap_or_default();
    let shown = |ms: i64| {
        if (0..253_402_300_800_000).contains(&ms) {
            format_rfc3339_ms(ms)
        } else {
            "now and on".to_string()
        }
    };
    screen.line(&format!(
        "{what}: data from {} until {}",
        shown(range.0),
        shown(range.1)
    ));

    let mut store = StoreClient::new(channel).max_decoding_message_size(usize::MAX);
    let names = LabelValuesRequest {
        label: "__name__".to_string(),
        start: i64::MIN,
        end: i64::MAX,
        ..LabelValuesRequest::default()
    };
    let names = store
        .label_values(names)
        .await
        .with_context(|| format!("LabelValues of the {what}"))?
        .into_inner()
        .values;
    screen.line(&format!(
        "  LabelValues __name__: {} metrics, {} ...",
        names.len(),
        names.iter().take(3).cloned().collect::<Vec<_>>().join(", ")
    ));

    let Some(metric) = names
        .iter()
        .find(|name| *name == "http_requests_total")
        .or(names.first())
        .cloned()
    else {
        screen.line("  no series");
        return Ok(());
    };
    let matcher = LabelMatcher {
        name: "__name__".to_string(),
        value: metric.clone(),
        ..LabelMatcher::default()
    };
    let request = SeriesRequest {
        min_time: i64::MIN,
        max_time: i64::MAX,
        matchers: vec![matcher],
        ..SeriesRequest::default()
    };
    let started = tokio::time::Instant::now();
    let mut stream = store
        .series(request)
        .await
        .with_context(|| format!("Series of the {what}"))?
        .into_inner();
    let mut seen = Seen::default();
    while let Some(response) = stream.message().await? {
        match response.result {
            Some(series_response::Result::Series(series)) => seen.add(&series)?,
            Some(series_response::Result::Batch(batch)) => {
                batch.series.iter().try_for_each(|series| seen.add(series))?;
            }
            Some(series_response::Result::Warning(warning)) => screen.line(&format!("  warning: {warning}")),
            Some(series_response::Result::Hints(_)) | None => {}
        }
    }
    let took_ms = started.elapsed().as_millis();
    screen.line(&format!(
        "  Series {metric}: {} series, {} chunks, {} samples in {took_ms} ms, the newest {} s old",
        grouped(seen.series),
        grouped(seen.chunks),
        grouped(seen.samples),
        (clock::now_ms() - seen.newest_ms).max(0) / 1000
    ));
    Ok(())
}

/// What an answer held.
#[derive(Debug, Default)]
struct Seen {
    series: u64,
    chunks: u64,
    samples: u64,
    newest_ms: i64,
}

impl Seen {
    fn add(&mut self, series: &Series) -> Result<()> {
        self.series += 1;
        let raw: BTreeMap<_, _> = series
            .chunks
            .iter()
            .filter_map(|chunk| Some(((chunk.min_time, chunk.max_time), chunk.raw.as_ref()?)))
            .collect();
        for ((_, maxt), chunk) in raw {
            self.chunks += 1;
            let encoding = match chunk.r#type {
                0 => Encoding::Xor,
                1 => Encoding::Histogram,
                _ => Encoding::FloatHistogram,
            };
            self.samples += u64::from(sabre_tsdb::chunk::num_samples(encoding, &chunk.data)?);
            self.newest_ms = self.newest_ms.max(maxt);
        }
        Ok(())
    }
}
