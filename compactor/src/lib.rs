//! The compactor: compacts, deduplicates and downsamples the blocks of a bucket, retains and cleans.
