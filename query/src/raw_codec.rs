//! Messages to peers as usual, answers as the bytes they are: what they would take is looked at before they are decoded.

use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use prost::Message;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Sends `Q`s and gets bytes.
#[derive(Debug)]
pub(crate) struct RawCodec<Q>(PhantomData<fn(Q)>);

#[derive(Debug)]
pub(crate) struct RawEncoder<Q>(PhantomData<fn(Q)>);

#[derive(Debug)]
pub(crate) struct RawDecoder;

impl<Q> RawCodec<Q> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Q: Message + 'static> Codec for RawCodec<Q> {
    type Encode = Q;
    type Decode = Bytes;
    type Encoder = RawEncoder<Q>;
    type Decoder = RawDecoder;

    fn encoder(&mut self) -> RawEncoder<Q> {
        RawEncoder(PhantomData)
    }

    fn decoder(&mut self) -> RawDecoder {
        RawDecoder
    }
}

impl<Q: Message> Encoder for RawEncoder<Q> {
    type Item = Q;
    type Error = Status;

    fn encode(&mut self, item: Q, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer)
            .map_err(|error| Status::internal(format!("the request cannot be written: {error}")))
    }
}

impl Decoder for RawDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
