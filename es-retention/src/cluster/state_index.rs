//! Records of snapshots for engines whose snapshots carry no metadata: one small document per snapshot.
//!
//! A record is written once its snapshot was begun, under the snapshot's own UUID. So it can never be taken for the record
//! of another snapshot of the same name; killed before it is written, the snapshot has none, and the index is
//! snapshotted anew before it is deleted.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{client::Client, error::CallError, record::Record, snapshots::Snapshot, transport::Method};

/// The name of the index.
pub const STATE_INDEX: &str = "sabre-es-retention";

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    found: bool,
    #[serde(rename = "_source", default)]
    source: Option<Record>,
}

impl Client {
    /// Writes the record of the snapshot that has this UUID.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn write_record(&self, snapshot_uuid: &str, record: &Record) -> Result<(), CallError> {
        let settings = json!({"number_of_shards": 1, "number_of_replicas": 1, "auto_expand_replicas": "0-1"});
        self.create_index(STATE_INDEX, &settings).await?;
        let path = [STATE_INDEX, self.engine.document_type(), snapshot_uuid];
        let request = self.request(Method::Put, &path).json(&json!(record));
        self.ask::<Value>(request).await.map(drop)
    }

    /// Adds the records to snapshots that have none, on engines whose snapshots carry none.
    ///
    /// # Errors
    /// As all questions; a record that is missing is no error.
    pub(crate) async fn add_records(&self, snapshots: &mut [Snapshot]) -> Result<(), CallError> {
        if self.engine.keeps_metadata() {
            return Ok(());
        }
        for snapshot in snapshots {
            if snapshot.record.is_some() || snapshot.uuid.is_empty() {
                continue;
            }
            let path = [STATE_INDEX, self.engine.document_type(), &snapshot.uuid];
            match self.ask::<Document>(self.request(Method::Get, &path)).await {
                Ok(document) => snapshot.record = document.source.filter(|_| document.found),
                Err(CallError::Refused { status: 404, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes the record of a snapshot that is gone, if there is one.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn delete_record(&self, snapshot_uuid: &str) -> Result<(), CallError> {
        if self.engine.keeps_metadata() || snapshot_uuid.is_empty() {
            return Ok(());
        }
        let path = [STATE_INDEX, self.engine.document_type(), snapshot_uuid];
        match self.ask::<Value>(self.request(Method::Delete, &path)).await {
            Ok(_) | Err(CallError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
