//! How many groups are compacted at once, and how many blocks are downsampled.

use std::collections::BTreeSet;
use std::time::Duration;

use sabre_testkit::fault::{Fault, Rule};

use super::*;

/// The blocks of which ranges are read before nothing can go on, because no range is ever answered.
async fn read_at_once(fixture: &Fixture, faulty: &FaultBucket) -> BTreeSet<BlockId> {
    faulty.heal();
    faulty.add(Rule::next(Operation::GetRange, Fault::Hang).times(usize::MAX));
    let compactor = fixture.compactor();
    // Time passes when nothing is left that could go on.
    let work = tokio::time::timeout(Duration::from_secs(1), compactor.iterate());
    assert!(work.await.is_err(), "no range is ever read");
    let requests = faulty.requests().into_iter();
    let ranges = requests.filter(|request| request.operation == Operation::GetRange);
    ranges
        .map(|request| request.key.split('/').next().unwrap().parse().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn as_many_groups_are_compacted_at_once_as_the_flag_says() {
    for concurrency in [1, 3] {
        let faulty = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
        let mut fixture = Fixture::on(Arc::new(faulty.clone()));
        fixture.config.compact_concurrency = concurrency;
        put_clusters(&*fixture.bucket).await;
        let read = read_at_once(&fixture, &faulty).await;
        let groups: BTreeSet<u64> = read
            .iter()
            .map(|id| (id.time_ms() as u64 - START_MS as u64) / 10)
            .collect();
        assert_eq!(groups.len(), concurrency, "{groups:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_blocks_are_downsampled_at_once_as_the_flag_says() {
    for concurrency in [1, 3] {
        let faulty = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
        let mut fixture = Fixture::on(Arc::new(faulty.clone()));
        fixture.config.downsample_concurrency = concurrency;
        for (n, cluster) in (0..).zip(CLUSTERS) {
            // Of a length at which nothing is compacted any more.
            let block = counters(n, 0, 14 * 24, 1).ext_labels(&[("cluster", cluster)]);
            fixture.put(&block.build().unwrap()).await;
        }
        let read = read_at_once(&fixture, &faulty).await;
        assert_eq!(read.len(), concurrency, "{read:?}");
    }
}
