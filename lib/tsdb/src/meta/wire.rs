//! Rules of Go's JSON package that serde has to be told.

use std::fmt::{self, Display};

use sabre_model::BlockId;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Keys that this version does not know, in the order of the file; they are written again after the known ones.
pub type UnknownKeys = Map<String, Value>;

/// Reads `null` as the zero value, as Go does for every type.
pub(super) fn null_as_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a ULID; `null` is the zero value.
pub(super) fn block_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BlockId, D::Error> {
    let id = Option::<IdText>::deserialize(deserializer)?;
    Ok(id.map(|IdText(id)| id).unwrap_or_default())
}

/// Reads a list of ULIDs; `null` is the empty list.
pub(super) fn block_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<BlockId>, D::Error> {
    let ids = Option::<Vec<IdText>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(ids.into_iter().map(|IdText(id)| id).collect())
}

/// Writes an empty list as `null`: what Go writes for a list nothing was ever added to.
pub(super) fn empty_as_null<T, S>(list: &[T], serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize,
    S: Serializer,
{
    match list {
        [] => serializer.serialize_none(),
        list => list.serialize(serializer),
    }
}

/// Whether Go's `omitempty` leaves the value out.
pub(super) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a string and parses it on the spot: an error after the string would be reported at the end of the
/// object around it.
pub(super) fn parsed_text<'de, D, T, E>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: Display,
{
    struct Text<F>(F);

    impl<T, E: Display, F: FnOnce(&str) -> Result<T, E>> Visitor<'_> for Text<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E2: Error>(self, text: &str) -> Result<T, E2> {
            (self.0)(text).map_err(E2::custom)
        }
    }

    deserializer.deserialize_str(Text(parse))
}

struct IdText(BlockId);

impl<'de> Deserialize<'de> for IdText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed_text(deserializer, BlockId::parse).map(IdText)
    }
}
