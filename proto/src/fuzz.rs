//! Entry points of the fuzz targets: each takes any bytes and must neither panic nor take unbounded memory.

use crate::hintspb::{LabelNamesRequestHints, LabelValuesRequestHints, SeriesRequestHints};
use crate::remote_read::{FrameDecoder, decoded_bytes};
use crate::thanos::{
    LabelMatcher, LabelNamesRequest, LabelValuesRequest, SeriesRequest, SeriesResponse, info,
};
use crate::weight::{self, Shape};
use crate::{convert, hints};
use bytes::Bytes;
use prost::Message;
use sabre_model::shard::Shard;

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

/// Requests of the StoreAPI and what they hold; none takes more than it weighed before it was decoded.
pub fn store_request(data: &[u8]) {
    if let Ok(request) = SeriesRequest::decode(data) {
        let texts = request.without_replica_labels.len()
            + request.shard_info.as_ref().map_or(0, |shard| shard.labels.len());
        check_weight(&weight::SERIES_REQUEST, data, (&request.matchers, texts));
        let _ = hints::unpack_optional::<SeriesRequestHints>(request.hints.as_ref())
            .map(|hints| hints.map(|hints| convert::matchers_from_wire(&hints.block_matchers)));
        let shard = request.shard_info.unwrap_or_default();
        let shard = Shard::new(shard.shard_index, shard.total_shards, shard.by, shard.labels);
        let _ = shard.map(|shard| shard.holds([("a", "b")], &mut Vec::new()));
    }
    if let Ok(request) = LabelNamesRequest::decode(data) {
        let texts = request.without_replica_labels.len();
        check_weight(&weight::LABEL_NAMES_REQUEST, data, (&request.matchers, texts));
        let _ = hints::unpack_optional::<LabelNamesRequestHints>(request.hints.as_ref());
    }
    if let Ok(request) = LabelValuesRequest::decode(data) {
        let texts = request.without_replica_labels.len();
        check_weight(&weight::LABEL_VALUES_REQUEST, data, (&request.matchers, texts));
        let _ = hints::unpack_optional::<LabelValuesRequestHints>(request.hints.as_ref());
    }
}

fn check_weight(shape: &Shape, data: &[u8], (matchers, texts): (&Vec<LabelMatcher>, usize)) {
    let _ = convert::matchers_from_wire(matchers);
    let least = matchers.capacity() * size_of::<LabelMatcher>() + texts * size_of::<String>();
    let weight = shape
        .weigh(data)
        .unwrap_or_else(|| panic!("what decodes has a weight"));
    // Of the first few a list makes more room than they take.
    assert!(
        weight + 4 * size_of::<LabelMatcher>() >= least,
        "{weight} for {least}"
    );
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

    #[test]
    fn many_empty_fields_weigh_what_they_take() {
        // Fields 3, 7, 8, 13 and 14 of this length: matchers and lists of texts of the three requests.
        for field in [3u8, 6, 7, 8, 14] {
            store_request(&[field << 3 | 2, 0].repeat(10_000));
            store_request(&[field << 3 | 2, 4, 0x0a, 0, 0x12, 0].repeat(10_000));
        }
        // Bytes within hints that are no message.
        for field in [9u8, 5, 6] {
            let hints = [field << 3 | 2, 3, 0x12, 1, 0xff];
            store_request(&hints);
            store_request(&[hints.as_slice(), &[3 << 3 | 2, 0].repeat(10_000)].concat());
        }
        store_request(&[[13 << 3 | 2, 100].as_slice(), &[4 << 3 | 2, 0].repeat(50)].concat());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            remote_read_stream(&data);
            store_request(&data);
            store_response(&data);
        }
    }
}
