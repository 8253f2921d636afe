//! The conformance suite on all buckets, and what S3 and its servers may do wrong.
//!
//! One program, because linking the SDK takes longer than running all of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod credentials;
mod embedded;
mod hedged;
mod local;
mod multipart;
mod tls;
mod wire;
