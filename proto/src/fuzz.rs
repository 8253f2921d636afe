//! Entry points of the fuzz targets: each takes any bytes and must neither panic nor take unbounded memory.

use crate::convert;
use crate::remote_read::{FrameDecoder, decoded_bytes};
use crate::thanos::{LabelNamesRequest, LabelValuesRequest, SeriesRequest, SeriesResponse, info};
use bytes::Bytes;
use prost::Message;

const MAX_PAYLOAD_BYTES: usize = 64 << 10;

/// A streamed remote read answer; the first byte says in which pieces the rest arrives.
pub fn remote_read_stream(data: &[u8]) {
    let Some((piece_len, stream)) = data.split_first() else {
        return;
    };
    let mut decoder = FrameDecoder::new(MAX_PAYLOAD_BYTES);
    for piece in stream.chunks(usize::from(*piece_len) + 1) {
        decoder.push(Bytes::copy_from_slice(piece));
        while let Ok(Some(frame)) = decoder.next_frame() {
            for series in frame.clone().series().flatten() {
                let _ = series.decoded_bytes();
                let _ = series.decode();
            }
            let _ = frame.decode();
        }
    }
    let _ = decoder.finish();
    let _ = decoded_bytes(stream);
}

/// Requests of the StoreAPI and what they hold.
pub fn store_request(data: &[u8]) {
    if let Ok(request) = SeriesRequest::decode(data) {
        let _ = convert::matchers_from_wire(&request.matchers);
    }
    if let Ok(request) = LabelNamesRequest::decode(data) {
        let _ = convert::matchers_from_wire(&request.matchers);
    }
    let _ = LabelValuesRequest::decode(data);
}

/// Answers of other stores.
pub fn store_response(data: &[u8]) {
    let _ = SeriesResponse::decode(Bytes::copy_from_slice(data));
    if let Ok(info) = info::InfoResponse::decode(data) {
        for set in &info.label_sets {
            let _ = convert::labels_from_wire(&set.labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            remote_read_stream(&data);
            store_request(&data);
            store_response(&data);
        }
    }
}
