//! Blocks in a bucket: which there are, which count, how they come and go.
