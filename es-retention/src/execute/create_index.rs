//! Creates the index of tomorrow.

use serde_json::{Map, Value};

use super::{Job, Outcome};
use crate::cluster::CallError;

impl Job {
    /// Creates an index unless it is there. Shards and replicas are sent only where no template sets them.
    pub(super) async fn create_index(
        &self,
        name: &str,
        shards: u32,
        replicas: u32,
    ) -> Result<Outcome, CallError> {
        if self.client.index(name).await?.is_some() {
            return Ok(Outcome::Done("it is there".to_owned()));
        }
        let by_template = self.client.set_by_template(name).await?;
        let mut settings = Map::new();
        if !by_template.shards {
            settings.insert("number_of_shards".to_owned(), shards.into());
        }
        if !by_template.replicas {
            settings.insert("number_of_replicas".to_owned(), replicas.into());
        }
        let said: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let said = if said.is_empty() {
            "as templates have it".to_owned()
        } else {
            said.join(", ")
        };
        if self.client.create_index(name, &Value::Object(settings)).await? {
            Ok(Outcome::Done(format!("created, {said}")))
        } else {
            Ok(Outcome::Done("it is there".to_owned()))
        }
    }
}
