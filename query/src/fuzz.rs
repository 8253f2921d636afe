//! Entry points for fuzzing: whatever a peer or a file may say.

use bytes::Bytes;

use crate::{discovery, endpoints::ClientOptions, fanout};

/// An answer of `Series`.
pub fn series_answer(data: &[u8]) {
    fanout::fuzz_answer(&Bytes::copy_from_slice(data));
}

/// Documents and files that name endpoints.
pub fn endpoint_documents(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    drop(discovery::parse_document(
        "document",
        &text,
        &ClientOptions::default(),
    ));
    drop(discovery::parse_targets("file", &text));
}
