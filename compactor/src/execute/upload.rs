//! Segments on their way into the bucket, while they are still being filled.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream};
use sabre_block::{BlockError, layout};
use sabre_model::BlockId;
use sabre_objstore::{Bucket, SharedBucket, UploadSource};
use sabre_tsdb::segment::segment_name;
use tokio::sync::{Mutex, mpsc};

use crate::merge::Piece;

/// A segment that is in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadedSegment {
    pub(crate) name: String,
    pub(crate) size_bytes: u64,
}

/// The pieces of one segment after the other.
#[derive(Debug)]
struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    /// What ended the segment before: the begin of the next, or the end of all.
    pending: Option<Piece>,
    size_bytes: u64,
}

/// Uploads segments as they come, one after the other. What is not brought to its end by [`Piece::Done`] leaves no
/// object: the source of the upload fails.
pub(crate) async fn upload_segments(
    bucket: SharedBucket,
    block: BlockId,
    receiver: mpsc::Receiver<Piece>,
) -> Result<Vec<UploadedSegment>, BlockError> {
    let pieces = Arc::new(Mutex::new(Pieces {
        receiver,
        pending: None,
        size_bytes: 0,
    }));
    let mut uploaded = Vec::new();
    loop {
        let begun = pieces.lock().await.begin().await;
        let name = match begun {
            Ok(Some(index)) => segment_name(index),
            Ok(None) => return Ok(uploaded),
            Err(error) => return Err(BlockError::new(block, layout::CHUNKS_DIR, error)),
        };
        let key = layout::segment_key(block, &name);
        let source = UploadSource::stream(segment_stream(Arc::clone(&pieces)));
        let sent = bucket.upload(&key, source).await;
        sent.map_err(|error| BlockError::new(block, format!("{}/{name}", layout::CHUNKS_DIR), error))?;
        let size_bytes = pieces.lock().await.size_bytes;
        uploaded.push(UploadedSegment { name, size_bytes });
    }
}

impl Pieces {
    /// The number of the next segment; `None` at the end of all.
    async fn begin(&mut self) -> io::Result<Option<u32>> {
        let piece = match self.pending.take() {
            Some(piece) => Some(piece),
            None => self.receiver.recv().await,
        };
        self.size_bytes = 0;
        match piece {
            Some(Piece::Begin(index)) => Ok(Some(index)),
            Some(Piece::Done) => Ok(None),
            Some(Piece::Data(_)) | None => Err(given_up()),
        }
    }

    /// The next bytes of the segment; `None` at its end.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.pending.is_some() {
            return None;
        }
        match self.receiver.recv().await {
            Some(Piece::Data(bytes)) => {
                self.size_bytes = self.size_bytes.saturating_add(bytes.len() as u64);
                Some(Ok(bytes))
            }
            Some(end) => {
                self.pending = Some(end);
                None
            }
            None => Some(Err(given_up())),
        }
    }
}

fn segment_stream(pieces: Arc<Mutex<Pieces>>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(pieces, |pieces| async move {
        let next = pieces.lock().await.next().await;
        next.map(|item| (item, pieces))
    })
}

fn given_up() -> io::Error {
    io::Error::other("the result was given up before its end")
}
