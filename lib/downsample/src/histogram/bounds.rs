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
    fn the_last_finite_bound_is_the_greatest_float() {
        for (index, schema) in [(1024, 0), (4096, 2), (512, -1), (64, -4)] {
            assert_eq!(upper_bound(index, schema), f64::MAX, "{schema}");
            assert_eq!(upper_bound(index + 1, schema), f64::INFINITY, "{schema}");
        }
        assert_eq!(upper_bound(i64::MAX, 8), f64::INFINITY);
        assert_eq!(upper_bound(i64::MIN, -4), 0.0);
    }
}
