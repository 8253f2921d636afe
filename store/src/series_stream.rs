//! The series of one block, read and decoded ahead of the merge.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sabre_runtime::{
    budget::{Budget, Reservation},
    trace::carried,
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    block::ServedBlock,
    context::CallContext,
    cpu,
    entries::{DecodeError, Fit, RunLimits},
    error::RequestError,
    index_cache::Extent,
    limits::Fetching,
    long_room::LongRoom,
    partition::partition,
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

/// Reads for the entries that a cache lacks that run at once.
const PARALLEL_READS: usize = 8;

/// What does not fit is there so often: with what is known of labels, where it is written and waits, in three batches, in
/// the merge, in batches that are fetched, encoded, and on its way.
const COPIES: u64 = 16;

/// What is read of an entry that does not fit becomes lists of its chunks, which take some so many times its bytes.
const LISTS_FACTOR: u64 = 20;

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
    /// Bytes of keys in a batch.
    key_bytes: usize,
    table_bytes: usize,
    /// The texts of labels that are looked up at once. They may come on top of the table.
    learn_bytes: u64,
}

const SMALL: Window = Window {
    part: PartLimits {
        series: usize::MAX,
        bytes: 64 << 10,
        gap_bytes: 16 << 10,
        tail_bytes: 0,
        last_start: u64::MAX,
    },
    ahead_bytes: 0,
    ahead_reads: 1,
    run: RunLimits {
        series: usize::MAX,
        bytes: 24 << 10,
    },
    key_bytes: 32 << 10,
    table_bytes: 64 << 10,
    learn_bytes: 48 << 10,
};

