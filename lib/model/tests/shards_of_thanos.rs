//! Series are cut into shards as Thanos cuts them: numbers that its own code gave.

use sabre_model::shard::Shard;

const SHARDS: i64 = 13;

type Series = &'static [(&'static str, &'static str)];

const SERIES: [Series; 4] = [
    &[("__name__", "up"), ("job", "api"), ("pod", "p1")],
    &[("__name__", "up"), ("job", "db"), ("pod", "p2")],
    &[("__name__", "odd"), ("a", "ünï 日本")],
    &[("a", "1"), ("zz", "")],
];

/// By these labels or without them, and the shard of each series.
const OF_THANOS: [(bool, &[&str], [i64; 4]); 6] = [
    (true, &[], [8, 8, 8, 8]),
    (true, &["job"], [3, 4, 8, 8]),
    (true, &["pod", "__name__"], [9, 12, 0, 8]),
    (false, &[], [9, 1, 4, 12]),
    (false, &["job"], [9, 12, 4, 12]),
    (false, &["pod", "__name__"], [3, 4, 10, 12]),
];

#[test]
fn each_series_is_in_the_shard_that_thanos_puts_it_in() {
    for (by, labels, shards) in OF_THANOS {
        for (series, wanted) in SERIES.into_iter().zip(shards) {
            let held_by = |index: &i64| {
                let labels = labels.iter().map(|&label| label.to_owned()).collect();
                let shard = Shard::new(*index, SHARDS, by, labels).unwrap();
                shard.holds(series.iter().copied(), &mut Vec::new())
            };
            let found: Vec<i64> = (0..SHARDS).filter(held_by).collect();
            assert_eq!(found, [wanted], "by {by} {labels:?}: {series:?}");
        }
    }
}
