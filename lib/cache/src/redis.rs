//! redis by its protocol, version 2.

mod client;
pub(crate) mod protocol;

pub use client::RedisClient;
