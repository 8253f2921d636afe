//! Bodies of requests: bytes at hand, or a stretch of a file that is read while it is sent.

use std::{
    fs::File,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use aws_smithy_types::{base64, body::SdkBody, byte_stream::ByteStream};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use md5::{Digest, Md5};
use rustix::buffer::spare_capacity;
use tokio::task::{JoinHandle, spawn_blocking};

/// How much of a file is in memory at once, for each request under way.
const PIECE_BYTES: u64 = 256 << 10;

/// Below this a digest is faster than the way to another thread.
const SMALL_BYTES: usize = 64 << 10;

/// What a request sends, as often as it is tried.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Bytes(Bytes),
    File { file: Arc<File>, offset: u64, len: u64 },
}

impl Source {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// A body for one try.
    pub(super) fn body(&self) -> ByteStream {
        let body = match self {
            Self::Bytes(bytes) => SdkBody::from(bytes.clone()),
            Self::File { len: 0, .. } => SdkBody::empty(),
            Self::File { file, offset, len } => SdkBody::from_body_1_x(FileBody {
                file: Arc::clone(file),
                offset: *offset,
                left: *len,
                reading: None,
            }),
        };
        ByteStream::new(body)
    }

    /// The digest in the form of the header `Content-MD5`.
    pub(super) async fn md5(&self) -> io::Result<String> {
        match self {
            Self::Bytes(bytes) if bytes.len() <= SMALL_BYTES => Ok(base64::encode(Md5::digest(bytes))),
            source => {
                let source = source.clone();
                spawn_blocking(move || source.md5_blocking())
                    .await
                    .map_err(io::Error::other)?
            }
        }
    }

    fn md5_blocking(&self) -> io::Result<String> {
        let mut digest = Md5::new();
        match self {
            Self::Bytes(bytes) => digest.update(bytes),
            Self::File { file, offset, len } => {
                let mut done = 0;
                while done < *len {
                    let piece = read_piece(file, offset + done, PIECE_BYTES.min(len - done))?;
                    done += piece.len() as u64;
                    digest.update(&piece);
                }
            }
        }
        Ok(base64::encode(digest.finalize()))
    }
}

/// Reads `len` bytes, fewer only if the kernel prefers so, none never.
fn read_piece(file: &File, offset: u64, len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(len);
    rustix::io::retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut bytes), offset))?;
    bytes.truncate(len);
    if bytes.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file became shorter while it was read",
        ));
    }
    Ok(Bytes::from(bytes))
}

/// A stretch of a file as a body.
struct FileBody {
    file: Arc<File>,
    offset: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let (offset, len) = (this.offset, this.left.min(PIECE_BYTES));
        let reading = this.reading.get_or_insert_with(|| {
            let file = Arc::clone(&this.file);
            spawn_blocking(move || read_piece(&file, offset, len))
        });
        let piece = ready!(Pin::new(reading).poll(cx))
            .map_err(io::Error::other)
            .flatten();
        this.reading = None;
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                this.left = 0;
                return Poll::Ready(Some(Err(error)));
            }
        };
        let read = piece.len() as u64;
        this.offset += read;
        this.left -= read;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn a_stretch_of_a_file_is_sent_and_digested_as_its_bytes_are() {
        let content: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let file = Arc::new(file);
        for (offset, len) in [(0, 1_000_000), (5, 0), (123, 700_001), (999_999, 1)] {
            let source = Source::File {
                file: Arc::clone(&file),
                offset,
                len,
            };
            let range = usize::try_from(offset).unwrap()..usize::try_from(offset + len).unwrap();
            let expected = Bytes::copy_from_slice(&content[range]);
            let body = source.body();
            assert_eq!(body.size_hint().1, Some(len));
            assert!(body.collect().await.unwrap().into_bytes() == expected);
            assert_eq!(
                source.md5().await.unwrap(),
                Source::Bytes(expected).md5().await.unwrap()
            );
        }
        let source = Source::File {
            file,
            offset: 999_000,
            len: 2000,
        };
        assert!(source.body().collect().await.is_err());
        assert!(source.md5().await.is_err());
    }
}
