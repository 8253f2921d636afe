//! Downsampling, pure: aggregate chunks of 5 minutes and 1 hour from raw and aggregate chunks.
