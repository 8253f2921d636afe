//! Mathematics.

use std::f64::consts::{LN_2, PI};

use crate::function::Function;

/// The function of one number with this name.
pub(super) fn function(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Abs => f64::abs,
        Function::Ceil => f64::ceil,
        Function::Floor => f64::floor,
        Function::Exp => f64::exp,
        Function::Sqrt => f64::sqrt,
        Function::Ln => f64::ln,
        Function::Log2 => f64::log2,
        Function::Log10 => f64::log10,
        Function::Sin => f64::sin,
        Function::Cos => f64::cos,
        Function::Tan => f64::tan,
        Function::Asin => f64::asin,
        Function::Acos => f64::acos,
        Function::Atan => f64::atan,
        Function::Sinh => f64::sinh,
        Function::Cosh => f64::cosh,
        Function::Tanh => f64::tanh,
        Function::Asinh => asinh,
        Function::Acosh => acosh,
        Function::Atanh => f64::atanh,
        Function::Rad => |degrees| degrees * PI / 180.0,
        Function::Deg => |radians| radians * 180.0 / PI,
        Function::Sgn => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        _ => return None,
    })
}

/// From here on the square of a number is so great that one more does not matter, and it may be infinite.
const HUGE: f64 = (1u64 << 28) as f64;

fn asinh(value: f64) -> f64 {
    if value.is_finite() && value.abs() > HUGE {
        return (value.abs().ln() + LN_2).copysign(value);
    }
    value.asinh()
}

fn acosh(value: f64) -> f64 {
    if value.is_finite() && value > HUGE {
        return value.ln() + LN_2;
    }
    value.acosh()
}
