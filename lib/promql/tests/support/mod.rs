//! What the test programs of this crate share.

pub(crate) mod data;
pub(crate) mod generate;
pub(crate) mod golden;
pub(crate) mod random;
pub(crate) mod script;
