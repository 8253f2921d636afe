//! What is asked of a cluster, whatever engine it runs.
//!
//! [`transport`] sends one request. [`Client`] knows which questions may be asked twice. The other modules each know one
//! kind of thing: [`indices`], [`snapshots`], [`repository`], [`templates`], [`health`]; every answer is read into a type of
//! its own, so that nothing above depends on the words of one engine.

pub mod client;
mod contents;
pub mod engine;
pub mod error;
pub mod health;
pub mod indices;
pub mod record;
pub mod repository;
pub mod snapshots;
pub mod state_index;
pub mod templates;
#[cfg(test)]
mod tests;
pub mod transport;

pub use client::{Client, Patience};
pub use engine::{Engine, Flavor};
pub use error::CallError;

pub(crate) use contents::fuzz as fuzz_contents;
