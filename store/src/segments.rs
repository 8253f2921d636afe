//! Which file a chunk reference means by the number of a segment.
//!
//! Segments are called by their numbers: `000001`, `000002` and so on. The listing of the bucket and meta.json both name
//! them, and neither is believed where it would make a number mean another file.

use sabre_block::{BlockError, layout};
use sabre_model::BlockId;
use sabre_objstore::{Bucket, ListEntry, SharedBucket};
use sabre_tsdb::segment::segment_name;

use futures::StreamExt;

/// Most segments of a block; more than an index can refer to.
const MAX_SEGMENTS: usize = 8192;

/// What is known of the segments of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segments {
    /// Their names, in the order that chunk references count them.
    Known(Vec<String>),
    /// Nothing: they are to be listed.
    Unknown,
    /// What is known makes no sense.
    Doubtful(String),
}

impl Segments {
    /// From what meta.json names and what a listing of the bucket has, if there was one.
    pub(crate) fn new(named: Vec<String>, listed: Option<Vec<String>>) -> Self {
        // What somebody left beside the segments is none of them, and no reason to doubt those.
        let listed = listed.map(|mut names| {
            names.retain(|name| layout::is_segment_name(name));
            names
        });
        let named = Some(named).filter(|named| !named.is_empty() && is_sequence(named));
        match (named, listed) {
            (Some(named), None) => Self::Known(named),
            (None, None) => Self::Unknown,
            // The longer one: if a file is missing, whoever needs it is told its name.
            (Some(named), Some(listed)) if !is_sequence(&listed) || named.len() > listed.len() => {
                Self::Known(named)
            }
            (_, Some(listed)) if is_sequence(&listed) => Self::Known(listed),
            (_, Some(listed)) => {
                let (some, count) = (listed.first().map_or("", String::as_str), listed.len());
                let last = segment_name(u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX));
                Self::Doubtful(format!(
                    "has {count} files, {some:?} first, where 000001 to {last} were expected: one is missing, \
                     or there is one that is no segment"
                ))
            }
        }
    }

    /// The names; lists the bucket if need be.
    pub(crate) async fn names(
        &self,
        bucket: &SharedBucket,
        block: BlockId,
    ) -> Result<Vec<String>, BlockError> {
        let listed;
        let known = match self {
            Self::Unknown => {
                listed = Self::new(Vec::new(), Some(list(bucket, block).await?));
                &listed
            }
            known => known,
        };
        match known {
            Self::Known(names) => Ok(names.clone()),
            Self::Doubtful(what) => Err(BlockError::invalid(block, layout::CHUNKS_DIR, what.as_str())),
            Self::Unknown => Ok(Vec::new()),
        }
    }
}

/// Whether these are the names of the first so many segments.
fn is_sequence(names: &[String]) -> bool {
    names.len() <= MAX_SEGMENTS
        && (0..)
            .zip(names)
            .all(|(number, name)| *name == segment_name(number))
}

async fn list(bucket: &SharedBucket, block: BlockId) -> Result<Vec<String>, BlockError> {
    let fail = |error: sabre_objstore::Error| BlockError::new(block, layout::CHUNKS_DIR, error);
    let prefix = layout::key(block, layout::CHUNKS_DIR);
    let mut entries = bucket.list(&prefix, false).await.map_err(fail)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next().await {
        if let ListEntry::Object(object) = entry.map_err(fail)?
            && let Some((_, name)) = object.key.rsplit_once('/')
            && layout::is_segment_name(name)
            && names.len() <= MAX_SEGMENTS
        {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_lying_meta_makes_no_number_mean_another_file() {
        let two = || names(&["000001", "000002"]);
        for lie in [
            &["000002", "000001"][..],
            &["000002"],
            &["000001"],
            &["../../other/chunks/000001", "000002"],
            &["000001", "000001"],
            &[],
        ] {
            let lie = names(lie);
            assert_eq!(Segments::new(lie.clone(), Some(two())), Segments::Known(two()));
            let alone = Segments::new(lie.clone(), None);
            assert!(
                alone == Segments::Unknown || lie == ["000001"],
                "{lie:?}: {alone:?}"
            );
        }
        assert_eq!(Segments::new(two(), None), Segments::Known(two()));
        let many = (0..=MAX_SEGMENTS as u32).map(segment_name).collect();
        assert_eq!(Segments::new(many, Some(two())), Segments::Known(two()));
    }

    #[test]
    fn what_lies_beside_the_segments_is_none_of_them() {
        let listed = names(&["", ".DS_Store", "000001", "000002", "000002.tmp", "0000003"]);
        let known = Segments::Known(names(&["000001", "000002"]));
        assert_eq!(Segments::new(Vec::new(), Some(listed)), known);
    }

    #[tokio::test]
    async fn a_listing_leaves_out_what_is_no_segment() {
        let bucket: SharedBucket = std::sync::Arc::new(sabre_objstore::MemoryBucket::new("test"));
        let block = BlockId::from_parts(1, [1; 10]);
        for name in ["000001", "000001.tmp", ".DS_Store"] {
            let key = layout::segment_key(block, name);
            bucket.put(&key, "x".into()).await.unwrap();
        }
        let found = Segments::Unknown.names(&bucket, block).await.unwrap();
        assert_eq!(found, ["000001"]);
    }

    #[test]
    fn a_segment_that_is_missing_is_not_replaced_by_the_next_one() {
        let (three, without_first) = (
            names(&["000001", "000002", "000003"]),
            names(&["000002", "000003"]),
        );
        let known = Segments::Known(three.clone());
        assert_eq!(Segments::new(three.clone(), Some(without_first.clone())), known);
        assert_eq!(Segments::new(three, Some(names(&["000001", "000002"]))), known);
        let Segments::Doubtful(what) = Segments::new(Vec::new(), Some(without_first)) else {
            panic!("nothing says what the first segment is");
        };
        assert!(
            what.contains("\"000002\" first") && what.contains("000001 to 000002"),
            "{what}"
        );
    }
}
