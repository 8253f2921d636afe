//! How a cluster is reached: who we are, and the connection.
//!
//! | name | what it is |
//! |---|---|
//! | `AccessSettings` | the `access:` part of the configuration as written: `serde`, `deny_unknown_fields`, `Default`, no secrets in `Debug` |
//! | `HttpTransport::new(endpoint, region, &settings)` | a [`Transport`](crate::cluster::transport::Transport); reads files, touches no network |
