//! Numbers and durations as literals.

use sabre_model::duration;

use super::{Failure, Parsed, Parser};
use crate::ast::Operator;
use crate::go_text::quoted;
use crate::token::{Kind, Token};

impl<'a> Parser<'a> {
    /// The value of a number or a duration (in seconds), and whether it is a duration.
    pub(super) fn number(&self, token: Token<'a>) -> Parsed<(f64, bool)> {
        match token.kind {
            Kind::Number => match parse_number(token.text) {
                Ok(value) => Ok((value, false)),
                Err(problem) => {
                    let shown = quoted(token.text);
                    let message =
                        format!("error parsing number: strconv.ParseFloat: parsing {shown}: {problem}");
                    Err(Failure::at(token.pos(), message))
                }
            },
            Kind::Duration => match duration::parse_model(token.text) {
                Ok(ms) => Ok((go_seconds(ms), true)),
                Err(error) if error.is_too_long() => Err(Failure::at(token.pos(), "duration out of range")),
                Err(error) => {
                    let shown = quoted(token.text);
                    let message = match error.unknown_unit() {
                        Some(unit) => format!("unknown unit {} in duration {shown}", quoted(unit)),
                        None => format!("not a valid duration string: {shown}"),
                    };
                    Err(Failure::at(token.pos(), message))
                }
            },
            _ => Err(Failure::unexpected(token)),
        }
    }

    /// Reads a number with or without a sign; `first` is its first token.
    pub(super) fn signed_number(&mut self, first: Token<'a>) -> Parsed<f64> {
        let negative = match first.kind {
            Kind::Operator(Operator::Add) => false,
            Kind::Operator(Operator::Sub) => true,
            _ => return Ok(self.number(first)?.0),
        };
        let token = self.next()?;
        let (value, _) = self.number(token)?;
        Ok(if negative { -value } else { value })
    }
}

/// Milliseconds as seconds, added up as Go does: whole seconds and the fraction apart.
fn go_seconds(ms: i64) -> f64 {
    let (seconds, rest) = (ms / 1000, ms % 1000);
    seconds as f64 + (rest * 1_000_000) as f64 / 1e9
}

/// Reads what the lexer takes for a number; integers first, in which a leading 0 means octal.
fn parse_number(text: &str) -> Result<f64, &'static str> {
    const SYNTAX: &str = "invalid syntax";
    const RANGE: &str = "value out of range";
    if text.eq_ignore_ascii_case("inf") {
        return Ok(f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    if text.ends_with('_') {
        return Err(SYNTAX);
    }
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        // Beyond 64 bits Go would want an exponent, which the lexer does not let through.
        return i64::from_str_radix(hex, 16).map(|n| n as f64).map_err(|_| SYNTAX);
    }
    if let Some(octal) = digits.strip_prefix('0')
        && let Ok(number) = i64::from_str_radix(octal, 8)
    {
        return Ok(number as f64);
    }
    if let Ok(number) = digits.parse::<i64>() {
        return Ok(number as f64);
    }
    let value: f64 = digits.parse().map_err(|_| SYNTAX)?;
    if value.is_infinite() {
        return Err(RANGE);
    }
    Ok(value)
}

/// Go's `%f`.
pub(super) fn fixed(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.6}")
    } else {
        crate::go_text::format_f(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_with_a_leading_zero_are_octal_where_they_can_be() {
        assert_eq!(parse_number("010"), Ok(8.0));
        assert_eq!(parse_number("089"), Ok(89.0));
        assert_eq!(parse_number("0"), Ok(0.0));
        assert_eq!(parse_number("0x1F"), Ok(31.0));
        assert_eq!(parse_number("1_000"), Ok(1000.0));
        assert_eq!(parse_number("1_000.5e1"), Ok(10_005.0));
        assert_eq!(parse_number(".5"), Ok(0.5));
        assert_eq!(parse_number("9223372036854775808"), Ok(2f64.powi(63)));
        assert_eq!(parse_number("1_"), Err("invalid syntax"));
        assert_eq!(parse_number("1e400"), Err("value out of range"));
        assert_eq!(parse_number("Inf"), Ok(f64::INFINITY));
    }

    #[test]
    fn seconds_are_those_of_go() {
        assert_eq!(go_seconds(1500), 1.5);
        assert_eq!(go_seconds(3_600_001), 3600.001);
    }
}
