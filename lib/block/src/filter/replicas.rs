//! Replica labels, which offline deduplication takes out of the external labels.

use sabre_model::Labels;
use sabre_tsdb::meta::BlockMeta;

/// The value of the first replica label where no other label is left: a block must have one.
const DEDUPED: &str = "deduped";

/// Takes the replica labels out of a meta.
pub(super) fn remove(meta: &mut BlockMeta, replica_labels: &[String]) {
    let labels = meta.ext_labels().without(replica_labels);
    let labels = match replica_labels.first() {
        Some(first) if labels.is_empty() => Labels::default().with(first, DEDUPED),
        _ => labels,
    };
    meta.thanos.get_or_insert_default().labels = Some(labels);
}

#[cfg(test)]
mod tests {
    use sabre_tsdb::meta::ThanosMeta;

    use super::*;

    fn removed(pairs: &[(&str, &str)]) -> Labels {
        let mut meta = BlockMeta {
            thanos: Some(ThanosMeta {
                labels: Some(Labels::from_pairs(pairs.iter().copied()).unwrap()),
                ..ThanosMeta::default()
            }),
            ..BlockMeta::default()
        };
        remove(&mut meta, &["replica".to_owned(), "rule".to_owned()]);
        meta.ext_labels()
    }

    #[test]
    fn the_first_replica_label_stays_where_no_other_is_left() {
        let cluster = Labels::from_pairs([("cluster", "eu1")]).unwrap();
        assert_eq!(
            removed(&[("cluster", "eu1"), ("replica", "a"), ("rule", "b")]),
            cluster
        );
        let deduped = Labels::from_pairs([("replica", "deduped")]).unwrap();
        assert_eq!(removed(&[("replica", "a")]), deduped);
        assert_eq!(removed(&[]), deduped);
    }
}
