//! How a cluster is reached: who we are, and the connection.
//!
//! | name | what it is |
//! |---|---|
//! | [`AccessSettings`] | the `access:` part of the configuration as written |
//! | [`HttpTransport`] | a [`Transport`](crate::cluster::transport::Transport) over HTTP: one request, signed as it is sent |
//!
//! Who we are is said in one of five ways: not at all, with a name and a password, an API key, a bearer token, or a
//! signature of Amazon's, version 4. The last is what an endpoint of Amazon's gets when nothing else is set.
//!
//! No secret leaves this folder but in the request it is for: types that hold one do not show it in `Debug`, errors and logs
//! name keys and files only.

mod authentication;
mod credentials;
mod endpoint;
mod error;
mod http;
mod secret;
mod settings;
mod signature;
mod tls;

pub use error::AccessError;
pub use http::HttpTransport;
pub use secret::Secret;
pub use settings::{AccessSettings, AwsService, AwsSettings, BasicSettings, TlsSettings};
