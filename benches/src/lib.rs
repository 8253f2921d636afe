//! The figures of the design, one command each.
