//! The sidecar: ships Prometheus' blocks and answers StoreAPI from its remote read.
