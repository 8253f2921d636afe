//! Moves daily Elasticsearch and OpenSearch log indices into snapshots and deletes what has expired.