const LARGE: Window = Window {
    part: PartLimits {
        series: usize::MAX,
        bytes: 256 << 10,
        gap_bytes: 64 << 10,
        tail_bytes: 0,
        last_start: u64::MAX,
    },
    ahead_bytes: 512 << 10,
    ahead_reads: 16,
    run: RunLimits {
        series: usize::MAX,
        bytes: 96 << 10,
    },
    key_bytes: 128 << 10,
    table_bytes: 320 << 10,
    learn_bytes: 192 << 10,
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
        let mut room = LongRoom::new(self.context.late.clone());
        let end = self.produce(&out, &mut room).await;
        // A receiver that has gone wants no end either.
        let _ = out.send(end.map(|()| SeriesBatch::default())).await;
        if room.is_held() {
            // What was paid for is still on its way to the merge, or in it.
            out.closed().await;
        }
    }

    async fn produce(mut self, out: &BatchSender, room: &mut LongRoom) -> Result<(), RequestError> {
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
            let (mut part, is_cached) = match read.source {
                Source::Cache(part) => (part, true),
                Source::Bucket(task) => (task.await??, false),
            };
            if extra.is_none() {
                extra = self.context.budget.try_reserve(STREAM_EXTRA_BYTES);
                window = if extra.is_some() { LARGE } else { SMALL };
                window.part.tail_bytes = self.block.series_bytes;
                self.decoder.set_table_bytes(window.table_bytes);
                self.read_ahead(&mut reads, window)?;
            }
            // Whether the bucket itself said so, twice if it was asked the first time already.
            let mut is_final = false;
            while !part.is_done() {
                let position = part.position();
                match self.decoder.read(&mut part, window.run) {
                    Ok(true) => self.decoder = learnt(self.decoder, &mut part, window, room).await?,
                    Ok(false) => {}
                    Err(error) => {
                        let supplied = self.supply_or_fail(&mut part, error, is_final, room).await;
                        if let Err(error) = supplied {
                            if is_final || error.broken_block().is_none() {
                                return Err(error);
                            }
                            // Nothing says what went wrong, when it was kept or when it was read: it is read again
                            // before it is believed.
                            is_final = true;
                            self.reread(&mut part, position).await?;
                        }
                        continue;
                    }
                }
                let used = part.take_used();
                self.context.stats.series.touch(used.series, used.bytes);
                self.reserve_for_long(window, room).await?;
                while !self.decoder.is_emitted() {
                    let batch = self.decoder.emit(&part, window.key_bytes)?;
                    if !batch.is_empty() && out.send(Ok(batch)).await.is_err() {
                        return Ok(());
                    }
                    if self.decoder.sorts() {
                        charge_sort(&self.decoder, &self.block, &self.context.budget, &mut sorting)?;
                    } else {
                        self.reserve_for_waiting(room).await?;
                    }
                }
            }
            if !is_cached || is_final {
                self.keep(&part);
            }
        }
        let mut decoder = self.decoder;
        let (decoder, rest) = if decoder.sorts() {
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

    /// A series that alone takes more than all of a batch should is paid for.
    async fn reserve_for_long(&self, window: Window, room: &mut LongRoom) -> Result<(), RequestError> {
        let bytes = self.decoder.longest_bytes();
        if bytes <= window.run.bytes.max(window.key_bytes) {
            return Ok(());
        }
        let what = || {
            let block = self.block.id();
            format!("a series with {bytes} bytes of labels and chunk references in block {block}")
        };
        room.reach((bytes as u64).saturating_mul(COPIES), what).await
    }

    /// Series that wait for others are there once more when these come.
    async fn reserve_for_waiting(&self, room: &mut LongRoom) -> Result<(), RequestError> {
        let bytes = self.decoder.waiting_bytes() as u64;
        if bytes <= SORT_IN_MIN_BYTES {
            return Ok(());
        }
        let what = || {
            format!(
                "{bytes} bytes of series that wait for others in block {}",
                self.block.id()
            )
        };
        room.reach(bytes.saturating_mul(2), what).await
    }

    /// The last series of a read may be cut off: its rest is read. One that claims to be very long is not believed at
    /// once.
    async fn supply_or_fail(
        &self,
        part: &mut RawPart,
        error: DecodeError,
        is_final: bool,
        room: &mut LongRoom,
    ) -> Result<(), RequestError> {
        match error {
            DecodeError::NeedMore(bytes) if is_final || bytes <= LARGE.part.gap_bytes => {
                self.supply(part, bytes, room).await
            }
            DecodeError::NeedMore(bytes) => {
                let start = part.next_start().unwrap_or_default();
                let what = format!("a series entry of {bytes} bytes");
                let long = sabre_tsdb::Corruption::at("index series", start, what);
                Err(RequestError::Block(self.block.index_error(long)))
            }
            DecodeError::Failed(error) => Err(error),
        }
    }

    /// Reads again, from no cache, what turned out not to be true.
    async fn reread(&self, part: &mut RawPart, position: usize) -> Result<(), RequestError> {
        let CallContext { limits, stats, .. } = &self.context;
        let (start, last_start, _) = part.extent();
        let end = last_start.saturating_add(self.block.series_bytes);
        limits.bytes(Fetching::Series, end.saturating_sub(start))?;
        stats.series_refetches.inc();
        let read = self.block.reread_index(start, end);
        let bytes = stats.series.timed(1, read).await.map_err(RequestError::Block)?;
        stats.series.fetch(part.len() as u64, bytes.len() as u64);
        part.restart(position, bytes);
        Ok(())
    }

    /// Keeps a read whose series were decoded, and so verified.
    fn keep(&self, part: &RawPart) {
        let (start, last_start, bytes) = part.extent();
        let extent = Extent {
            start,
            last_start,
            bytes,
        };
        self.context.cache.keep_extent(self.block.id(), extent);
    }

    /// Starts reads until enough are under way.
    fn read_ahead(&mut self, reads: &mut VecDeque<PendingRead>, window: Window) -> Result<(), RequestError> {
        while reads.is_empty()
            || (reads.len() < window.ahead_reads
                && reads.iter().map(|read| read.bytes).sum::<u64>() < window.ahead_bytes)
        {
            let Some(read) = self.next_read(window)? else {
                break;
            };
            reads.push_back(read);
        }
        Ok(())
    }

    /// The next read, or what an earlier one brought; `None` at the end.
    fn next_read(&mut self, window: Window) -> Result<Option<PendingRead>, RequestError> {
        let block = Arc::clone(&self.block);
        let CallContext { cache, limits, .. } = &self.context;
        let offset_of = |reference| block.series_offset(reference);
        let Some(next) = self.refs.peek().map(offset_of) else {
            return Ok(None);
        };
        let extent = cache.extent(block.id(), next);
        let part = match &extent {
            None => window.part,
            Some(extent) => PartLimits {
                last_start: extent.last_start,
                gap_bytes: u64::MAX,
                bytes: u64::MAX,
                ..window.part
            },
        };
        let Some(plan) = next_part(&mut self.refs, offset_of, part) else {
            return Ok(None);
        };
        let (series, bytes) = (plan.offsets.len(), plan.end.saturating_sub(plan.start));
        limits.bytes(Fetching::Series, bytes)?;
        cache.asked_for_series(series, if extent.is_some() { series } else { 0 });
        let source = match extent {
            Some(extent) => Source::Cache(part_of(&extent, plan)),
            None => {
                let read = read(block, plan, self.context.clone());
                Source::Bucket(AbortOnDropHandle::new(tokio::spawn(carried(read))))
            }
        };
        Ok(Some(PendingRead { bytes, source }))
    }

    /// Reads all of the series that the part ends in.
    async fn supply(&self, part: &mut RawPart, bytes: u64, room: &mut LongRoom) -> Result<(), RequestError> {
        let Some(start) = part.next_start() else {
            return Ok(());
        };
        let what = || format!("a series entry of {bytes} bytes in block {}", self.block.id());
        let whole_room = self.context.late.reserve(bytes, what).await?;
        if bytes > LARGE.part.gap_bytes {
            let what = || format!("the chunks of {}", what());
            room.reach(bytes.saturating_mul(LISTS_FACTOR), what).await?;
        }
        self.context.limits.bytes(Fetching::Series, bytes)?;
        let stats = &self.context.stats;
        stats.series_refetches.inc();
        let read = self.block.reread_index(start, start.saturating_add(bytes));
        let whole = stats.series.timed(1, read).await.map_err(RequestError::Block)?;
        stats.series.fetch(1, whole.len() as u64);
        if (whole.len() as u64) < bytes {
            let short = sabre_tsdb::Corruption::short("index series", start, bytes, whole.len() as u64);
            return Err(RequestError::Block(self.block.index_error(short)));
        }
        part.supply(whole_room.attach(whole));
        Ok(())
    }
}

