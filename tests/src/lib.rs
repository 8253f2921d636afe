//! Tests that cross components, and those against real servers.
