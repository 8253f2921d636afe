//! The wire: StoreAPI and its peers, remote read, and how labels and matchers cross it.

mod generated;

pub use generated::{FILE_DESCRIPTOR_SET, hintspb, prometheus, prometheus_copy, thanos};
