//! Whether a block has the files that its `meta.json` names.

use sabre_tsdb::meta::BlockMeta;

use super::{
    listing::BlockObjects,
    view::{IncompleteBlock, Resized},
};
use crate::layout::{CHUNKS_DIR, INDEX_FILE, META_FILE};

/// Compares the files of a block with its meta; `None` if all are there and of the right size, or not listed.
pub(super) fn check(meta: &BlockMeta, objects: &BlockObjects) -> Option<IncompleteBlock> {
    if !objects.is_listed {
        return None;
    }
    let mut found = IncompleteBlock::default();
    for file in needed(meta) {
        let is_noted = file == INDEX_FILE || !objects.has_more_segments;
        if objects.size_of(&file).is_none() && is_noted {
            found.missing.push(file);
        }
    }
    let files = meta.thanos.iter().flat_map(|thanos| &thanos.files);
    for file in files.filter(|file| file.size_bytes > 0) {
        let Some(listed_bytes) = objects.size_of(&file.rel_path) else {
            continue;
        };
        let expected_bytes = file.size_bytes.unsigned_abs();
        if listed_bytes != expected_bytes {
            found.resized.push(Resized {
                file: file.rel_path.clone(),
                expected_bytes,
                listed_bytes,
            });
        }
    }
    (found != IncompleteBlock::default()).then_some(found)
}

/// The files without which a block cannot be served: the index, and the segments that its meta names, in
/// `segment_files` or, where that is not written, in `files`.
fn needed(meta: &BlockMeta) -> Vec<String> {
    let mut needed = vec![INDEX_FILE.to_owned()];
    let Some(thanos) = &meta.thanos else { return needed };
    if thanos.segment_files.is_empty() {
        let others = |name: &&str| *name != INDEX_FILE && *name != META_FILE;
        let chunks = |name: &&str| name.starts_with(CHUNKS_DIR);
        let files = thanos.files.iter().map(|file| file.rel_path.as_str());
        needed.extend(files.filter(others).filter(chunks).map(str::to_owned));
    } else {
        needed.extend(
            thanos
                .segment_files
                .iter()
                .map(|name| format!("{CHUNKS_DIR}/{name}")),
        );
    }
    needed
}

#[cfg(test)]
mod tests {
    use sabre_objstore::ObjectMeta;
    use sabre_tsdb::meta::{File, ThanosMeta};

    use super::*;

    fn objects(files: &[(&str, u64)]) -> BlockObjects {
        let mut objects = BlockObjects::default();
        for &(file, size_bytes) in files {
            let object = ObjectMeta {
                key: String::new(),
                size_bytes,
                last_modified_ms: 1,
            };
            objects.add(file, &object);
        }
        objects
    }

    fn meta(segments: &[&str], files: &[(&str, i64)]) -> BlockMeta {
        let files = files.iter().map(|&(rel_path, size_bytes)| File {
            rel_path: rel_path.to_owned(),
            size_bytes,
            ..File::default()
        });
        let thanos = ThanosMeta {
            segment_files: segments.iter().map(|&name| name.to_owned()).collect(),
            files: files.collect(),
            ..ThanosMeta::default()
        };
        BlockMeta {
            thanos: Some(thanos),
            ..BlockMeta::default()
        }
    }

    #[test]
    fn a_missing_segment_is_found_by_either_list_of_names() {
        let there = objects(&[("chunks/000001", 5), ("index", 9), ("meta.json", 1)]);
        let files = [
            ("chunks/000001", 5),
            ("chunks/000002", 5),
            ("index", 9),
            ("meta.json", 0),
        ];
        for meta in [meta(&["000001", "000002"], &[]), meta(&[], &files)] {
            let found = check(&meta, &there).unwrap();
            assert_eq!(found.missing, ["chunks/000002"]);
            assert!(!found.is_servable());
        }
        assert_eq!(check(&meta(&["000001"], &files[..1]), &there), None);
    }

    #[test]
    fn the_index_is_needed_whatever_the_meta_says() {
        let found = check(&BlockMeta::default(), &objects(&[("meta.json", 1)])).unwrap();
        assert_eq!(found.missing, ["index"]);
    }

    #[test]
    fn another_size_is_reported_but_served() {
        let there = objects(&[("chunks/000001", 6), ("index", 9)]);
        let found = check(&meta(&["000001"], &[("chunks/000001", 5), ("index", 9)]), &there).unwrap();
        assert!(found.is_servable());
        assert_eq!(found.to_string(), "chunks/000001 has 6 bytes instead of 5");
    }

    #[test]
    fn what_was_not_listed_is_not_judged() {
        assert_eq!(check(&meta(&["000001"], &[]), &BlockObjects::default()), None);
        let mut many = objects(&[("index", 9)]);
        many.has_more_segments = true;
        assert_eq!(check(&meta(&["000001"], &[]), &many), None);
    }
}
