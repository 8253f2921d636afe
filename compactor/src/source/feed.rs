//! The writing end: fetches windows of objects, one after the other.

use std::ops::Range;
use std::pin::Pin;

use futures::stream::{FuturesUnordered, StreamExt};
use sabre_block::{BlockError, layout};
use sabre_model::BlockId;
use sabre_objstore::{BucketExt, SharedBucket};
use tokio::sync::mpsc;

use super::windows::{Window, WindowReader};

/// Windows that wait to be read, beside the one that is read and the one that is fetched.
const WAITING_WINDOWS: usize = 1;
/// Windows of a stream that may be in memory at once.
pub(crate) const WINDOWS_PER_STREAM: u64 = WAITING_WINDOWS as u64 + 1;

type Feed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A range of an object to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Path of the file in the block.
    pub(crate) file: String,
    /// The number by which windows of it are known.
    pub(crate) object: u32,
    /// What of it is read.
    pub(crate) range: Range<u64>,
}

/// All fetching of a job.
#[derive(Default)]
pub(crate) struct Feeds(FuturesUnordered<Feed>);

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Feeds").field(&self.0.len()).finish()
    }
}

impl Feeds {
    /// Adds a stream over `parts`, read in windows of `window_bytes`, and returns its reading end.
    pub(crate) fn add(
        &mut self,
        bucket: &SharedBucket,
        block: BlockId,
        parts: Vec<Part>,
        window_bytes: u64,
    ) -> WindowReader {
        let (sender, receiver) = mpsc::channel(WAITING_WINDOWS);
        let bucket = SharedBucket::clone(bucket);
        self.0.push(Box::pin(async move {
            feed(&bucket, block, parts, window_bytes.max(1), &sender).await;
        }));
        WindowReader::new(block, receiver)
    }

    /// Adds a stream of one window that is there already.
    pub(crate) fn add_ready(&mut self, block: BlockId, window: Window) -> WindowReader {
        let (sender, receiver) = mpsc::channel(1);
        // A new channel has room.
        drop(sender.try_send(Ok(window)));
        WindowReader::new(block, receiver)
    }

    /// Adds other work that serves the reading side.
    pub(crate) fn add_service(&mut self, service: impl Future<Output = ()> + Send + 'static) {
        self.0.push(Box::pin(service));
    }

    /// Fetches until all streams are read or given up.
    pub(crate) async fn run(mut self) {
        while self.0.next().await.is_some() {}
    }
}

/// An error is the last that comes; a reader that is gone ends it.
async fn feed(
    bucket: &SharedBucket,
    block: BlockId,
    parts: Vec<Part>,
    window_bytes: u64,
    sender: &mpsc::Sender<Result<Window, BlockError>>,
) {
    for Part { file, object, range } in parts {
        let key = layout::key(block, &file);
        let mut offset = range.start;
        while offset < range.end {
            // First the place to put it, then the window: it is not held while it waits.
            let Ok(place) = sender.reserve().await else { return };
            let len = window_bytes.min(range.end.saturating_sub(offset));
            let window = bucket.get_range_exact(&key, offset, len).await;
            let window = window
                .map(|bytes| Window {
                    object,
                    offset,
                    bytes,
                })
                .map_err(|error| BlockError::new(block, file.as_str(), error));
            let is_error = window.is_err();
            place.send(window);
            if is_error {
                return;
            }
            offset = offset.saturating_add(len);
        }
    }
}
