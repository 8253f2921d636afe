//! The on-disk formats of a Prometheus block, read and written as bytes.
