//! The flow of a `Series` call: streams of blocks, merge, fetch, encode, send.
//!
//! ```text
//! block 1: read, decode ─┐
//! block 2: read, decode ─┼─ merge ─ fetch (some batches ahead) ─ encode ─ frames
//! block n: read, decode ─┘
//! ```
//! Every arrow is a bounded channel, so a slow reader stops everything behind it. All tasks belong to the one future
//! of [`answer`]: when that is dropped, they are aborted.

use std::{sync::Arc, time::Instant};

use sabre_runtime::trace::carried;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    admission::{self, Needs, Opened},
    batch_width::{BATCHES_MIN_BYTES, BATCHES_SLIM_BYTES, BatchWidth},
    block::ServedBlock,
    context::CallContext,
    cpu,
    encode::{EncodeError, EncodeOptions, Encoder, Turn},
    error::RequestError,
    fetch::FetchedBatch,
    merged::{MergedBatch, Merger, Stop},
    metrics::StoreMetrics,
    outlet::{FrameMemory, Outlet},
    picks::SeriesBatch,
    prefetch::{ChunkSource, prefetch},
    progress::Progress,
    request::SeriesQuery,
    series_decode::{SeriesDecoder, SeriesFilter},
    series_stream::{BlockSeries, STREAM_MIN_BYTES},
    stats::RequestStats,
    view::Selected,
};

/// More than this is not written where futures run.
const INLINE_BYTES: usize = 512 << 10;

/// Memory of a request besides its streams.
pub(crate) const REQUEST_MIN_BYTES: u64 = BATCHES_MIN_BYTES;

/// A `Series` call that is about to be answered.
#[derive(Debug)]
pub(crate) struct SeriesCall {
    pub(crate) query: SeriesQuery,
    pub(crate) selected: Vec<Selected>,
    pub(crate) context: CallContext,
    pub(crate) metrics: StoreMetrics,
}

/// Sends the whole answer, and notes in `progress` what went out. Returns early, with success, when the caller goes.
pub(crate) async fn answer(
    call: SeriesCall,
    progress: &mut Progress,
    out: Outlet<'_>,
) -> Result<(), RequestError> {
    let SeriesCall {
        query,
        selected,
        context,
        metrics,
    } = call;
    let started = Instant::now();
    let needs = Needs {
        fixed_bytes: REQUEST_MIN_BYTES,
        slim_bytes: BATCHES_SLIM_BYTES,
        stream_bytes: STREAM_MIN_BYTES,
    };
    let (opened, held) = admission::open(selected, needs, query.limit, &context).await?;
    let mut memory = FrameMemory::new(held.memory);
    let opened_after = started.elapsed();
    let blocks: Arc<[Arc<ServedBlock>]> = opened
        .iter()
        .map(|opened| Arc::clone(&opened.selected.block))
        .collect();
    let width = match held.is_slim {
        true => BatchWidth::slim(),
        false => BatchWidth::default(),
    };
    let options = EncodeOptions {
        wanted: query.wanted,
        series_per_message: query.series_per_message,
        frame_bytes: width.frame_bytes(),
    };
    let mut tasks = JoinSet::new();
    let batches = start_merge(&mut tasks, (opened, &width), &query, &context);
    let source = ChunkSource {
        blocks,
        skip_chunks: query.skip_chunks,
        context,
    };
    let mut fetched = prefetch(&mut tasks, (batches, width), source.clone());
    let mut encoder = Encoder::new(options);
    while let Some(mut batch) = fetched.next().await? {
        loop {
            let turn = encode_turn(&source, &mut encoder, &mut batch).await?;
            let is_end = matches!(turn, Turn::End(_));
            match turn {
                Turn::Again => tokio::task::yield_now().await,
                Turn::Frame(frame) | Turn::End(frame) => {
                    if !frame.is_empty() && !out.send(memory.hold(frame)).await? {
                        return Ok(());
                    }
                    let merged = batch.merged();
                    let until = if is_end { merged.len() } else { encoder.position() };
                    progress.sent(merged, until, is_end);
                }
            }
            if is_end {
                break;
            }
        }
    }
    metrics.durations(opened_after, started.elapsed().saturating_sub(opened_after));
    Ok(())
}

