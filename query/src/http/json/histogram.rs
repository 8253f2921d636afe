//! Native histograms.

use sabre_promql::histogram::{Bucket, FloatHistogram, buckets};

use super::text;

/// Writes `{"count":"3","sum":"4","buckets":[[0,"1","2","3"]]}`; empty buckets are left out.
pub(super) fn histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    out.extend_from_slice(br#"{"count":"#);
    text::float(out, histogram.count);
    out.extend_from_slice(br#","sum":"#);
    text::float(out, histogram.sum);
    let mut any = false;
    for bucket in buckets(histogram) {
        if bucket.count == 0.0 {
            continue;
        }
        out.extend_from_slice(if any { b"," } else { br#","buckets":["# });
        any = true;
        write_bucket(out, bucket);
    }
    if any {
        out.push(b']');
    }
    out.push(b'}');
}

fn write_bucket(out: &mut Vec<u8>, bucket: Bucket) {
    let inclusive = match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => b'0',
        (true, false) => b'1',
        (false, false) => b'2',
        (true, true) => b'3',
    };
    out.extend_from_slice(&[b'[', inclusive]);
    for number in [bucket.lower, bucket.upper, bucket.count] {
        out.push(b',');
        text::float(out, number);
    }
    out.push(b']');
}
