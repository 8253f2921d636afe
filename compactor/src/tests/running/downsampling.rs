//! How many blocks are downsampled at once.

use std::collections::BTreeSet;
use std::time::Duration;

use sabre_testkit::fault::{Fault, Rule};

use super::*;

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
        faulty.heal();
        faulty.add(Rule::next(Operation::GetRange, Fault::Hang).times(usize::MAX));
        let compactor = fixture.compactor();
        // Time passes when nothing is left that could go on.
        let work = tokio::time::timeout(Duration::from_secs(1), compactor.iterate());
        assert!(work.await.is_err(), "no range is ever read");
        let read: BTreeSet<String> = faulty
            .requests()
            .into_iter()
            .filter(|request| request.operation == Operation::GetRange)
            .map(|request| request.key.split('/').next().unwrap().to_owned())
            .collect();
        assert_eq!(read.len(), concurrency, "{read:?}");
    }
}
