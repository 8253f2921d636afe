//! Arithmetic of floats in the manner of Go.

use crate::ast::Operator;

/// Go's `math.Max`: NaN if either is, and +0 is greater than -0.
pub(crate) fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

/// Go's `math.Min`: NaN if either is, and -0 is smaller than +0.
pub(crate) fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

/// 1 for true, 0 for false.
pub(crate) fn from_bool(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

/// Whether `a op b` holds, for a comparison.
pub(crate) fn compare(op: Operator, a: f64, b: f64) -> bool {
    match op {
        Operator::Eq => a == b,
        Operator::Neq => a != b,
        Operator::Gtr => a > b,
        Operator::Lss => a < b,
        Operator::Gte => a >= b,
        Operator::Lte => a <= b,
        _ => false,
    }
}

/// `a op b` of two scalars; comparisons give 0 and 1.
pub(crate) fn scalar_binop(op: Operator, a: f64, b: f64) -> f64 {
    if op.is_comparison() {
        return from_bool(compare(op, a, b));
    }
    arithmetic(op, a, b)
}

/// `a op b`, for an operator that computes.
#[inline]
pub(crate) fn arithmetic(op: Operator, a: f64, b: f64) -> f64 {
    match op {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div => a / b,
        Operator::Mod => a % b,
        Operator::Pow => a.powf(b),
        Operator::Atan2 => a.atan2(b),
        _ => f64::NAN,
    }
}

/// Adds `value` to a sum and what rounding lost of it (Neumaier).
#[inline]
pub(crate) fn kahan_add(value: f64, sum: f64, lost: f64) -> (f64, f64) {
    let total = sum + value;
    let lost = if total.is_infinite() {
        0.0
    } else if sum.abs() >= value.abs() {
        lost + ((sum - total) + value)
    } else {
        lost + ((value - total) + sum)
    };
    (total, lost)
}

/// The value below which a share of `q` of the values lies, between two of them in proportion; sorts the values.
pub(crate) fn quantile_of(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    // NaN comes first.
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
    });
    let last = (values.len() - 1) as f64;
    let rank = q * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    let value = |index: f64| values.get(index as usize).copied().unwrap_or(f64::NAN);
    value(lower) * (1.0 - weight) + value(upper) * weight
}
