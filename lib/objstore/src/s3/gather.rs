//! Streams held whole in memory, for servers that take no uploads by parts: the size must be known before the first
//! byte is sent. Nothing is written to a disk, so a root that is read-only and has no `/tmp` is enough.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream::BoxStream};

/// Why a stream cannot be had whole.
#[derive(Debug)]
pub(super) enum GatherError {
    /// The source failed.
    Source(io::Error),
    /// It has more bytes than may be held.
    TooLarge {
        /// The most that may be held.
        max_bytes: usize,
    },
}

/// Reads `source` to its end, at most `max_bytes`; a piece that would go beyond is not kept.
pub(super) async fn gather(
    mut source: BoxStream<'static, io::Result<Bytes>>,
    max_bytes: usize,
) -> Result<Bytes, GatherError> {
    let mut gathered = BytesMut::new();
    while let Some(piece) = source.next().await {
        let piece = piece.map_err(GatherError::Source)?;
        if piece.len() > max_bytes.saturating_sub(gathered.len()) {
            return Err(GatherError::TooLarge { max_bytes });
        }
        gathered.extend_from_slice(&piece);
    }
    Ok(gathered.freeze())
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, stream};

    use super::*;

    fn gathered(pieces: Vec<io::Result<Bytes>>, max_bytes: usize) -> Result<Bytes, GatherError> {
        gather(stream::iter(pieces).boxed(), max_bytes)
            .now_or_never()
            .unwrap()
    }

    fn piece(text: &'static str) -> io::Result<Bytes> {
        Ok(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn pieces_are_joined_up_to_the_last_byte_allowed() {
        assert_eq!(gathered(vec![], 0).unwrap(), "");
        assert_eq!(
            gathered(vec![piece("ab"), piece(""), piece("cd")], 4).unwrap(),
            "abcd"
        );
    }

    #[test]
    fn one_byte_more_is_refused_and_an_endless_source_ends() {
        let error = gathered(vec![piece("ab"), piece("cd")], 3).unwrap_err();
        assert!(matches!(error, GatherError::TooLarge { max_bytes: 3 }));
        let endless = stream::repeat_with(|| piece("ab")).boxed();
        let error = gather(endless, 1_001).now_or_never().unwrap().unwrap_err();
        assert!(matches!(error, GatherError::TooLarge { .. }));
    }

    #[test]
    fn a_broken_source_is_an_error() {
        let error = gathered(vec![piece("ab"), Err(io::Error::other("gone"))], 9).unwrap_err();
        assert!(matches!(error, GatherError::Source(error) if error.to_string() == "gone"));
    }
}
