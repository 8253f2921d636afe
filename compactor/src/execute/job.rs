//! Runs a job: sources are fetched, the merge runs on a thread of its own, results are uploaded, all at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::{self, Either};
use futures::stream::{self, StreamExt, TryStreamExt};
use sabre_block::{BlockError, layout::INDEX_FILE};
use sabre_model::BlockId;
use sabre_objstore::{Bucket, SharedBucket, UploadSource};
use sabre_runtime::budget::Budget;
use sabre_tsdb::segment::DEFAULT_SEGMENT_BYTES;
use tokio::sync::mpsc;

use super::upload::{UploadedSegment, upload_segments};
use crate::merge::{
    self, Job, JobError, JobProgress, OpenScratch, Outcome, Output, ScratchFiles, SinkOptions, SinkSummary,
    Transform,
};
use crate::source::{self, Feeds, Health, SourceBlock, Windows};

/// Pieces that wait to be uploaded.
const WAITING_PIECES: usize = 2;
/// What the windows of all sources of a job share, if the budget has it.
const READ_AHEAD_BYTES: u64 = 20 << 20;
/// What each result takes beside its windows: pieces under way, and memory in which postings are sorted.
const RESULT_BYTES: u64 = 8 << 20;
/// The least budget in bytes: one job with one result, and the smallest windows of some twenty sources.
pub(crate) const LEAST_BUDGET_BYTES: u64 = 2 * RESULT_BYTES;
/// How many sources are opened at once.
const PARALLEL_OPENS: usize = 8;

/// What jobs share.
#[derive(Debug, Clone)]
pub(crate) struct JobContext {
    pub(crate) bucket: SharedBucket,
    pub(crate) budget: Budget,
    pub(crate) options: Arc<JobOptions>,
}

/// How jobs work.
#[derive(Debug, Clone)]
pub(crate) struct JobOptions {
    /// Folder for the local files of results.
    pub(crate) scratch_dir: PathBuf,
    /// How they are made.
    pub(crate) open_scratch: OpenScratch,
    /// Whether label names out of order are accepted.
    pub(crate) accepts_label_order: bool,
    /// Whether files are hashed.
    pub(crate) hashes: bool,
    /// The size at which segments are cut.
    pub(crate) segment_bytes: u32,
    /// How many jobs run at once.
    pub(crate) concurrency: usize,
}

/// A result whose files are all in the bucket but `meta.json`.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) id: BlockId,
    pub(crate) segments: Vec<UploadedSegment>,
    pub(crate) summary: SinkSummary,
    /// SHA-256 of the index, where files are hashed.
    pub(crate) index_hash: Option<String>,
}

/// What came of a job.
#[derive(Debug)]
pub(crate) struct Done {
    /// By result.
    pub(crate) written: Vec<Written>,
    /// By source.
    pub(crate) health: Vec<(BlockId, Health)>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            scratch_dir: PathBuf::from("./data/compact"),
            open_scratch: merge::open_scratch,
            accepts_label_order: false,
            hashes: false,
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            concurrency: 1,
        }
    }
}

/// Runs a job whose results are called `ids`, and uploads all files of them but `meta.json`. Results without series are
/// not uploaded beyond what had left already.
pub(crate) async fn run(
    context: &JobContext,
    sources: Vec<SourceBlock>,
    transform: Transform,
    ids: &[BlockId],
    progress: Arc<JobProgress>,
) -> Result<Done, JobError> {
    let (windows, max_series_bytes, reserve_bytes) = shares(context, sources.len(), ids.len());
    let _reserved = context.budget.reserve(reserve_bytes).await?;
    let opening = sources.into_iter();
    let opening: Vec<_> = opening
        .map(|block| source::open(&context.bucket, block))
        .collect();
    let opened: Vec<_> = stream::iter(opening)
        .buffered(PARALLEL_OPENS)
        .try_collect()
        .await?;
    let symbols_bytes = opened.iter().map(source::OpenBlock::symbols_bytes);
    let symbols_bytes = symbols_bytes.fold(0, u64::saturating_add);
    let mut feeds = Feeds::default();
    let mut readers = Vec::with_capacity(opened.len());
    for block in opened {
        let id = block.meta.ulid;
        let started = block.start(
            &context.bucket,
            &mut feeds,
            windows,
            context.options.accepts_label_order,
        );
        readers.push((id, started));
    }
    let (mut outputs, mut uploads, mut scratches) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        let (sender, receiver) = mpsc::channel(WAITING_PIECES);
        let dir = context.options.scratch_dir.join(scratch_name(*id));
        let open = context.options.open_scratch;
        let scratch = sabre_runtime::blocking(move || ScratchFiles::create(dir, open)).await??;
        let scratch = Arc::new(scratch);
        outputs.push(Output {
            scratch: Arc::clone(&scratch),
            sender,
            options: SinkOptions {
                segment_bytes: context.options.segment_bytes,
                hashes: context.options.hashes,
            },
        });
        uploads.push(upload_segments(
            SharedBucket::clone(&context.bucket),
            *id,
            receiver,
        ));
        scratches.push((*id, scratch));
    }
    let job = Job {
        sources: readers,
        transform,
        outputs,
        symbols_bytes,
        max_series_bytes,
        progress,
    };
    let (outcome, segments) = drive(job, feeds, uploads).await?;
    let Outcome { written, health } = outcome;
    let mut results = Vec::with_capacity(written.len());
    for ((summary, segments), (id, scratch)) in written.into_iter().zip(segments).zip(scratches) {
        results.push(upload_index(context, id, summary, segments, &scratch).await?);
    }
    Ok(Done {
        written: results,
        health,
    })
}