#[derive(Debug)]
struct PendingRead {
    bytes: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Cache(RawPart),
    Bucket(AbortOnDropHandle<Result<RawPart, RequestError>>),
}

fn part_of(extent: &Extent, plan: PartPlan) -> RawPart {
    let from = usize::try_from(plan.start.saturating_sub(extent.start)).unwrap_or(usize::MAX);
    let bytes = extent.bytes.slice(from.min(extent.bytes.len())..);
    RawPart::new(plan, bytes)
}

async fn read(
    block: Arc<ServedBlock>,
    plan: PartPlan,
    context: CallContext,
) -> Result<RawPart, RequestError> {
    let CallContext { cache, stats, .. } = &context;
    if cache.has_entries() {
        return read_entries(&block, plan, &context).await;
    }
    let read = block.read_index(plan.start, plan.end);
    let bytes = stats.series.timed(1, read).await.map_err(RequestError::Block)?;
    stats.series.fetch(plan.offsets.len() as u64, bytes.len() as u64);
    Ok(RawPart::new(plan, bytes))
}

/// As [`read`] with a cache that has entries one by one: only those that it lacks are read from the bucket, and all are
/// put in the places that they have in the index.
async fn read_entries(
    block: &ServedBlock,
    plan: PartPlan,
    context: &CallContext,
) -> Result<RawPart, RequestError> {
    let CallContext { cache, stats, .. } = context;
    let starts: Vec<u64> = plan.starts().collect();
    let found = cache.entries(block.id(), &starts).await;
    let is_found = |at: usize| found.get(at).is_some_and(Option::is_some);
    let missing: Vec<u64> = (0..)
        .zip(&starts)
        .filter(|(at, _)| !is_found(*at))
        .map(|(_, start)| *start)
        .collect();
    let tail = plan.end.saturating_sub(plan.last_start());
    let spans = missing.iter().map(|&start| (start, start.saturating_add(tail)));
    let parts = partition(spans, LARGE.part.gap_bytes, LARGE.part.bytes);
    let requests = parts.len();
    let reads = stream::iter(parts)
        .map(|part| async move { Ok((part.start, block.read_index(part.start, part.end).await?)) })
        .buffered(PARALLEL_READS)
        .try_collect();
    let reads: Vec<(u64, Bytes)> = stats
        .series
        .timed(requests, reads)
        .await
        .map_err(RequestError::Block)?;
    let fetched_bytes = reads.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    stats.series.fetch(missing.len() as u64, fetched_bytes);
    let len = usize::try_from(plan.end.saturating_sub(plan.start)).unwrap_or(usize::MAX);
    let mut image = vec![0; len];
    for (start, entry) in starts.iter().zip(&found) {
        place(
            &mut image,
            start.saturating_sub(plan.start),
            entry.as_deref().unwrap_or_default(),
        );
    }
    for (start, bytes) in &reads {
        place(&mut image, start.saturating_sub(plan.start), bytes);
    }
    for &start in &missing {
        let from = usize::try_from(start.saturating_sub(plan.start)).unwrap_or(usize::MAX);
        cache.keep_entry(block.id(), start, image.get(from..).unwrap_or_default());
    }
    Ok(RawPart::new(plan, Bytes::from(image)))
}

