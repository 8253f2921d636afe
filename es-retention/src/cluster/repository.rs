//! The snapshot repository.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{client::Client, error::CallError, transport::Method};

/// A registered repository.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Repository {
    /// `s3`, `fs`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Its settings, values mostly text.
    #[serde(default)]
    pub settings: serde_json::Map<String, Value>,
}

impl Repository {
    /// Whether nothing can be written to it.
    pub fn is_read_only(&self) -> bool {
        let setting = self.settings.get("readonly");
        setting.is_some_and(|value| value == "true" || value == &Value::Bool(true))
    }
}

impl Client {
    /// The repository of this name; `None` when there is none.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn repository(&self, name: &str) -> Result<Option<Repository>, CallError> {
        let request = self.request(Method::Get, &["_snapshot", name]);
        let found: Result<HashMap<String, Repository>, CallError> = self.ask(request).await;
        match found {
            Ok(mut found) => Ok(found.remove(name)),
            Err(error) if error.is("repository_missing_exception") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Registers a repository, or registers it anew with other settings.
    ///
    /// # Errors
    /// As all questions; the engine tries to write to it first.
    pub(crate) async fn put_repository(&self, name: &str, repository: &Repository) -> Result<(), CallError> {
        let body = json!({"type": repository.kind, "settings": repository.settings});
        let request = self.request(Method::Put, &["_snapshot", name]).json(&body);
        self.ask::<Value>(request).await.map(drop)
    }

    /// Lets every node write to and read from the repository, and says how many there are.
    ///
    /// # Errors
    /// As all questions; a repository that is gone or read-only.
    pub(crate) async fn verify_repository(&self, name: &str) -> Result<usize, CallError> {
        #[derive(Deserialize)]
        struct Verified {
            #[serde(default)]
            nodes: HashMap<String, serde::de::IgnoredAny>,
        }
        let request = self.request(Method::Post, &["_snapshot", name, "_verify"]);
        let verified: Verified = self.ask(request).await?;
        Ok(verified.nodes.len())
    }
}
