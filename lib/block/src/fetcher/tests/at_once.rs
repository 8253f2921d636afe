//! How many requests are under way at once.

use std::time::Duration;

use sabre_objstore::Operation;
use sabre_testkit::fault::{Fault, Rule};

use super::fixture::{Fixture, NOW_MS, id};

#[tokio::test(start_paused = true)]
async fn as_many_metas_are_read_at_once_as_the_flag_says() {
    for concurrency in [1, 3] {
        let mut fixture = Fixture::new();
        fixture.options.concurrency = concurrency;
        for n in 1..=5 {
            fixture.add_block(id(n)).await;
        }
        fixture
            .bucket
            .add(Rule::next(Operation::Get, Fault::Hang).times(usize::MAX));
        let fetcher = fixture.fetcher();
        // Time passes when nothing is left that could go on.
        let sync = tokio::time::timeout(Duration::from_secs(1), fetcher.sync(NOW_MS));
        assert!(sync.await.is_err(), "no meta ever comes");
        assert_eq!(fixture.bucket.count(Operation::Get), concurrency);
    }
}
