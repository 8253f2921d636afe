//! Code generated from `proto/*.proto`, checked in; `tests/generated.rs` keeps it up to date.
#![allow(
    missing_docs,
    unreachable_pub,
    rust_2018_idioms,
    missing_debug_implementations,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    clippy::large_futures,
    clippy::clone_on_ref_ptr,
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    rustdoc::bare_urls,
    reason = "generated code"
)]

/// StoreAPI, Rules, Targets, Metadata, Exemplars, Query and Status.
pub mod thanos {
    include!("generated/thanos.rs");

    /// What a component is and which services it offers.
    pub mod info {
        include!("generated/thanos.info.rs");
    }
}

/// What travels in the `hints` fields of StoreAPI.
pub mod hintspb {
    include!("generated/hintspb.rs");
}

/// Series as samples, shared by remote read and the Query service.
pub mod prometheus_copy {
    include!("generated/prometheus_copy.rs");
}

/// Prometheus' remote read.
pub mod prometheus {
    include!("generated/prometheus.rs");
}

/// The encoded `FileDescriptorSet` of everything in this module, imports included, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptors.bin");
