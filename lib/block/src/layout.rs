//! The names of a block's objects.

use sabre_model::BlockId;

/// What makes a directory a block; written last, deleted first.
pub const META_FILE: &str = "meta.json";
/// The index.
pub const INDEX_FILE: &str = "index";
/// The directory of the chunk segments.
pub const CHUNKS_DIR: &str = "chunks";
/// The local file a store keeps per block.
pub const INDEX_HEADER_FILE: &str = "index-header";

/// The key of `file` (a path inside the block, such as `chunks/000001`).
pub fn key(block: BlockId, file: &str) -> String {
    format!("{block}/{file}")
}

/// The key of the chunk segment called `name`.
pub fn segment_key(block: BlockId, name: &str) -> String {
    format!("{block}/{CHUNKS_DIR}/{name}")
}

/// Whether a file among the chunk segments is called as they are: by a number of six digits.
pub fn is_segment_name(name: &str) -> bool {
    name.len() == 6 && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// The block whose directory at the root of a bucket is called `name`, with or without a trailing "/".
///
/// Only the canonical, upper case spelling counts: keys are made from the id again.
pub fn block_of_dir(name: &str) -> Option<BlockId> {
    let name = name.strip_suffix('/').unwrap_or(name);
    let block = BlockId::parse(name).ok()?;
    (block.to_string() == name).then_some(block)
}

/// Splits a key into the block and the path inside it; `None` for what belongs to no block.
pub fn split_key(key: &str) -> Option<(BlockId, &str)> {
    let (dir, file) = key.split_once('/')?;
    Some((block_of_dir(dir)?, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01KE1Y3XTRWGF29YHY29V0RWTE";

    #[test]
    fn keys_split_into_what_they_were_made_of() {
        let block = BlockId::parse(ID).unwrap();
        assert_eq!(split_key(&key(block, META_FILE)), Some((block, "meta.json")));
        assert_eq!(
            split_key(&segment_key(block, "000001")),
            Some((block, "chunks/000001"))
        );
        assert_eq!(block_of_dir(&format!("{ID}/")), Some(block));
        assert!(is_segment_name("000001"));
        for other in ["", "1", "0000001", "000002.tmp", ".DS_Store", "00000x"] {
            assert!(!is_segment_name(other), "{other}");
        }
    }

    #[test]
    fn blocks_are_only_at_the_root_and_in_upper_case() {
        assert_eq!(split_key(&format!("debug/metas/{ID}.json")), None);
        assert_eq!(split_key(&format!("debug/{ID}/meta.json")), None);
        assert_eq!(split_key(&format!("{}/meta.json", ID.to_lowercase())), None);
        assert_eq!(split_key(&format!("{ID}x/meta.json")), None);
        assert_eq!(split_key(ID), None, "an object is not a directory");
    }
}
