//! What is asked of a cluster, whatever engine it runs.

pub mod transport;
