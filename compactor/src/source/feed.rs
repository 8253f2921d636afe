//! The writing end: fetches windows of objects, one after the other. Large objects that are wanted whole are asked for once.

use std::ops::Range;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures::stream::{FuturesUnordered, StreamExt, TryStreamExt};
use sabre_block::{BlockError, layout};
use sabre_model::BlockId;
use sabre_objstore::{BucketExt, Error, ErrorKind, GetBody, Operation, SharedBucket};
use tokio::sync::mpsc;

use super::windows::{Window, WindowReader};

/// Windows that wait to be read, beside the one that is read and the one that is fetched.
const WAITING_WINDOWS: usize = 1;
/// Windows of a stream that may be in memory at once.
pub(crate) const WINDOWS_PER_STREAM: u64 = WAITING_WINDOWS as u64 + 1;

/// Windows of this size may be filled from one answer that holds a whole object: what a bucket hands over of it at a time
/// is no larger.
pub(crate) const STREAMED_WINDOW_BYTES: u64 = 1 << 20;

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
    /// Whether that is all of it.
    pub(crate) is_whole: bool,
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
    /// Adds a stream over `parts`, read in windows of about `window_bytes`, and returns its reading end.
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

type Sender = mpsc::Sender<Result<Window, BlockError>>;

/// Why nothing more comes.
enum End {
    /// The reader is gone.
    Unwanted,
    /// The bucket failed.
    Failed(BlockError),
}

/// An error is the last that comes; a reader that is gone ends it.
async fn feed(bucket: &SharedBucket, block: BlockId, parts: Vec<Part>, window_bytes: u64, sender: &Sender) {
    for part in parts {
        let len = part.range.end.saturating_sub(part.range.start);
        // A request costs money whatever it brings; the bytes come at the pace at which they are read.
        let is_streamed = part.is_whole && len > window_bytes && window_bytes >= STREAMED_WINDOW_BYTES;
        let fed = match is_streamed {
            true => feed_whole(bucket, block, &part, window_bytes, sender).await,
            false => feed_ranges(bucket, block, &part, window_bytes, sender).await,
        };
        match fed {
            Ok(()) => {}
            Err(End::Unwanted) => return,
            Err(End::Failed(error)) => {
                // The reader may be gone.
                drop(sender.send(Err(error)).await);
                return;
            }
        }
    }
}

/// Fetches a part by one request a window.
async fn feed_ranges(
    bucket: &SharedBucket,
    block: BlockId,
    part: &Part,
    window_bytes: u64,
    sender: &Sender,
) -> Result<(), End> {
    let key = layout::key(block, &part.file);
    let mut offset = part.range.start;
    while offset < part.range.end {
        // First the place to put it, then the window: it is not held while it waits.
        let place = sender.reserve().await.map_err(|_| End::Unwanted)?;
        let len = window_bytes.min(part.range.end.saturating_sub(offset));
        let bytes = bucket.get_range_exact(&key, offset, len).await;
        let bytes = bytes.map_err(|error| part.failed(block, error))?;
        place.send(Ok(part.window(offset, bytes)));
        offset = offset.saturating_add(len);
    }
    Ok(())
}

/// Fetches a part that is a whole object by one request, whose answer is read as there is room for windows.
async fn feed_whole(
    bucket: &SharedBucket,
    block: BlockId,
    part: &Part,
    window_bytes: u64,
    sender: &Sender,
) -> Result<(), End> {
    let key = layout::key(block, &part.file);
    let mut place = Some(sender.reserve().await.map_err(|_| End::Unwanted)?);
    let body = bucket.get(&key).await;
    let mut body = body.map_err(|error| part.failed(block, error))?;
    if body.size_bytes < part.range.end {
        let what = format!(
            "{} bytes wanted, but the object has only {} bytes",
            part.range.end, body.size_bytes
        );
        let error = Error::new(ErrorKind::Invalid, Operation::Get, bucket.name(), &key, what);
        return Err(part.failed(block, error));
    }
    let mut offset = part.range.start;
    while offset < part.range.end {
        let place = match place.take() {
            Some(place) => place,
            None => sender.reserve().await.map_err(|_| End::Unwanted)?,
        };
        let left = part.range.end.saturating_sub(offset);
        let bytes = next_window(&mut body, window_bytes.min(left)).await;
        let mut bytes = bytes.map_err(|error| part.failed(block, error))?;
        if bytes.is_empty() {
            let what = format!("the answer ended at {offset} of {} bytes", body.size_bytes);
            let error = Error::new(ErrorKind::Truncated, Operation::Get, bucket.name(), &key, what);
            return Err(part.failed(block, error));
        }
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let end = offset.saturating_add(bytes.len() as u64);
        place.send(Ok(part.window(offset, bytes)));
        offset = end;
    }
    Ok(())
}

/// The next bytes of a body: about so many, none at its end. Pieces that are large are handed on as they are.
async fn next_window(body: &mut GetBody, window_bytes: u64) -> sabre_objstore::Result<Bytes> {
    let window_bytes = usize::try_from(window_bytes).unwrap_or(usize::MAX);
    let mut gathered = BytesMut::new();
    while let Some(piece) = body.stream.try_next().await? {
        if gathered.is_empty() && piece.len() >= window_bytes / 2 {
            return Ok(piece);
        }
        if gathered.is_empty() {
            gathered.reserve(window_bytes);
        }
        gathered.extend_from_slice(&piece);
        // The next one is hardly smaller.
        if gathered.len().saturating_add(piece.len()) > window_bytes {
            break;
        }
    }
    Ok(gathered.freeze())
}

impl Part {
    fn window(&self, offset: u64, bytes: Bytes) -> Window {
        Window {
            object: self.object,
            offset,
            bytes,
        }
    }

    fn failed(&self, block: BlockId, error: Error) -> End {
        End::Failed(BlockError::new(block, self.file.as_str(), error))
    }
}

#[cfg(test)]
mod tests;
