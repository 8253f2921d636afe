//! A StoreAPI client that drops frames undecoded, so that it costs little beside the server.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::{Buf, BufMut};
use prost::Message;
use sabre_proto::thanos::SeriesRequest;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

/// How one call went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Call {
    pub(crate) took: Duration,
    pub(crate) first_frame: Duration,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// Requests as encoded protobuf; answers as their lengths.
#[derive(Clone, Copy, Debug, Default)]
struct Lengths;

impl Codec for Lengths {
    type Encode = Vec<u8>;
    type Decode = u64;
    type Encoder = Lengths;
    type Decoder = Lengths;

    fn encoder(&mut self) -> Lengths {
        Lengths
    }

    fn decoder(&mut self) -> Lengths {
        Lengths
    }
}

impl Encoder for Lengths {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Lengths {
    type Item = u64;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<u64>, Status> {
        let length = buffer.remaining();
        buffer.advance(length);
        Ok(Some(length as u64))
    }
}

/// A connection.
pub(crate) async fn connect(address: &str, frame_bytes: u32) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .max_frame_size(frame_bytes)
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20);
    endpoint
        .connect()
        .await
        .with_context(|| format!("connect to {address}"))
}

/// Calls Series and reads the answer to its end.
pub(crate) async fn call(channel: &Channel, request: &SeriesRequest) -> Result<Call> {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(usize::MAX);
    client.ready().await?;
    let path = http::uri::PathAndQuery::from_static("/thanos.Store/Series");
    let start = Instant::now();
    let mut call = Call::default();
    let mut stream = client
        .server_streaming(tonic::Request::new(request.encode_to_vec()), path, Lengths)
        .await?
        .into_inner();
    while let Some(length) = stream.message().await? {
        if call.messages == 0 {
            call.first_frame = start.elapsed();
        }
        call.messages += 1;
        call.bytes += length;
    }
    call.took = start.elapsed();
    Ok(call)
}
