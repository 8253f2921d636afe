//! The layout in front of the samples.

use super::SECTION;
use crate::bits::{
    BitReader, BitWriter, read_varbit_int, read_varbit_uint, write_varbit_int, write_varbit_uint,
};
use crate::error::Corruption;
use crate::histogram::{Layout, Span};

/// Powers of two from 2^-243 to 2^10 take one byte: the biased exponent of the float less this.
const FIRST_EXPONENT: u64 = 1023 - 244;
/// The byte before a threshold that is written in full.
const FULL_THRESHOLD: u8 = 255;
/// The fewest bits of a span, and of a bound: bounds what a broken count can make us allocate.
const MIN_SPAN_BITS: usize = 2;
const MIN_BOUND_BITS: usize = 5;
/// The greatest bound in thousandths that is written as an integer.
const MAX_THOUSANDTHS: f64 = 33_554_430.0;

pub(super) fn read_layout(reader: &mut BitReader<'_>) -> Result<Layout, Corruption> {
    let zero_threshold = read_threshold(reader);
    let schema = narrow(reader, "schema", read_varbit_int)?;
    let positive_spans = read_spans(reader)?;
    let negative_spans = read_spans(reader)?;
    let mut layout = Layout {
        schema,
        zero_threshold,
        positive_spans,
        negative_spans,
        custom_bounds: Vec::new(),
    };
    if layout.has_custom_buckets() {
        layout.custom_bounds = read_bounds(reader)?;
    }
    reader.check()?;
    Ok(layout)
}

pub(super) fn write_layout(writer: &mut BitWriter, layout: &Layout) {
    write_threshold(writer, layout.zero_threshold);
    write_varbit_int(writer, i64::from(layout.schema));
    write_spans(writer, &layout.positive_spans);
    write_spans(writer, &layout.negative_spans);
    if layout.has_custom_buckets() {
        write_varbit_uint(writer, layout.custom_bounds.len() as u64);
        for &bound in &layout.custom_bounds {
            write_bound(writer, bound);
        }
    }
}

fn read_threshold(reader: &mut BitReader<'_>) -> f64 {
    match reader.read(8) as u8 {
        0 => 0.0,
        FULL_THRESHOLD => f64::from_bits(reader.read(64)),
        byte => f64::from_bits((u64::from(byte) + FIRST_EXPONENT) << 52),
    }
}

fn write_threshold(writer: &mut BitWriter, threshold: f64) {
    if threshold == 0.0 {
        writer.write(0, 8);
        return;
    }
    match threshold_byte(threshold) {
        Some(byte) => writer.write(byte, 8),
        None => {
            writer.write(u64::from(FULL_THRESHOLD), 8);
            writer.write(threshold.to_bits(), 64);
        }
    }
}

/// The byte of a threshold that is a positive power of two, neither too small nor too great.
fn threshold_byte(threshold: f64) -> Option<u64> {
    let bits = threshold.to_bits();
    let mantissa = bits & ((1 << 52) - 1);
    let byte = (bits >> 52).checked_sub(FIRST_EXPONENT)?;
    (mantissa == 0 && (1..u64::from(FULL_THRESHOLD)).contains(&byte)).then_some(byte)
}

