//! The blocks that real Prometheus and Thanos wrote.

use std::{fs, path::PathBuf, sync::Arc};

use sabre_objstore::{Bucket, MemoryBucket};
use sabre_testkit::golden::golden;

use super::{
    super::*,
    fixture::{assert_equal, expected_header},
};
use crate::layout::{INDEX_FILE, block_of_dir, key};

const FOLDERS: [&str; 7] = [
    "raw/raw2h-a",
    "raw/raw2h-b",
    "raw/raw2d",
    "thanos/plain",
    "thanos/penalty",
    "thanos/chain",
    "thanos/long",
];

#[tokio::test]
async fn every_symbol_and_list_of_every_golden_block_is_found() {
    let Some(golden) = golden() else { return };
    let dirs: Vec<PathBuf> = FOLDERS
        .iter()
        .flat_map(|folder| golden.block_dirs(folder).unwrap())
        .collect();
    assert!(dirs.len() > 40, "{}", dirs.len());
    let bucket = Arc::new(MemoryBucket::new("golden"));
    let data_dir = tempfile::tempdir().unwrap();
    let pages = PageCache::new(4 << 20);
    let shared = Arc::<MemoryBucket>::clone(&bucket);
    let loader = HeaderLoader::new(
        shared,
        Some(data_dir.path().to_owned()),
        Arc::clone(&pages),
        HeaderOptions::default(),
    );
    for dir in dirs {
        let block = block_of_dir(dir.file_name().unwrap().to_str().unwrap()).unwrap();
        let index = fs::read(dir.join("index")).unwrap();
        bucket
            .put(&key(block, INDEX_FILE), Bytes::copy_from_slice(&index))
            .await
            .unwrap();
        let loaded = loader.load(block, Some(index.len() as u64)).await.unwrap();
        assert_eq!(
            fs::read(loader.path(block).unwrap()).unwrap(),
            expected_header(&index),
            "{block}"
        );
        assert_equal(&loaded.header, &index);
        bucket.delete(&key(block, INDEX_FILE)).await.unwrap();
    }
    assert!(pages.size_bytes() <= pages.capacity_bytes());
}
