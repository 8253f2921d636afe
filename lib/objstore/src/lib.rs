//! Buckets: one trait, S3, filesystem and memory behind it.
