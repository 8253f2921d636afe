//! Keeps a cluster of log indices small: what grows old is snapshotted, what is safe in a snapshot is deleted.
//!
//! A run reads what there is ([`observe`]), makes a [`plan`], and does it ([`execute`]), looking again before each step. What
//! is remembered from day to day is in the metadata of snapshots and nowhere else.
//!
//! It refuses to delete an index unless a snapshot that was taken on an earlier day, read from the repository at that
//! moment, ended well and was taken of just what the index holds.

pub mod access;
pub mod cluster;
pub mod config;
pub mod execute;
pub mod exit;
mod findings;
pub mod flags;
#[doc(hidden)]
pub mod fuzz;
pub mod names;
pub mod observe;
pub mod output;
pub mod plan;
pub mod restore;
pub mod run;
pub mod schedule;
pub mod status;
#[cfg(test)]
mod testing;
