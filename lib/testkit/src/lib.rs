//! Fakes, fault injection and golden data for tests.

#[cfg(feature = "full")]
pub mod blocks;
pub mod golden;
#[cfg(feature = "full")]
pub mod grpc;
#[cfg(feature = "full")]
pub mod series;
#[cfg(feature = "full")]
pub mod storeapi;
