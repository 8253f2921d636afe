//! Entry points for fuzzing: each takes any bytes, and must neither panic nor take much memory.

use std::ops::ControlFlow;

use bytes::Bytes;
use sabre_model::BlockId;

use crate::index_header::{HeaderOptions, IndexHeader};

/// Opens the bytes as an index-header, and looks everything up that it says it has.
pub fn index_header(data: &[u8]) {
    let block = BlockId::from_parts(0, [0; 10]);
    let Ok(header) = IndexHeader::from_bytes(block, Bytes::copy_from_slice(data), HeaderOptions::default())
    else {
        return;
    };
    for reference in 0..data.len() {
        let _ = header.symbol(u32::try_from(reference).unwrap_or(u32::MAX));
    }
    for name in header.label_names() {
        let mut values = Vec::new();
        let _ = header.for_each_value(name, "", |value, _| {
            values.push(value.to_owned());
            ControlFlow::Continue(())
        });
        let _ = header.postings_ranges(name, values.iter().map(String::as_str));
    }
    let _ = header.all_postings_range();
}

/// Takes the bytes for a key of a bucket.
pub fn key(data: &[u8]) {
    if let Ok(key) = std::str::from_utf8(data) {
        let _ = crate::layout::split_key(key);
    }
}
