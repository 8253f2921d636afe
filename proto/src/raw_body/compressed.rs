//! Answers under zstd, for callers that speak it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tonic::Status;

use super::{FrameReceiver, frame_channel};

/// Flag and length of a message.
const HEADER_BYTES: usize = 5;

const STORED: u8 = 0;
const COMPRESSED: u8 = 1;

/// The fastest level that is worth it: chunks are dense already, labels are not.
const LEVEL: i32 = 1;

/// Shorter messages do not become smaller.
const MIN_BYTES: usize = 64;

/// Passes an answer on with its messages compressed, one buffer at a time on a thread that may be busy. When the reader
/// goes, so does the reader of `plain`.
pub(crate) fn compressed(mut plain: FrameReceiver) -> FrameReceiver {
    let (sender, receiver) = frame_channel(1);
    tokio::spawn(async move {
        let result = loop {
            let next = tokio::select! {
                () = sender.cancelled() => return,
                next = plain.recv() => next,
            };
            let frames = match next {
                None => break Ok(()),
                Some(Err(status)) => break Err(status),
                Some(Ok(frames)) => frames,
            };
            let packing = tokio::task::spawn_blocking(move || compress(frames));
            match packing.await {
                Ok(Ok(packed)) => {
                    if sender.send(packed).await.is_err() {
                        return;
                    }
                }
                Ok(Err(error)) => break Err(Status::internal(format!("compressing the answer: {error}"))),
                Err(error) => break Err(Status::internal(format!("compressing the answer: {error}"))),
            }
        };
        sender.finish(result);
    });
    receiver
}

/// The same messages, each compressed where that makes it smaller.
fn compress(mut frames: Bytes) -> std::io::Result<Bytes> {
    let broken = || std::io::Error::other("a buffer ends within a message");
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let mut out = BytesMut::with_capacity(frames.len());
    while !frames.is_empty() {
        if frames.len() < HEADER_BYTES {
            return Err(broken());
        }
        let flag = frames.get_u8();
        let len_bytes = frames.get_u32() as usize;
        if frames.len() < len_bytes {
            return Err(broken());
        }
        let message = frames.split_to(len_bytes);
        let packed = match flag == STORED && message.len() >= MIN_BYTES {
            true => Some(compressor.compress(&message)?).filter(|packed| packed.len() < message.len()),
            false => None,
        };
        match packed {
            Some(packed) => put(&mut out, COMPRESSED, &packed)?,
            None => put(&mut out, flag, &message)?,
        }
    }
    Ok(out.freeze())
}

fn put(out: &mut BytesMut, flag: u8, message: &[u8]) -> std::io::Result<()> {
    out.put_u8(flag);
    out.put_u32(u32::try_from(message.len()).map_err(std::io::Error::other)?);
    out.put_slice(message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(message: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        put(&mut out, STORED, message).unwrap();
        out.to_vec()
    }

    #[test]
    fn messages_become_smaller_or_stay_as_they_are() {
        let (long, short) = (vec![7; 10_000], b"short".to_vec());
        let both = [frame(&long), frame(&short)].concat();
        let mut packed = compress(both.into()).unwrap();
        assert_eq!(packed.get_u8(), COMPRESSED);
        let len = packed.get_u32() as usize;
        assert!(len < 100);
        let first = packed.split_to(len);
        assert_eq!(zstd::bulk::decompress(&first, 20_000).unwrap(), long);
        assert_eq!(packed, frame(&short));
    }

    #[test]
    fn a_buffer_that_is_cut_is_an_error() {
        let whole = frame(&[7; 100]);
        for len in 1..whole.len() {
            assert!(compress(Bytes::copy_from_slice(&whole[..len])).is_err(), "{len}");
        }
    }

    #[tokio::test]
    async fn order_and_status_stay() {
        let (sender, receiver) = frame_channel(1);
        let mut packed = compressed(receiver);
        for byte in 0..3 {
            sender.send(frame(&[byte; 10]).into()).await.unwrap();
            assert_eq!(packed.recv().await.unwrap().unwrap(), frame(&[byte; 10]));
        }
        sender.finish(Err(Status::aborted("bad block")));
        let status = packed.recv().await.unwrap().unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (tonic::Code::Aborted, "bad block")
        );
        assert!(packed.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_reader_that_goes_takes_the_producer_along() {
        let (sender, receiver) = frame_channel(1);
        drop(compressed(receiver));
        sender.cancelled().await;
    }
}
