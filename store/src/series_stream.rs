//! The series of one block, read and decoded ahead of the merge.

use std::{collections::VecDeque, sync::Arc};

use sabre_runtime::budget::{Budget, Reservation};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    block::ServedBlock,
    context::CallContext,
    cpu,
    entries::{DecodeError, RunLimits},
    error::RequestError,
    picks::SeriesBatch,
    refs::RefCursor,
    series_decode::SeriesDecoder,
    series_part::{PartLimits, PartPlan, RawPart, next_part},
};

/// Memory that a stream may take whatever happens: one small read, three small batches, a small table.
///
/// A batch is decoded where futures run: a run of series that takes 96 KiB takes some 200 µs.
pub(crate) const STREAM_MIN_BYTES: u64 = 384 << 10;

/// What a stream takes besides if it is free.
const STREAM_EXTRA_BYTES: u64 = 1536 << 10;

/// The first series are sent as early as can be.
const FIRST_SERIES: usize = 64;

/// How far a stream reads and decodes ahead.
#[derive(Clone, Copy, Debug)]
struct Window {
    part: PartLimits,
    /// Bytes of reads that may be under way.
    ahead_bytes: u64,
    /// Reads that may be under way.
    ahead_reads: usize,
    run: RunLimits,
    table_bytes: usize,
}

const SMALL: Window = Window {
    part: PartLimits {
        series: usize::MAX,
        bytes: 64 << 10,
        gap_bytes: 16 << 10,
        tail_bytes: 0,
    },
    ahead_bytes: 0,
    ahead_reads: 1,
    run: RunLimits {
        series: usize::MAX,
        bytes: 32 << 10,
    },
    table_bytes: 64 << 10,
};

const LARGE: Window = Window {
    part: PartLimits {
        series: usize::MAX,
        bytes: 256 << 10,
        gap_bytes: 64 << 10,
        tail_bytes: 0,
    },
    ahead_bytes: 512 << 10,
    ahead_reads: 16,
    run: RunLimits {
        series: usize::MAX,
        bytes: 96 << 10,
    },
    table_bytes: 320 << 10,
};

/// Everything a stream works with.
#[derive(Debug)]
pub(crate) struct BlockSeries {
    pub(crate) block: Arc<ServedBlock>,
    pub(crate) refs: RefCursor,
    pub(crate) decoder: SeriesDecoder,
    pub(crate) context: CallContext,
}

/// Where batches go; an empty one, or an error, is the last.
pub(crate) type BatchSender = mpsc::Sender<Result<SeriesBatch, RequestError>>;

impl BlockSeries {
    /// Sends all series of the block, batch by batch, until the receiver goes.
    pub(crate) async fn run(self, out: BatchSender) {
        let end = self.produce(&out).await.map(|()| SeriesBatch::default());
        // A receiver that has gone wants no end either.
        let _ = out.send(end).await;
    }

    async fn produce(mut self, out: &BatchSender) -> Result<(), RequestError> {
        let mut window = Window {
            part: PartLimits {
                series: FIRST_SERIES,
                ..SMALL.part
            },
            ..SMALL
        };
        window.part.tail_bytes = self.block.series_bytes;
        let mut extra: Option<Reservation> = None;
        let mut sorting: Option<Reservation> = None;
        let mut reads: VecDeque<PendingRead> = VecDeque::new();
        loop {
            self.read_ahead(&mut reads, window)?;
            let Some(read) = reads.pop_front() else { break };
            let mut part = read.task.await??;
            if extra.is_none() {
                extra = self.context.budget.try_reserve(STREAM_EXTRA_BYTES);
                window = if extra.is_some() { LARGE } else { SMALL };
                window.part.tail_bytes = self.block.series_bytes;
                self.decoder.set_table_bytes(window.table_bytes);
                self.read_ahead(&mut reads, window)?;
            }
            while !part.is_done() {
                match self.decoder.read(&mut part, window.run) {
                    Ok(true) => self.decoder = learnt(self.decoder).await?,
                    Ok(false) => {}
                    Err(DecodeError::Failed(error)) => return Err(error),
                    Err(DecodeError::NeedMore(bytes)) => {
                        self.supply(&mut part, bytes).await?;
                        continue;
                    }
                }
                let batch = self.decoder.emit(&part)?;
                if !batch.is_empty() && out.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
                charge_sort(&self.decoder, &self.block, &self.context.budget, &mut sorting)?;
            }
        }
        let mut decoder = self.decoder;
        let (decoder, rest) = if decoder.sorting_bytes() > 0 {
            cpu::run(move || {
                let rest = decoder.finish();
                (decoder, rest)
            })
            .await?
        } else {
            let rest = decoder.finish();
            (decoder, rest)
        };
        for batch in rest {
            if !batch.is_empty() && out.send(Ok(batch)).await.is_err() {
                break;
            }
        }
        self.context.keep_labels(&self.block, decoder.into_table());
        Ok(())
    }

