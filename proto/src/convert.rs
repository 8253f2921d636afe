//! How labels and matchers cross the wire.

use crate::thanos::{Label, LabelMatcher, LabelSet, label_matcher};
use sabre_model::{Labels, LabelsError, MatchKind, Matcher, MatcherError};
use tonic::Status;

/// What is wrong with a message from a peer; becomes `InvalidArgument`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConvertError {
    /// A label set that is none.
    #[error("labels: {0}")]
    Labels(#[from] LabelsError),
    /// A matcher of a type that does not exist.
    #[error("matcher {index} on label {name:?}: type {number} is none of EQ (0), NEQ (1), RE (2), NRE (3)")]
    MatcherType {
        /// Place in the list, from 0.
        index: usize,
        /// The label it looks at.
        name: String,
        /// What the message says.
        number: i32,
    },
    /// A matcher whose regular expression does not parse.
    #[error("matcher {index}: {source}")]
    Matcher {
        /// Place in the list, from 0.
        index: usize,
        /// What the model says.
        source: MatcherError,
    },
}

impl From<ConvertError> for Status {
    fn from(error: ConvertError) -> Self {
        Status::invalid_argument(error.to_string())
    }
}

/// Reads labels in any order; a name that comes twice is an error.
pub fn labels_from_wire(labels: &[Label]) -> Result<Labels, ConvertError> {
    let pairs = || {
        labels
            .iter()
            .map(|label| (label.name.as_str(), label.value.as_str()))
    };
    if labels.is_sorted_by(|a, b| a.name < b.name) {
        return Ok(Labels::from_sorted(pairs())?);
    }
    Ok(Labels::from_pairs(pairs())?)
}

/// Returns the labels in their order.
pub fn labels_to_wire(labels: &Labels) -> Vec<Label> {
    labels
        .iter()
        .map(|(name, value)| Label {
            name: name.to_owned(),
            value: value.to_owned(),
        })
        .collect()
}

/// Returns the labels as the message that wraps them.
pub fn label_set(labels: &Labels) -> LabelSet {
    LabelSet {
        labels: labels_to_wire(labels),
    }
}

/// Reads all matchers; the error names the first bad one.
pub fn matchers_from_wire(matchers: &[LabelMatcher]) -> Result<Vec<Matcher>, ConvertError> {
    matchers
        .iter()
        .enumerate()
        .map(|(index, matcher)| matcher_from_wire(index, matcher))
        .collect()
}

/// Returns the matchers in their order.
pub fn matchers_to_wire<'a>(matchers: impl IntoIterator<Item = &'a Matcher>) -> Vec<LabelMatcher> {
    matchers.into_iter().map(matcher_to_wire).collect()
}

/// Returns one matcher as its message.
pub fn matcher_to_wire(matcher: &Matcher) -> LabelMatcher {
    let r#type = match matcher.kind() {
        MatchKind::Eq => label_matcher::Type::Eq,
        MatchKind::Neq => label_matcher::Type::Neq,
        MatchKind::Re => label_matcher::Type::Re,
        MatchKind::Nre => label_matcher::Type::Nre,
    };
    LabelMatcher {
        r#type: r#type.into(),
        name: matcher.name().to_owned(),
        value: matcher.value().to_owned(),
    }
}

fn matcher_from_wire(index: usize, matcher: &LabelMatcher) -> Result<Matcher, ConvertError> {
    let kind = match label_matcher::Type::try_from(matcher.r#type) {
        Ok(label_matcher::Type::Eq) => MatchKind::Eq,
        Ok(label_matcher::Type::Neq) => MatchKind::Neq,
        Ok(label_matcher::Type::Re) => MatchKind::Re,
        Ok(label_matcher::Type::Nre) => MatchKind::Nre,
        Err(_) => {
            let name = matcher.name.clone();
            return Err(ConvertError::MatcherType {
                index,
                name,
                number: matcher.r#type,
            });
        }
    };
    Matcher::new(kind, matcher.name.as_str(), matcher.value.as_str())
        .map_err(|source| ConvertError::Matcher { index, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use tonic::Code;

    fn wire(number: i32, name: &str, value: &str) -> LabelMatcher {
        LabelMatcher {
            r#type: number,
            name: name.into(),
            value: value.into(),
        }
    }

    #[test]
    fn matchers_survive_the_round_trip() {
        let list = [
            wire(0, "a", "b"),
            wire(1, "c", ""),
            wire(2, "d", "x|y.*"),
            wire(3, "e", ".+"),
        ];
        let matchers = matchers_from_wire(&list).expect("valid");
        let kinds: Vec<_> = matchers.iter().map(Matcher::kind).collect();
        assert_eq!(
            kinds,
            [MatchKind::Eq, MatchKind::Neq, MatchKind::Re, MatchKind::Nre]
        );
        assert_eq!(matchers_to_wire(&matchers), list);
    }

    #[test]
    fn a_matcher_has_the_bytes_of_the_worked_example() {
        let matcher = Matcher::new(MatchKind::Re, "__name__", "up|x").expect("valid");
        let bytes = [
            8, 2, 0x12, 8, 0x5f, 0x5f, 0x6e, 0x61, 0x6d, 0x65, 0x5f, 0x5f, 0x1a, 4, 0x75, 0x70, 0x7c, 0x78,
        ];
        assert_eq!(matcher_to_wire(&matcher).encode_to_vec(), bytes);
    }

    #[test]
    fn an_unknown_matcher_type_is_an_invalid_argument_that_names_it() {
        let error = matchers_from_wire(&[wire(0, "a", "b"), wire(7, "job", "x")]).expect_err("type 7");
        let status = Status::from(error);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(
            status
                .message()
                .starts_with("matcher 1 on label \"job\": type 7 is none of"),
            "{status}"
        );
    }

    #[test]
    fn a_bad_expression_is_an_invalid_argument_that_names_it() {
        let error = matchers_from_wire(&[wire(2, "job", "(")]).expect_err("open group");
        let status = Status::from(error);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("matcher 0: "), "{status}");
    }

    #[test]
    fn labels_survive_the_round_trip_and_are_sorted() {
        let labels = Labels::from_pairs([("b", "2"), ("a", "1")]).expect("unique");
        let list = labels_to_wire(&labels);
        assert_eq!(
            list.iter().map(|label| label.name.as_str()).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!(label_set(&labels).labels, list);
        assert_eq!(labels_from_wire(&list), Ok(labels.clone()));
        let reversed: Vec<_> = list.into_iter().rev().collect();
        assert_eq!(labels_from_wire(&reversed), Ok(labels));
    }

    #[test]
    fn a_label_name_that_comes_twice_is_refused() {
        let label = |value: &str| Label {
            name: "a".into(),
            value: value.into(),
        };
        let error = labels_from_wire(&[label("1"), label("2")]).expect_err("twice");
        assert_eq!(Status::from(error).code(), Code::InvalidArgument);
    }
}