/// The windows, the most bytes of one series, and what all that is charged with.
fn shares(context: &JobContext, sources: usize, results: usize) -> (Windows, u64, u64) {
    let limit_bytes = context.budget.limit_bytes();
    let share_bytes = limit_bytes / context.options.concurrency.max(1) as u64;
    let result_bytes = RESULT_BYTES.saturating_mul(results as u64);
    let read_bytes = share_bytes.saturating_sub(result_bytes).min(READ_AHEAD_BYTES);
    let windows = Windows::share(read_bytes, sources);
    let reserve_bytes = windows.total_bytes(sources).saturating_add(result_bytes);
    (windows, (share_bytes / 4).max(1), reserve_bytes)
}

/// A name that no other attempt has: a thread that was given up may still hold the files of its own.
fn scratch_name(id: BlockId) -> String {
    static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
    format!("{id}.{}", ATTEMPTS.fetch_add(1, Ordering::Relaxed))
}

/// Fetches, merges and uploads at once. The first error that is a cause, and not the consequence of another, is given.
async fn drive(
    job: Job,
    feeds: Feeds,
    uploads: Vec<impl Future<Output = Result<Vec<UploadedSegment>, BlockError>>>,
) -> Result<(Outcome, Vec<Vec<UploadedSegment>>), JobError> {
    let merging = sabre_runtime::blocking(move || merge::run(job));
    let uploading = future::join_all(uploads);
    let working = future::join(merging, uploading);
    let feeding = Box::pin(feeds.run());
    let (merged, uploaded) = match future::select(Box::pin(working), feeding).await {
        Either::Left((done, _)) => done,
        Either::Right(((), working)) => working.await,
    };
    let merged = merged.map_err(JobError::Panicked).and_then(|merged| merged);
    let mut segments = Vec::with_capacity(uploaded.len());
    let mut upload_error = None;
    for result in uploaded {
        match result {
            Ok(of_result) => segments.push(of_result),
            Err(error) => upload_error = upload_error.or(Some(error)),
        }
    }
    match (merged, upload_error) {
        (Ok(outcome), None) => Ok((outcome, segments)),
        // The merge found its output closed: the upload is the cause.
        (Ok(_) | Err(JobError::Closed), Some(error)) => Err(JobError::Upload(error)),
        (Err(error), _) => Err(error),
    }
}

async fn upload_index(
    context: &JobContext,
    id: BlockId,
    summary: SinkSummary,
    segments: Vec<UploadedSegment>,
    scratch: &ScratchFiles,
) -> Result<Written, JobError> {
    let mut index_hash = None;
    if summary.stats.num_series > 0 {
        let path = scratch.index_path();
        if context.options.hashes {
            let hashed = path.clone();
            let hash = sabre_runtime::blocking(move || super::meta::sha256_of_file(&hashed)).await?;
            index_hash = Some(hash.map_err(|source| JobError::Local {
                path: path.clone(),
                source,
            })?);
        }
        let key = sabre_block::layout::key(id, INDEX_FILE);
        let sent = context.bucket.upload(&key, UploadSource::File(path)).await;
        sent.map_err(|error| JobError::Upload(BlockError::new(id, INDEX_FILE, error)))?;
    }
    Ok(Written {
        id,
        segments,
        summary,
        index_hash,
    })
}

impl Written {
    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.summary.stats.num_samples == 0
    }
}
