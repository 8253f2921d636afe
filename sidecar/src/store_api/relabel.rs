//! From the labels Prometheus answers to those StoreAPI promises.
//!
//! Prometheus adds its external labels to remote read answers itself, unless a series has a label of that name. StoreAPI
//! wants the external label to win, and leaves out replica labels.

use std::collections::BTreeSet;

use sabre_model::Labels;

/// Turns labels of Prometheus into labels of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Relabeler {
    external_names: Vec<String>,
    /// External labels without the replica labels.
    added: Labels,
    removed: Vec<String>,
    greatest_added: Option<String>,
}

impl Relabeler {
    pub(crate) fn new(external: &Labels, without_replica_labels: &[String]) -> Relabeler {
        let added = external.without(without_replica_labels);
        Relabeler {
            external_names: external.iter().map(|(name, _)| name.to_string()).collect(),
            greatest_added: added.iter().last().map(|(name, _)| name.to_string()),
            added,
            removed: without_replica_labels.to_vec(),
        }
    }

    /// The labels as the TSDB has them, by which its series are sorted.
    pub(crate) fn stored(&self, answered: &Labels) -> Labels {
        answered.without(&self.external_names)
    }

    /// The labels of the answer.
    pub(crate) fn finish(&self, stored: &Labels) -> Labels {
        stored.without(&self.removed).overlaid(&self.added)
    }

    /// Whether a label of this name stands before one that is added.
    pub(crate) fn is_below_added(&self, name: &str) -> bool {
        self.greatest_added
            .as_deref()
            .is_some_and(|greatest| name < greatest)
    }

    /// Whether series may have labels that are replaced or removed: then their order may change anywhere.
    pub(crate) fn needs_sort(&self, stored_names: &BTreeSet<String>) -> bool {
        self.external_names
            .iter()
            .chain(&self.removed)
            .any(|name| stored_names.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
        Labels::from_pairs(pairs).unwrap()
    }

    #[test]
    fn external_labels_win_and_replica_labels_go() {
        let external = labels([("cluster", "eu1"), ("replica", "a")]);
        let relabeler = Relabeler::new(&external, &["replica".to_string()]);
        let stored = relabeler.stored(&labels([
            ("__name__", "up"),
            ("cluster", "other"),
            ("replica", "a"),
        ]));
        assert_eq!(stored, labels([("__name__", "up")]));
        assert_eq!(
            relabeler.finish(&stored),
            labels([("__name__", "up"), ("cluster", "eu1")])
        );
    }

    #[test]
    fn a_removed_external_label_is_not_among_those_that_reorder() {
        let external = labels([("cluster", "eu1"), ("replica", "a")]);
        let relabeler = Relabeler::new(&external, &["replica".to_string()]);
        assert!(relabeler.is_below_added("a") && !relabeler.is_below_added("d"));
    }

    #[test]
    fn a_label_that_is_replaced_or_removed_asks_for_a_sort() {
        let relabeler = Relabeler::new(&labels([("cluster", "eu1")]), &["pod".to_string()]);
        let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<BTreeSet<_>>();
        assert!(relabeler.needs_sort(&names(&["__name__", "pod"])));
        assert!(relabeler.needs_sort(&names(&["cluster"])));
        assert!(!relabeler.needs_sort(&names(&["__name__", "job"])));
    }
}
