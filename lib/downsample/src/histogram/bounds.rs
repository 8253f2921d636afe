//! Bounds of exponential buckets.

/// 2^-0.5 as Prometheus has it: one unit in the last place below the nearest float.
const SQRT_HALF: f64 = 0.707_106_781_186_547_5;

/// Exponents beyond these make zero or infinity of any float.
const EXPONENT_LIMIT: i64 = 2200;

/// The upper bound of bucket `index`: 2^(index · 2^−schema).
pub(super) fn upper_bound(index: i64, schema: i32) -> f64 {
    if schema < 0 {
        let exponent = index.saturating_mul(1 << schema.unsigned_abs().min(32));
        return scaled(1.0, exponent, 1024);
    }
    let per_power = 1i64 << schema.min(32);
    let fraction = index.rem_euclid(per_power);
    let exponent = index.div_euclid(per_power).saturating_add(1);
    let mantissa = if fraction * 2 == per_power {
        SQRT_HALF
    } else {
        0.5 * (fraction as f64 / per_power as f64).exp2()
    };
    scaled(mantissa, exponent, 1025)
}

/// Whether bucket `index` and all behind it are surely beyond `threshold`, known without its exact bound.
///
/// Below 1 and far from zero, where thresholds are, the power of two below a bound says enough.
#[inline]
pub(super) fn is_surely_beyond(index: i64, schema: i32, threshold: f64) -> bool {
    if !(f64::MIN_POSITIVE..1.0).contains(&threshold) {
        return false;
    }
    let power = match schema {
        0..=8 => index >> schema,
        -4..0 => index.saturating_mul(1 << schema.unsigned_abs()),
        _ => return false,
    };
    // 2^(exponent + 1) is greater than the threshold.
    let exponent = (threshold.to_bits() >> 52) as i64 - 1023;
    power > exponent
}

/// `mantissa` · 2^`exponent`. Where that would be 2^1024 it is the greatest float instead.
fn scaled(mantissa: f64, exponent: i64, greatest: i64) -> f64 {
    if exponent == greatest && (mantissa == 1.0 || mantissa == 0.5) {
        return f64::MAX;
    }
    let exponent = exponent.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT) as i32;
    // In two steps: 2^exponent alone may be out of range where the product is not.
    let half = exponent / 2;
    mantissa * 2f64.powi(half) * 2f64.powi(exponent - half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_powers() {
        let cases = [
            (0, 0, 1.0),
            (1, 0, 2.0),
            (-3, 0, 0.125),
            (1, 1, 2.0 * SQRT_HALF),
            (2, 1, 2.0),
            (-1, 1, SQRT_HALF),
            (1, -1, 4.0),
            (-2, -4, 2f64.powi(-32)),
            (1, 2, 2f64.powf(0.25)),
            (-1073, 0, f64::from_bits(2)),
            (1023, 0, 2f64.powi(1023)),
        ];
        for (index, schema, bound) in cases {
            assert_eq!(
                upper_bound(index, schema),
                bound,
                "bucket {index} of schema {schema}"
            );
        }
    }

    #[test]
    fn what_is_surely_beyond_is_beyond() {
        let thresholds = [
            0.0,
            5e-324,
            f64::MIN_POSITIVE,
            2.9e-39,
            1e-128,
            0.001,
            0.5,
            0.999,
            1.0,
            7.0,
            f64::MAX,
            f64::NAN,
        ];
        let mut sure = 0;
        for schema in -53..=9 {
            for index in (-1100i64..1100).chain([i64::MIN, i64::MAX]) {
                for threshold in thresholds {
                    if is_surely_beyond(index, schema, threshold) {
                        assert!(
                            upper_bound(index, schema) > threshold,
                            "{index} {schema} {threshold}"
                        );
                        sure += 1;
                    }
                }
            }
        }
        assert!(sure > 100_000, "{sure}");
        assert!(
            is_surely_beyond(-10, 3, 1e-128),
            "the shortcut is taken where it matters"
        );
    }

    #[test]
    fn the_last_finite_bound_is_the_greatest_float() {
        for (index, schema) in [(1024, 0), (4096, 2), (512, -1), (64, -4)] {
            assert_eq!(upper_bound(index, schema), f64::MAX, "{schema}");
            assert_eq!(upper_bound(index + 1, schema), f64::INFINITY, "{schema}");
        }
        assert_eq!(upper_bound(i64::MAX, 8), f64::INFINITY);
        assert_eq!(upper_bound(i64::MIN, -4), 0.0);
    }
}
