//! Several groups at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use sabre_model::BlockId;
use sabre_objstore::{Bucket, BucketExt, ListEntry, MemoryBucket, Operation};
use sabre_testkit::fault::FaultBucket;

use super::fixture::{Fixture, START_MS, counters};

mod at_once;

pub(super) const CLUSTERS: [&str; 4] = ["eu1", "us1", "asia1", "africa1"];

/// Five blocks of 2 h of each cluster.
pub(super) async fn put_clusters(bucket: &dyn Bucket) {
    for (at, cluster) in (0..).zip(CLUSTERS) {
        for n in 0..5_u64 {
            let hours = n as i64 * 2;
            let block = counters(at * 10 + n, hours, hours + 2, 2).ext_labels(&[("cluster", cluster)]);
            let block = block.build().unwrap();
            for (path, content) in &block.files {
                let key = format!("{}/{path}", block.meta.ulid);
                bucket.put(&key, content.clone()).await.unwrap();
            }
        }
    }
}

/// Index and segments of the blocks that compaction made, by their labels.
async fn made(fixture: &Fixture) -> BTreeMap<String, Vec<bytes::Bytes>> {
    let mut made = BTreeMap::new();
    for meta in fixture.blocks().await {
        if meta.compaction.level < 2 {
            continue;
        }
        let mut files = Vec::new();
        for entry in fixture
            .bucket
            .list_all(&meta.ulid.to_string(), true, 100)
            .await
            .unwrap()
        {
            let ListEntry::Object(object) = entry else {
                continue;
            };
            if !object.key.ends_with(".json") {
                files.push(fixture.bucket.get_all(&object.key, 1 << 30).await.unwrap());
            }
        }
        made.insert(format!("{:?}", meta.ext_labels()), files);
    }
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_at_once_make_what_one_after_the_other_makes_and_no_work_is_done_twice() {
    let mut results = Vec::new();
    for concurrency in [1, 3] {
        let faulty = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
        let mut fixture = Fixture::on(Arc::new(faulty.clone()));
        fixture.config.compact_concurrency = concurrency;
        put_clusters(&*fixture.bucket).await;
        let before = fixture.samples().await;
        faulty.heal();
        fixture.iterate().await.unwrap();
        assert!(fixture.metric("thanos_compact_group_compactions_total{resolution=\"0\"} 4"));
        let mut read: Vec<String> = faulty
            .requests()
            .into_iter()
            .filter(|request| request.operation == Operation::GetRange)
            .map(|request| request.key)
            .collect();
        read.sort();
        let requests = read.len();
        read.dedup();
        assert_eq!(
            (requests, read.len()),
            (32, 32),
            "index and segment of each of 16 sources once"
        );
        assert_eq!(fixture.samples().await, before);
        results.push((read, made(&fixture).await));
    }
    assert_eq!(results[0].1.len(), CLUSTERS.len());
    assert!(results[0] == results[1]);
}
