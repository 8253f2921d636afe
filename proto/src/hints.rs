//! Messages of [`crate::hintspb`] inside `google.protobuf.Any`.

use prost::{Message, Name};
use prost_types::Any;
use tonic::Status;

/// Hints that are not what the call takes; becomes `InvalidArgument`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HintsError {
    /// Another message.
    #[error("hints are of type {found:?}, expected {expected:?}")]
    Type {
        /// From the request.
        found: String,
        /// What the call takes.
        expected: String,
    },
    /// The right message, but its bytes do not decode.
    #[error("hints of type {expected:?} do not decode: {reason}")]
    Value {
        /// What the call takes.
        expected: String,
        /// From the protobuf library.
        reason: String,
    },
}

impl From<HintsError> for Status {
    fn from(error: HintsError) -> Self {
        Status::invalid_argument(error.to_string())
    }
}

/// Wraps a message under the type URL `type.googleapis.com/<its full name>`.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

/// Unwraps a message; as everywhere, only what follows the last slash of the type URL counts.
pub fn unpack<M: Message + Name + Default>(any: &Any) -> Result<M, HintsError> {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    if name != M::full_name() {
        return Err(HintsError::Type {
            found: any.type_url.clone(),
            expected: M::type_url(),
        });
    }
    M::decode(any.value.as_slice()).map_err(|error| HintsError::Value {
        expected: M::type_url(),
        reason: error.to_string(),
    })
}

/// Unwraps the hints of a request, where there are some.
pub fn unpack_optional<M: Message + Name + Default>(any: Option<&Any>) -> Result<Option<M>, HintsError> {
    any.map(unpack).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hintspb::{Block, LabelNamesResponseHints, SeriesRequestHints};

    #[test]
    fn a_packed_message_has_the_type_url_that_thanos_writes() {
        let hints = LabelNamesResponseHints {
            queried_blocks: vec![Block { id: "01ABC".into() }],
        };
        let any = pack(&hints);
        assert_eq!(
            any.type_url,
            "type.googleapis.com/hintspb.LabelNamesResponseHints"
        );
        assert_eq!(unpack(&any), Ok(hints));
    }

    #[test]
    fn other_messages_are_refused_by_name() {
        let any = pack(&LabelNamesResponseHints::default());
        let error = unpack::<SeriesRequestHints>(&any).expect_err("other type");
        assert_eq!(
            error.to_string(),
            "hints are of type \"type.googleapis.com/hintspb.LabelNamesResponseHints\", \
             expected \"type.googleapis.com/hintspb.SeriesRequestHints\""
        );
    }

    #[test]
    fn a_value_that_does_not_decode_is_refused() {
        let any = Any {
            type_url: SeriesRequestHints::type_url(),
            value: vec![0x0a, 0x09],
        };
        assert!(matches!(
            unpack::<SeriesRequestHints>(&any),
            Err(HintsError::Value { .. })
        ));
        assert_eq!(unpack_optional::<SeriesRequestHints>(None), Ok(None));
    }
}
