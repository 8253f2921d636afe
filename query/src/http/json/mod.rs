//! Answers as JSON, written piece by piece: nothing but the piece under way is held beside the result itself.

pub(crate) mod document;
mod histogram;
pub(crate) mod statistics;
pub(crate) mod text;
pub(crate) mod value;
