//! Label sets of results.

use sabre_model::Labels;
use sabre_model::selector::METRIC_NAME;

/// The labels that tell what a metric is; a result that is another quantity does not have them.
const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// The set without name, type and unit of the metric.
pub(crate) fn without_metadata(labels: &Labels) -> Labels {
    labels.without(&METADATA)
}

/// The labels of the set that are among `names`.
pub(crate) fn keep(labels: &Labels, names: &[String]) -> Labels {
    let kept = labels.iter().filter(|(name, _)| names.iter().any(|n| n == name));
    Labels::from_sorted(kept).unwrap_or_default()
}

/// The labels of the set that are not among `names`, nor the metric's name.
pub(crate) fn without(labels: &Labels, names: &[String]) -> Labels {
    let kept = labels
        .iter()
        .filter(|(name, _)| *name != METRIC_NAME && !names.iter().any(|n| n == name));
    Labels::from_sorted(kept).unwrap_or_default()
}

/// The set with a label set, or removed where the value is empty.
pub(crate) fn with(labels: &Labels, name: &str, value: &str) -> Labels {
    if value.is_empty() {
        return labels.without(&[name]);
    }
    labels.with(name, value)
}

/// The name of the metric.
pub(crate) fn metric_name(labels: &Labels) -> &str {
    labels.get(METRIC_NAME).unwrap_or("")
}