/// Copies as much as there is room for.
fn place(image: &mut [u8], at: u64, bytes: &[u8]) {
    let Ok(at) = usize::try_from(at) else { return };
    let room = image.get_mut(at..).unwrap_or_default();
    let len = bytes.len().min(room.len());
    if let (Some(room), Some(bytes)) = (room.get_mut(..len), bytes.get(..len)) {
        room.copy_from_slice(bytes);
    }
}

/// Looks up labels, of those series whose labels fit; the others of the run are decoded again later.
async fn learnt(
    decoder: SeriesDecoder,
    part: &mut RawPart,
    window: Window,
    room: &mut LongRoom,
) -> Result<SeriesDecoder, RequestError> {
    let (mut decoder, mut most_bytes) = (decoder, window.learn_bytes);
    loop {
        let (back, fit) = look_up(decoder, most_bytes).await?;
        decoder = back;
        let (Fit::Known { given_up } | Fit::Needs { given_up, .. }) = fit;
        part.step_back(given_up);
        let Fit::Needs { bytes, .. } = fit else {
            return Ok(decoder);
        };
        let what = || format!("a series with {bytes} bytes of labels");
        if bytes <= most_bytes {
            return Err(RequestError::NoMemory { what: what() });
        }
        // A text that two labels have is counted once with the symbols, and twice with the pairs: this comes round again.
        room.reach(bytes.saturating_mul(COPIES), what).await?;
        most_bytes = bytes;
    }
}

/// Looks up labels where the disk may be read.
async fn look_up(mut decoder: SeriesDecoder, most_bytes: u64) -> Result<(SeriesDecoder, Fit), RequestError> {
    cpu::run_blocking(move || decoder.learn(most_bytes).map(|fit| (decoder, fit))).await?
}

/// So much for sorting is in what a stream has in any case.
const SORT_IN_MIN_BYTES: u64 = 128 << 10;

/// Pays for series that must all be held before the first can be sent.
fn charge_sort(
    decoder: &SeriesDecoder,
    block: &ServedBlock,
    budget: &Budget,
    paid: &mut Option<Reservation>,
) -> Result<(), RequestError> {
    let held = decoder.waiting_bytes() as u64;
    let paid_bytes = paid.as_ref().map_or(0, Reservation::bytes);
    let missing = held.saturating_sub(SORT_IN_MIN_BYTES.saturating_add(paid_bytes));
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
