//! What a message takes in memory once it is decoded, told before it is: an empty message within another is two bytes on
//! the wire, and a hundred in memory.

use super::wire::{Fields, Value, WireError};

/// What a text takes beside its bytes: where it is kept in a list that grew, and what an allocator adds.
const TEXT_BYTES: usize = 2 * size_of::<String>() + 16;

/// A number in a list that grew.
const NUMBER_BYTES: usize = 16;

/// The shape of a message.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What one takes in memory by itself.
    pub(crate) bytes: usize,
    /// Which of its fields are messages, by their numbers.
    pub(crate) nested: &'static [(u64, &'static Shape)],
}

impl Shape {
    /// What a message of this shape takes in memory at most.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn weigh(&self, message: &[u8]) -> Result<usize, WireError> {
        let mut fields = Fields::new(message);
        // It may be one of a list that grew to twice its length.
        let mut bytes = self.bytes.saturating_mul(2);
        while let Some((number, value)) = fields.next()? {
            let nested = self.nested.iter().find(|(of, _)| *of == number);
            let more = match (value, nested) {
                // As deep as shapes are, which do not hold themselves.
                (Value::Bytes(message), Some((_, shape))) => shape.weigh(message)?,
                (Value::Bytes(text), None) => text.len().saturating_add(TEXT_BYTES),
                (Value::Number(_) | Value::Fixed, _) => NUMBER_BYTES,
            };
            bytes = bytes.saturating_add(more);
        }
        Ok(bytes)
    }
}
