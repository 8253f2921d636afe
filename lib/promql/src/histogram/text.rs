//! Histograms as text.

use std::fmt::Write;

use super::{FloatHistogram, buckets};
use crate::go_text::format_g;

/// `{count:3, sum:4, (1,2]:3}`, as Prometheus prints them; empty buckets are left out.
pub fn to_text(h: &FloatHistogram) -> String {
    let mut text = format!("{{count:{}, sum:{}", format_g(h.count), format_g(h.sum));
    for bucket in buckets(h) {
        if bucket.count == 0.0 {
            continue;
        }
        let open = if bucket.lower_inclusive { '[' } else { '(' };
        let close = if bucket.upper_inclusive { ']' } else { ')' };
        let _ = write!(
            text,
            ", {open}{},{}{close}:{}",
            format_g(bucket.lower),
            format_g(bucket.upper),
            format_g(bucket.count)
        );
    }
    text.push('}');
    text
}
