//! What is wrong with the settings.

/// Why a cluster cannot be reached as the settings say, found without the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct AccessError {
    /// The key, with those around it: `access.tls.ca_file`.
    pub key: &'static str,
    /// What is wrong there. Names files, never a secret.
    pub problem: String,
}

impl AccessError {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "for map_err: errors and texts alike"
    )]
    pub(super) fn new(key: &'static str, problem: impl ToString) -> Self {
        Self {
            key,
            problem: problem.to_string(),
        }
    }
}