    /// Starts reads until enough are under way.
    fn read_ahead(&mut self, reads: &mut VecDeque<PendingRead>, window: Window) -> Result<(), RequestError> {
        while reads.is_empty()
            || (reads.len() < window.ahead_reads
                && reads.iter().map(|read| read.bytes).sum::<u64>() < window.ahead_bytes)
        {
            let block = Arc::clone(&self.block);
            let Some(plan) = next_part(
                &mut self.refs,
                |reference| block.series_offset(reference),
                window.part,
            ) else {
                break;
            };
            let bytes = plan.end.saturating_sub(plan.start);
            self.context.limits.bytes(bytes)?;
            self.context.stats.series.read(plan.offsets.len() as u64, bytes);
            let task = AbortOnDropHandle::new(tokio::spawn(read(block, plan)));
            reads.push_back(PendingRead { bytes, task });
        }
        Ok(())
    }

    /// Reads all of the series that the part ends in.
    async fn supply(&self, part: &mut RawPart, bytes: u64) -> Result<(), RequestError> {
        let Some(start) = part.next_start() else {
            return Ok(());
        };
        let room = self
            .context
            .budget
            .try_reserve(bytes)
            .ok_or_else(|| RequestError::NoMemory {
                what: format!("a series entry of {bytes} bytes in block {}", self.block.id()),
            })?;
        self.context.limits.bytes(bytes)?;
        self.context.stats.series_refetches.inc();
        let whole = self
            .block
            .read_index(start, start.saturating_add(bytes))
            .await
            .map_err(RequestError::Block)?;
        if (whole.len() as u64) < bytes {
            let short = sabre_tsdb::Corruption::short("index series", start, bytes, whole.len() as u64);
            return Err(RequestError::Block(self.block.index_error(short)));
        }
        part.supply(room.attach(whole));
        Ok(())
    }
}

#[derive(Debug)]
struct PendingRead {
    bytes: u64,
    task: AbortOnDropHandle<Result<RawPart, RequestError>>,
}

async fn read(block: Arc<ServedBlock>, plan: PartPlan) -> Result<RawPart, RequestError> {
    let bytes = block
        .read_index(plan.start, plan.end)
        .await
        .map_err(RequestError::Block)?;
    Ok(RawPart::new(plan, bytes))
}

/// Looks up labels where the disk may be read.
async fn learnt(mut decoder: SeriesDecoder) -> Result<SeriesDecoder, RequestError> {
    cpu::run_blocking(move || decoder.learn().map(|()| decoder)).await?
}

/// Pays for series that must all be held before the first can be sent.
fn charge_sort(
    decoder: &SeriesDecoder,
    block: &ServedBlock,
    budget: &Budget,
    paid: &mut Option<Reservation>,
) -> Result<(), RequestError> {
    let held = decoder.sorting_bytes() as u64;
    let missing = held.saturating_sub(paid.as_ref().map_or(0, Reservation::bytes));
    if missing == 0 {
        return Ok(());
    }
    // In steps, so that few series do not mean many reservations.
    let step = missing.max(1 << 20);
    let is_paid = match paid {
        Some(paid) => paid.try_grow(step),
        None => {
            *paid = budget.try_reserve(step);
            paid.is_some()
        }
    };
    if is_paid {
        return Ok(());
    }
    Err(RequestError::NoMemory {
        what: format!(
            "sorting the series of block {}, which have labels that are also external or replica labels, \
             after {held} bytes",
            block.id()
        ),
    })
}
