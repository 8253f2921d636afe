//! Fakes, fault injection and golden data for tests.

#[cfg(feature = "answers")]
pub mod answers;
#[cfg(feature = "full")]
pub mod aws;
#[cfg(feature = "full")]
pub mod blocks;
#[cfg(feature = "full")]
pub mod cache_server;
#[cfg(feature = "full")]
pub mod fault;
pub mod golden;
#[cfg(feature = "full")]
pub mod grpc;
#[cfg(feature = "full")]
pub mod name_server;
#[cfg(feature = "full")]
pub mod prometheus;
#[cfg(feature = "full")]
pub mod s3;
#[cfg(feature = "full")]
pub mod series;
pub mod settings;
#[cfg(feature = "full")]
pub mod storeapi;
#[cfg(feature = "full")]
pub mod time;