/// Writes some series of a batch, here if that is short work.
async fn encode_turn(
    source: &ChunkSource,
    encoder: &mut Encoder,
    batch: &mut FetchedBatch,
) -> Result<Turn, RequestError> {
    loop {
        let outcome = if encoder.turn_bytes(batch) <= INLINE_BYTES {
            encoder.turn(&source.blocks, batch)
        } else {
            let blocks = Arc::clone(&source.blocks);
            let (mut lent_encoder, lent_batch) = (encoder.lend(), std::mem::take(batch));
            let (back, outcome);
            (*encoder, back, outcome) = cpu::run(move || {
                let outcome = lent_encoder.turn(&blocks, &lent_batch);
                (lent_encoder, lent_batch, outcome)
            })
            .await?;
            *batch = back;
            outcome
        };
        match outcome {
            Ok(turn) => return Ok(turn),
            Err(EncodeError::Failed(error)) => return Err(error),
            Err(EncodeError::NeedMore { pick, bytes }) => source.reread(batch, pick, Some(bytes)).await?,
            Err(EncodeError::Doubtful { pick }) => source.reread(batch, pick, None).await?,
        }
    }
}

/// Merged batches; an empty one, or an error, is the last.
pub(crate) type MergedReceiver = mpsc::Receiver<Result<MergedBatch, RequestError>>;

/// Starts the streams of all blocks and the merge of them.
pub(crate) fn start_merge(
    tasks: &mut JoinSet<()>,
    (opened, width): (Vec<Opened>, &BatchWidth),
    query: &SeriesQuery,
    context: &CallContext,
) -> MergedReceiver {
    let filter = Arc::new(SeriesFilter {
        mint_ms: query.mint_ms,
        maxt_ms: query.maxt_ms,
        skip_chunks: query.skip_chunks,
        shard: query.shard.clone(),
        after: query.after.clone(),
        limits: Arc::clone(&context.limits),
    });
    let mut streams = Vec::with_capacity(opened.len());
    for Opened {
        selected,
        refs,
        deferred,
    } in opened
    {
        let (sender, receiver) = mpsc::channel(1);
        let table = context.label_table(&selected.block);
        let series = BlockSeries {
            decoder: SeriesDecoder::new(Arc::clone(&selected.block), table, Arc::clone(&filter))
                .with_deferred(deferred),
            block: selected.block,
            refs: refs.cursor(),
            context: context.clone(),
        };
        tasks.spawn(carried(series.run(sender)));
        streams.push(receiver);
    }
    let (sender, receiver) = mpsc::channel(1);
    let stats = Arc::clone(&context.stats);
    let merge = merge(streams, (query.limit, width.clone()), stats, sender.clone());
    tasks.spawn(async move {
        if let Err(error) = merge.await {
            // A receiver that has gone wants no error either.
            let _ = sender.send(Err(error)).await;
        }
    });
    receiver
}

/// Merges the streams and sends batches.
async fn merge(
    mut streams: Vec<mpsc::Receiver<Result<SeriesBatch, RequestError>>>,
    (limit, width): (u64, BatchWidth),
    stats: Arc<RequestStats>,
    out: mpsc::Sender<Result<MergedBatch, RequestError>>,
) -> Result<(), RequestError> {
    let mut merger = Merger::new(streams.len(), limit);
    let mut limits = width.first_limits();
    let mut batch = MergedBatch::default();
    loop {
        let stop = merger.fill(&mut batch, limits);
        if let Stop::Need(stream) = stop {
            let next = match streams.get_mut(stream) {
                Some(stream) => stream.recv().await.unwrap_or_else(|| Err(ended_early()))?,
                None => SeriesBatch::default(),
            };
            merger.supply(stream, Some(next).filter(|next| !next.is_empty()));
            continue;
        }
        if stop == Stop::Pause {
            tokio::task::yield_now().await;
            continue;
        }
        stats.merged_series.add(batch.len() as u64);
        let is_end = stop == Stop::End;
        let next = if is_end {
            MergedBatch::default()
        } else {
            MergedBatch::like(&batch)
        };
        let batch_was_empty = batch.is_empty();
        if out.send(Ok(std::mem::replace(&mut batch, next))).await.is_err() {
            return Ok(());
        }
        if is_end {
            if !batch_was_empty {
                // A receiver that has gone wants no end either.
                let _ = out.send(Ok(MergedBatch::default())).await;
            }
            return Ok(());
        }
        limits = width.limits();
    }
}

/// A task that feeds the answer went away without a word: it panicked.
pub(crate) fn ended_early() -> RequestError {
    RequestError::Panic("a part of the answer ended early".to_owned())
}
