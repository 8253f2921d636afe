//! Errors with what caused them, in one line.

use std::error::Error;

/// The error and its causes, the outermost first. For errors whose own text leaves the causes out, which are the part
/// worth reading.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn all_causes_are_told_in_their_order() {
        let link = |text, source| Link {
            text,
            source: Option::map(source, Box::new),
        };
        let inner = link("connection refused", None);
        let error = link("no answer", Some(link("cannot connect", Some(inner))));
        assert_eq!(
            with_causes(&error),
            "no answer: cannot connect: connection refused"
        );
    }
}
