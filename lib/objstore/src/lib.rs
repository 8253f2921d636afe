//! Buckets: one trait, S3, filesystem and memory behind it.
//!
//! A [`Bucket`] is a flat map from keys to immutable-by-convention objects, listed like a file system. Every
//! implementation keeps the promises written at the trait; [`conformance`] checks them. What every caller wants on
//! top of the few required operations is in [`BucketExt`]; what is added around a bucket (a key prefix, metrics,
//! retries, deadlines) is in the decorators.
//!
//! This crate never reads more than it was asked for, never hands out a short answer as a whole one, and never
//! leaves half an object behind under its key.

mod aborts;
mod bucket;
pub mod config;
pub mod conformance;
mod deadline;
mod error;
mod ext;
mod filesystem;
#[doc(hidden)]
pub mod fuzz;
mod hedged;
pub mod key;
mod memory;
mod metered;
mod prefixed;
mod retry;
mod retrying;
mod s3;

pub use aborts::aborts_done;
pub use bucket::{
    Bucket, ByteSource, GetBody, ListEntry, ObjectMeta, PendingUpload, RangeBody, SharedBucket, UploadSource,
};
pub use deadline::{Deadlines, TimedOut};
pub use error::{Error, ErrorKind, Operation, Result};
pub use ext::BucketExt;
pub use filesystem::FilesystemBucket;
pub use hedged::{Hedged, hedged};
pub use memory::MemoryBucket;
pub use metered::Metered;
pub use prefixed::Prefixed;
pub use retry::RetryPolicy;
pub use retrying::Retrying;
