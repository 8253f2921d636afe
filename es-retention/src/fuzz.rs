//! What outsiders can send, for fuzzers: answers of a cluster, the configuration, names.

use crate::{
    cluster::{error::describe, record::Record, transport::Response},
    config::{Config, Overrides},
    names::{DatePattern, IndexNames},
};

/// Reads bytes as an answer of every kind.
pub fn answer(data: &[u8]) {
    let _ = describe(data);
    crate::cluster::snapshots::fuzz(data);
    crate::cluster::indices::fuzz(data);
    crate::cluster::fuzz_contents(data);
    if let Ok(value) = serde_json::from_slice(data) {
        let _ = Record::from_metadata(&value);
    }
    let _ = format!(
        "{:?}",
        Response {
            status: 200,
            body: bytes::Bytes::copy_from_slice(data),
            retry_after: None,
        }
    );
}

/// Reads bytes as a configuration, and as a pattern with a name.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = Config::read("fuzz", text, &|_| None, &Overrides::default());
    let (pattern, name) = text.split_once('\n').unwrap_or(("%Y.%m.%d", text));
    if let Ok(pattern) = DatePattern::parse(pattern) {
        let names = IndexNames {
            prefix: "a".to_owned(),
            pattern,
            zone: jiff::tz::TimeZone::UTC,
        };
        let _ = names.read(name);
        let _ = names.read_snapshot(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEEDS: [&str; 3] = [
        r#"{"snapshots":[{"snapshot":"a","state":"SUCCESS","indices":["a"],"failures":[{}],"shards":{"total":2,"failed":0,"successful":2},"metadata":{"sabre":{"day":"2026-01-08","index":"a","uuid":"u","docs":7,"seq":"2,9"}}}]}"#,
        r#"{"a":{"aliases":{"b":{"is_write_index":true}},"settings":{"index":{"uuid":"u","creation_date":"1","blocks":{"write":"true"}}}}}"#,
        r#"{"_shards":{"failed":0},"indices":{"a":{"uuid":"u","shards":{"0":[{"routing":{"primary":true},"docs":{"count":18446744073709551615},"seq_no":{"max_seq_no":-1}}]}}}}"#,
    ];

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            answer(&data);
            configuration(&data);
        }

        #[test]
        fn answers_with_a_wrong_byte_are_read_or_refused(seed in 0_usize..3, at in 0_usize..200, byte in any::<u8>()) {
            let mut data = SEEDS[seed].as_bytes().to_vec();
            let at = at % data.len();
            data[at] = byte;
            answer(&data);
        }
    }
}
