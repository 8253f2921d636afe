//! Index-headers against the whole index: the worked example, generated indexes, and those of the golden blocks.

mod broken;
mod fixture;
mod golden;
mod load;
mod lookups;
