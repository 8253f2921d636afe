//! Durations of ranges, steps and offsets.

use super::Operator;
use crate::position::PosRange;

/// A duration: known, or computed when the step of the query is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Duration {
    /// So many nanoseconds.
    Known(i64),
    /// What the expression gives.
    Computed(DurationExpr),
}

/// Arithmetic of durations, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationExpr {
    /// A number or a duration.
    Literal {
        /// Seconds.
        value: f64,
        /// Whether it was written as a duration.
        is_duration: bool,
        /// Where it stands.
        pos: PosRange,
    },
    /// `step()`
    Step(PosRange),
    /// `min(a, b)`, `max(a, b)`
    Extreme {
        /// Whether the greater one is wanted.
        max: bool,
        /// The two.
        args: Box<(DurationExpr, DurationExpr)>,
        /// Where it stands.
        pos: PosRange,
    },
    /// `-a`
    Negated {
        /// What is negated.
        expr: Box<DurationExpr>,
        /// Where the sign stands.
        start: usize,
    },
    /// `a + b`
    Binary {
        /// The operator: one of `+ - * / % ^`.
        op: Operator,
        /// The operands.
        args: Box<(DurationExpr, DurationExpr)>,
    },
    /// `(a)`
    Paren(Box<DurationExpr>),
}

impl Duration {
    /// None.
    pub const ZERO: Duration = Duration::Known(0);

    /// Whether it is known to be nothing, which is how an absent one is held.
    pub fn is_zero(&self) -> bool {
        *self == Duration::ZERO
    }

    /// A duration of so many seconds, to the nanosecond.
    pub(crate) fn from_seconds(seconds: f64) -> Duration {
        // The cast saturates.
        Duration::Known((seconds * 1e9).round() as i64)
    }
}

impl DurationExpr {
    /// Where it stands.
    pub fn pos(&self) -> PosRange {
        match self {
            DurationExpr::Literal { pos, .. }
            | DurationExpr::Step(pos)
            | DurationExpr::Extreme { pos, .. } => *pos,
            DurationExpr::Negated { expr, start } => PosRange::new(*start, expr.pos().end),
            DurationExpr::Binary { args, .. } => args.0.pos().to(args.1.pos()),
            DurationExpr::Paren(expr) => expr.pos(),
        }
    }

    /// The seconds it stands for.
    ///
    /// # Errors
    ///
    /// If something is divided by zero.
    pub fn seconds(&self, step_seconds: f64) -> Result<f64, String> {
        match self {
            DurationExpr::Literal { value, .. } => Ok(*value),
            DurationExpr::Step(_) => Ok(step_seconds),
            DurationExpr::Paren(expr) => expr.seconds(step_seconds),
            DurationExpr::Negated { expr, .. } => Ok(-expr.seconds(step_seconds)?),
            DurationExpr::Extreme { max, args, .. } => {
                let (a, b) = (args.0.seconds(step_seconds)?, args.1.seconds(step_seconds)?);
                Ok(if *max {
                    crate::float::max(a, b)
                } else {
                    crate::float::min(a, b)
                })
            }
            DurationExpr::Binary { op, args } => {
                let (a, b) = (args.0.seconds(step_seconds)?, args.1.seconds(step_seconds)?);
                let zero = |what: &str| {
                    let pos = self.pos();
                    Err(format!("{}:{}: {what} by zero", pos.start, pos.end))
                };
                match op {
                    Operator::Div if b == 0.0 => zero("division"),
                    Operator::Mod if b == 0.0 => zero("modulo"),
                    _ => Ok(crate::float::scalar_binop(*op, a, b)),
                }
            }
        }
    }

    /// The duration in nanoseconds, whole milliseconds of them.
    ///
    /// # Errors
    ///
    /// If it is too long, or not positive where that is asked for, or something is divided by zero.
    pub fn resolve(&self, step_seconds: f64, may_be_negative: bool) -> Result<i64, String> {
        let seconds = self.seconds(step_seconds)?;
        let pos = self.pos();
        if seconds <= 0.0 && !may_be_negative {
            return Err(format!(
                "{}:{}: duration must be greater than 0",
                pos.start, pos.end
            ));
        }
        let ms = seconds * 1000.0;
        if ms.is_nan() || ms.abs() >= (i64::MAX / 1_000_000) as f64 {
            return Err(format!("{}:{}: duration is out of range", pos.start, pos.end));
        }
        Ok((ms as i64).saturating_mul(1_000_000))
    }
}
