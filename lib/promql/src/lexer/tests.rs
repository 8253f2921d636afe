use super::*;
use crate::token::AggregateOp;

fn kinds(input: &str) -> Vec<Kind> {
    let mut lexer = Lexer::new(input);
    let mut kinds = Vec::new();
    loop {
        let token = lexer.next_token().unwrap();
        if token.kind == Kind::Eof {
            return kinds;
        }
        kinds.push(token.kind);
    }
}

#[test]
fn keywords_are_names_within_braces() {
    assert_eq!(kinds("sum"), [Kind::Aggregator(AggregateOp::Sum)]);
    assert_eq!(
        kinds("{sum}"),
        [Kind::LeftBrace, Kind::Identifier, Kind::RightBrace]
    );
    assert_eq!(kinds("Inf NaN"), [Kind::Number, Kind::Number]);
    assert_eq!(kinds("a:b"), [Kind::MetricIdentifier]);
}

#[test]
fn a_colon_is_its_own_within_brackets() {
    assert_eq!(
        kinds("a[5m:1m]"),
        [
            Kind::Identifier,
            Kind::LeftBracket,
            Kind::Duration,
            Kind::Colon,
            Kind::Duration,
            Kind::RightBracket
        ]
    );
}

#[test]
fn comments_end_with_the_line() {
    assert_eq!(
        kinds("a # b\n# c\r{ # }\n}"),
        [Kind::Identifier, Kind::LeftBrace, Kind::RightBrace]
    );
}

#[test]
fn numbers_of_all_kinds() {
    for number in [
        "1", ".5", "1.", "1e3", "1E-3", "0x1f", "0X_1F", "1_000", "1_0.5_0",
    ] {
        assert_eq!(kinds(number), [Kind::Number], "{number}");
    }
    for duration in ["5m", "1h30m", "7ms", "1y2w3d4h5m6s"] {
        assert_eq!(kinds(duration), [Kind::Duration], "{duration}");
    }
    for broken in ["1..", "1e", "1__0", "0x1.5", "5mx", "1a"] {
        assert!(Lexer::new(broken).next_token().is_err(), "{broken}");
    }
}
