//! Keeps a cluster of log indices small: what grows old is snapshotted, what is safe in a snapshot is deleted.

pub mod access;
pub mod cluster;
