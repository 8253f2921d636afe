//! What is written down when a snapshot is taken, so that a later run knows what is in it.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The key of the record in the metadata of a snapshot.
const KEY: &str = "sabre";
/// Metadata may have 1,024 bytes in all; lists of sequence numbers longer than this are replaced by their hash.
const MAX_SEQ_NOS_BYTES: usize = 512;

/// What an index holds, so far as one can ask for it: equal contents are the same documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The UUID of the index: another one after it was deleted and made again.
    pub uuid: String,
    /// Documents in its primary shards.
    pub docs: u64,
    /// The greatest sequence number of each primary shard in the order of the shards, `12,-1,7`; `sha256:` and a hash
    /// of that text when it is long.
    pub seq: String,
}

/// The record of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The day of the run that took it.
    pub day: Date,
    /// The index.
    pub index: String,
    /// What the index held when the snapshot was about to begin; the snapshot holds that and maybe more.
    #[serde(flatten)]
    pub contents: Contents,
}

impl Contents {
    /// Puts the numbers of the shards together.
    pub(crate) fn new(uuid: String, docs: u64, greatest_seq_nos: &BTreeMap<u32, i64>) -> Self {
        let numbers: Vec<String> = greatest_seq_nos.values().map(i64::to_string).collect();
        let mut seq = numbers.join(",");
        if seq.len() > MAX_SEQ_NOS_BYTES {
            let digest = Sha256::digest(seq.as_bytes());
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            seq = format!("sha256:{hex}");
        }
        Self { uuid, docs, seq }
    }
}

impl Record {
    /// As the metadata of a snapshot.
    pub(crate) fn to_metadata(&self) -> Value {
        json!({ KEY: self })
    }

    /// Reads metadata; `None` for somebody else's.
    pub(crate) fn from_metadata(metadata: &Value) -> Option<Self> {
        Record::deserialize(metadata.get(KEY)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn record(shards: u32) -> Record {
        let numbers = (0..shards)
            .map(|shard| (shard, i64::MAX - i64::from(shard)))
            .collect();
        Record {
            day: date(2026, 1, 8),
            index: "logging-2026.01.01".to_owned(),
            contents: Contents::new("a".repeat(22), u64::MAX, &numbers),
        }
    }

    #[test]
    fn a_record_is_read_back_and_fits_whatever_the_number_of_shards() {
        for shards in [0, 1, 5, 25, 26, 1000] {
            let metadata = record(shards).to_metadata();
            assert!(metadata.to_string().len() < 1024 - 255, "{metadata}");
            assert_eq!(Record::from_metadata(&metadata), Some(record(shards)));
        }
        assert_eq!(
            record(2).to_metadata().to_string(),
            r#"{"sabre":{"day":"2026-01-08","index":"logging-2026.01.01","uuid":"aaaaaaaaaaaaaaaaaaaaaa","docs":18446744073709551615,"seq":"9223372036854775807,9223372036854775806"}}"#
        );
    }

    #[test]
    fn long_lists_that_differ_have_other_hashes() {
        let mut numbers: BTreeMap<u32, i64> = (0..1000).map(|shard| (shard, 7)).collect();
        let before = Contents::new("u".to_owned(), 1, &numbers);
        numbers.insert(999, 8);
        assert_ne!(Contents::new("u".to_owned(), 1, &numbers), before);
    }

    #[test]
    fn metadata_of_others_is_no_record() {
        for metadata in [
            Value::Null,
            json!({}),
            json!({"sabre": 1}),
            json!({"sabre": {"day": "2026-01-08"}}),
            json!({"sabre": {"day": "2026-13-08", "index": "a", "uuid": "b", "docs": 1, "seq": ""}}),
            json!({"taken_by": "policy"}),
        ] {
            assert_eq!(Record::from_metadata(&metadata), None, "{metadata}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_metadata_or_not(text in "\\PC{0,200}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let _ = Record::from_metadata(&value);
            }
        }
    }
}