fn read_spans(reader: &mut BitReader<'_>) -> Result<Vec<Span>, Corruption> {
    let count = read_count(reader, "spans", MIN_SPAN_BITS)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let length = narrow(reader, "span length", read_varbit_uint)?;
        let offset = narrow(reader, "span offset", read_varbit_int)?;
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

fn write_spans(writer: &mut BitWriter, spans: &[Span]) {
    write_varbit_uint(writer, spans.len() as u64);
    for span in spans {
        write_varbit_uint(writer, u64::from(span.length));
        write_varbit_int(writer, i64::from(span.offset));
    }
}

fn read_bounds(reader: &mut BitReader<'_>) -> Result<Vec<f64>, Corruption> {
    let count = read_count(reader, "custom bounds", MIN_BOUND_BITS)?;
    let mut bounds = Vec::with_capacity(count);
    for _ in 0..count {
        bounds.push(match read_varbit_uint(reader) {
            0 => f64::from_bits(reader.read(64)),
            thousandths => (thousandths - 1) as f64 / 1000.0,
        });
    }
    Ok(bounds)
}

fn write_bound(writer: &mut BitWriter, bound: f64) {
    let thousandths = bound * 1000.0;
    let rounded = thousandths.round();
    if (0.0..=MAX_THOUSANDTHS).contains(&thousandths) && rounded / 1000.0 == bound {
        write_varbit_uint(writer, rounded as u64 + 1);
    } else {
        write_varbit_uint(writer, 0);
        writer.write(bound.to_bits(), 64);
    }
}

/// Reads how many things follow that take `min_bits` each at least.
fn read_count(reader: &mut BitReader<'_>, what: &str, min_bits: usize) -> Result<usize, Corruption> {
    let count = read_varbit_uint(reader);
    let room = reader.remaining() / min_bits;
    match usize::try_from(count) {
        Ok(count) if count <= room => Ok(count),
        _ => Err(reader.corruption(format!("{count} {what} announced, there is room for {room}"))),
    }
}

/// Reads a number that has to fit `T`.
fn narrow<V, T>(
    reader: &mut BitReader<'_>,
    what: &str,
    read: impl FnOnce(&mut BitReader<'_>) -> V,
) -> Result<T, Corruption>
where
    V: Copy + std::fmt::Display,
    T: TryFrom<V>,
{
    let value = read(reader);
    T::try_from(value).map_err(|_| reader.corruption(format!("{what} {value} is out of range")))
}

/// Says that `announced` buckets cannot be there.
pub(super) fn too_many_buckets(announced: u64, room: usize) -> Corruption {
    Corruption::at(
        SECTION,
        super::HEADER_BYTES as u64,
        format!("{announced} buckets announced, there is room for {room}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::CUSTOM_BUCKETS_SCHEMA;

    fn written(write: impl FnOnce(&mut BitWriter)) -> Vec<u8> {
        let mut writer = BitWriter::new(Vec::new());
        write(&mut writer);
        writer.finish()
    }

    #[test]
    fn thresholds_that_are_powers_of_two_take_a_byte() {
        let ends = [
            (2f64.powi(-243), 1),
            (2f64.powi(10), 254),
            (2f64.powi(-128), 0x74),
            (0.0, 0),
        ];
        for (threshold, byte) in ends {
            assert_eq!(written(|w| write_threshold(w, threshold)), [byte], "{threshold}");
        }
        for threshold in [
            2f64.powi(-244),
            2f64.powi(11),
            0.001,
            -0.5,
            f64::INFINITY,
            f64::NAN,
            5e-324,
        ] {
            let bytes = written(|w| write_threshold(w, threshold));
            assert_eq!((bytes.len(), bytes[0]), (9, 255), "{threshold}");
        }
    }

    #[test]
    fn thresholds_round_trip() {
        for byte in 0..255u8 {
            let threshold = read_threshold(&mut BitReader::new("test", &[byte], 0));
            assert_eq!(written(|w| write_threshold(w, threshold)), [byte]);
        }
        for threshold in [0.001, -0.5, f64::MAX, 5e-324] {
            let bytes = written(|w| write_threshold(w, threshold));
            assert_eq!(read_threshold(&mut BitReader::new("test", &bytes, 0)), threshold);
        }
    }

    #[test]
    fn bounds_in_thousandths_are_integers_and_all_others_floats() {
        let short = [0.0, 0.25, 0.001, 1.0, 33_554.43, 0.1, 2.675];
        let long = [1.0 / 3.0, -1.0, 33_554.431, f64::INFINITY, f64::NAN, 0.0001];
        for bound in short {
            assert!(written(|w| write_bound(w, bound)).len() < 8, "{bound}");
        }
        for bound in long {
            assert_eq!(written(|w| write_bound(w, bound)).len(), 9, "{bound}");
        }
        let custom_bounds = [&short[..], &long[..4]].concat();
        let layout = Layout {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_bounds,
            ..Layout::default()
        };
        let bytes = written(|w| write_layout(w, &layout));
        assert_eq!(read_layout(&mut BitReader::new("test", &bytes, 0)), Ok(layout));
    }

    #[test]
    fn bounds_are_only_there_with_custom_buckets() {
        let layout = Layout {
            custom_bounds: vec![1.0],
            ..Layout::default()
        };
        let bytes = written(|w| write_layout(w, &layout));
        assert!(
            read_layout(&mut BitReader::new("test", &bytes, 0))
                .unwrap()
                .custom_bounds
                .is_empty()
        );
    }

    #[test]
    fn counts_beyond_the_data_are_refused_before_anything_is_allocated() {
        let bytes = written(|w| {
            w.write(0, 8);
            write_varbit_int(w, 0);
            write_varbit_uint(w, u64::MAX);
        });
        let error = read_layout(&mut BitReader::new("test", &bytes, 0)).unwrap_err();
        assert!(
            error.what.contains("18446744073709551615 spans announced"),
            "{error}"
        );
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let bytes = written(|w| {
            w.write(0, 8);
            write_varbit_int(w, 1 << 40);
        });
        let error = read_layout(&mut BitReader::new("test", &bytes, 0)).unwrap_err();
        assert!(
            error.what.contains("schema 1099511627776 is out of range"),
            "{error}"
        );
    }
}
