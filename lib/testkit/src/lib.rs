//! Fakes, fault injection and golden data for tests.
