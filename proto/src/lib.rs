//! The wire: StoreAPI and its peers, remote read, and how labels and matchers cross it.
//!
//! Messages, clients and servers are generated from `proto/*.proto` and checked in. Beside them stand the paths
//! that move many bytes and therefore do without messages: [`flat`] writes `Series` answers from slices,
//! [`StoreService`] sends them as they are, [`remote_read`] cuts Prometheus' streamed answers into slices.

mod chunk_parts;
pub mod convert;
mod deadline;
pub mod flat;
#[doc(hidden)]
pub mod fuzz;
mod generated;
pub mod hints;
pub mod raw_body;
pub mod remote_read;
mod store_service;
mod weight;

pub use deadline::deadline_of;
pub use generated::{FILE_DESCRIPTOR_SET, hintspb, prometheus, prometheus_copy, thanos};
pub use store_service::{DEFAULT_MAX_REQUEST_BYTES, Held, RawSeries, StoreService};
