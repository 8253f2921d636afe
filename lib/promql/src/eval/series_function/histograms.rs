//! Changes, sums and means of native histograms over a range.

use std::sync::Arc;

use super::Input;
use crate::annotation::{Annotation, Annotations, HistogramOperation};
use crate::histogram::{self, Compactor, CounterResetHint, FloatHistogram, Layout, add, is_reset, sub};

/// The change between the first and the last histogram of the window, resets made up for; `None` if the histograms do
/// not go together. The window has at least two.
pub(super) fn histogram_change(
    input: &Input<'_>,
    is_counter: bool,
    compactor: &mut Compactor,
    annotations: &mut Annotations,
) -> Option<FloatHistogram> {
    let points = input.view.histograms;
    let [(_, first), middle @ .., (_, last)] = points else {
        return None;
    };
    let gauge = |h: &FloatHistogram| h.hint == CounterResetHint::Gauge;
    let (metric, pos) = (input.metric(), input.pos());
    let remarks = &mut *annotations;
    if is_counter && (gauge(first) || gauge(last)) {
        remarks.add(Annotation::native_not_counter(metric, pos));
    }
    let emptied;
    let mut previous: &FloatHistogram = first;
    if is_counter
        && let Some((_, second)) = points.get(1)
        && is_reset(second, first)
    {
        // The first one does not matter then, nor how its buckets are laid out.
        emptied = empty_like(second);
        previous = &emptied;
    }
    let custom = previous.layout.has_custom_buckets();
    let mixed = |annotations: &mut Annotations| {
        annotations.add(Annotation::mixed_exponential_custom(metric, pos));
        None
    };
    if last.layout.has_custom_buckets() != custom {
        return mixed(remarks);
    }
    let mut min_schema = last.layout.schema.min(previous.layout.schema);
    if is_counter {
        for (_, h) in middle {
            if gauge(h) {
                remarks.add(Annotation::native_not_counter(metric, pos));
            }
            if h.layout.has_custom_buckets() != custom {
                return mixed(remarks);
            }
            min_schema = min_schema.min(h.layout.schema);
        }
    }
    let mut change = histogram::in_schema(last, min_schema);
    let Ok(combined) = sub(&mut change, previous) else {
        return mixed(remarks);
    };
    if combined.bounds_reconciled {
        remarks.add(Annotation::bounds_reconciled(
            HistogramOperation::Subtraction,
            pos,
        ));
    }
    if is_counter {
        for (_, h) in points.iter().skip(1) {
            if is_reset(h, previous) {
                let Ok(combined) = add(&mut change, previous) else {
                    return mixed(remarks);
                };
                if combined.bounds_reconciled {
                    remarks.add(Annotation::bounds_reconciled(HistogramOperation::Addition, pos));
                }
            }
            previous = h;
        }
    } else if !gauge(first) || !gauge(last) {
        remarks.add(Annotation::native_not_gauge(metric, pos));
    }
    change.hint = CounterResetHint::Gauge;
    compactor.compact(&mut change);
    Some(change)
}

fn empty_like(h: &FloatHistogram) -> FloatHistogram {
    FloatHistogram {
        layout: Arc::new(Layout {
            schema: h.layout.schema,
            custom_bounds: h.layout.custom_bounds.clone(),
            ..Layout::default()
        }),
        ..FloatHistogram::default()
    }
}

/// The change between the last two samples, which are histograms.
pub(super) fn last_two_histograms(
    input: &Input<'_>,
    is_rate: bool,
    annotations: &mut Annotations,
) -> Option<FloatHistogram> {
    let [.., (_, previous), (_, last)] = input.view.histograms else {
        return None;
    };
    let (metric, pos) = (input.metric(), input.arguments.all_pos);
    let gauges = [last, previous].map(|h| h.hint == CounterResetHint::Gauge);
    if is_rate && gauges.contains(&true) {
        annotations.add(Annotation::native_not_counter(metric, pos));
    }
    if !is_rate && gauges.contains(&false) {
        annotations.add(Annotation::native_not_gauge(metric, pos));
    }
    let mut change = FloatHistogram::clone(last);
    if !is_rate || !is_reset(last, previous) {
        let Ok(combined) = sub(&mut change, previous) else {
            annotations.add(Annotation::mixed_exponential_custom(metric, pos));
            return None;
        };
        if combined.bounds_reconciled {
            annotations.add(Annotation::bounds_reconciled(
                HistogramOperation::Subtraction,
                pos,
            ));
        }
    }
    change.hint = CounterResetHint::Gauge;
    histogram::compact(&mut change);
    Some(change)
}

/// The sum of all histograms of the window, or their mean.
pub(super) fn total(input: &Input<'_>, mean: bool, annotations: &mut Annotations) -> Option<FloatHistogram> {
    let [(_, first), rest @ ..] = input.view.histograms else {
        return None;
    };
    let mut sum = FloatHistogram::clone(first);
    let (mut seen_reset, mut seen_no_reset, mut reconciled) = (false, false, false);
    for (_, h) in input.view.histograms {
        seen_reset |= h.hint == CounterResetHint::CounterReset;
        seen_no_reset |= h.hint == CounterResetHint::NotCounterReset;
    }
    for (i, (_, h)) in rest.iter().enumerate() {
        let added = if mean {
            histogram::add_to_mean(&mut sum, h, (i + 2) as f64)
        } else {
            add(&mut sum, h).map(|combined| combined.bounds_reconciled)
        };
        match added {
            Ok(was_reconciled) => reconciled |= was_reconciled,
            Err(_) => {
                annotations.add(Annotation::mixed_exponential_custom(input.metric(), input.pos()));
                return None;
            }
        }
    }
    if seen_reset && seen_no_reset {
        annotations.add(Annotation::reset_collision(
            HistogramOperation::Aggregation,
            input.pos(),
        ));
    }
    if reconciled {
        annotations.add(Annotation::bounds_reconciled(
            HistogramOperation::Aggregation,
            input.pos(),
        ));
    }
    Some(sum)
}
