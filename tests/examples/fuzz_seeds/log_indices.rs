//! What clusters of log indices answer, and how their configuration is written.

use anyhow::Result;

use crate::Corpus;

const ANSWERS: &[&str] = &[
    r#"{"name":"n","version":{"distribution":"opensearch","number":"3.8.0"},"tagline":"x"}"#,
    r#"{"snapshots":[{"snapshot":"sn_a","uuid":"v","state":"SUCCESS","indices":["a"],"failures":[],"start_time_in_millis":1767848401000,"end_time_in_millis":1767848405000,"shards":{"total":2,"failed":0,"successful":2},"metadata":{"sabre":{"day":"2026-01-08","index":"a","uuid":"u","docs":7,"seq":"2,9"}}}],"total":1}"#,
    r#"{"snapshots":[{"snapshot":"sn_a","uuid":"v","state":"PARTIAL","indices":["a","b"],"failures":[{"index":"b","shard_id":0,"reason":"primary shard is not allocated"}],"shards":{"total":3,"failed":1,"successful":2}}]}"#,
    r#"{"snapshots":[{"snapshot":"sn_a","repository":"r","state":"STARTED","shards_stats":{"done":1,"failed":0,"total":2},"stats":{"total":{"file_count":9,"size_in_bytes":4096}}}]}"#,
    r#"{"day":"2026-01-08","index":"a","uuid":"u","docs":7,"seq":"2,9"}"#,
    r#"{"a":{"aliases":{"b":{"is_write_index":true}},"data_stream":"s","settings":{"index":{"uuid":"u","creation_date":"1767225600000","number_of_shards":"2","blocks":{"write":"true"}}}}}"#,
    r#"[{"index":"a","status":"open","health":"green","docs.count":"7","store.size":"4096"},{"index":"b","status":"close"}]"#,
    r#"{"data_streams":[{"name":"s","indices":[{"index_name":".ds-s-000001"}],"generation":1}]}"#,
    r#"{"_shards":{"total":4,"successful":4,"failed":0},"indices":{"a":{"uuid":"u","shards":{"0":[{"routing":{"primary":true},"docs":{"count":3},"seq_no":{"max_seq_no":2}}],"1":[{"routing":{"primary":true},"docs":{"count":4},"seq_no":{"max_seq_no":9}}]}}}}"#,
    r#"{"error":{"root_cause":[{"type":"snapshot_missing_exception","reason":"[r:sn_a] is missing"}],"type":"snapshot_missing_exception","reason":"[r:sn_a] is missing"},"status":404}"#,
    r#"{"message":"The security token included in the request is invalid"}"#,
];

const CONFIGURATIONS: &[&str] = &[
    "es2s3:\n  account: '1'\n  region: r\n  vpc: {use_existing: true, vpc_id: v, security_group_id: s}\n  s3:\n    bucket_name: b\n  lambda:\n    es_repo_name: n\n    es_endpoint: https://h/\n    es_index_prefix: a-\n    snapshot_retention: '9'\n    index_retention: '7'\n",
    "account: 1\nregion: r\nvpc_id: v\nsecurity_group_id: s\nbucket-name: b\nes_repo_name: n\nES_ENDPOINT: http://h\nES_INDEX_PREFIX: a-\nsnapshot_retention: 9\nindex_retention: 7\n",
    "es2s3: {region: r, s3: {bucket_name: b}, lambda: {es_repo_name: n, es_endpoint: http://h, es_index_prefix: a-, snapshot_retention: 9, index_retention: 7}}\nes_retention:\n  prefixes: [{prefix: b-, pattern: '%G.%V', time_zone: Asia/Tokyo, shards: 1}]\n  repository: {type: s3, settings: {base_path: p, region: null}}\n  schedule: {cron: '0 5 * * *', time_zone: UTC}\n  timeouts: {attempts: 2}\n  access: {basic: {username: u, password: p}, tls: {ca_file: /c}}\n",
    "%Y.%m.%d\na2026.02.29",
    "%G-w%V\nsn_a2026-w53-2",
    "%Y.%j\na2024.366",
];

pub(crate) fn add(corpus: &mut Corpus) -> Result<()> {
    corpus.add_texts("es_answer", ANSWERS)?;
    corpus.add_texts("es_configuration", CONFIGURATIONS)
}
