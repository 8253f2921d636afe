use proptest::prelude::*;
use sabre_model::{BlockId, Labels};

use super::*;

/// All keys that §1.1 of the format names, in their order.
const FULL: &str = r#"{
	"ulid": "01M816YPNYS2D46TPFF4TEY0Q2",
	"minTime": 1767225600000,
	"maxTime": 1767254400000,
	"stats": {
		"numSamples": 6,
		"numFloatSamples": 5,
		"numHistogramSamples": 4,
		"numSeries": 3,
		"numChunks": 2,
		"numTombstones": 1,
		"numWishes": 0
	},
	"compaction": {
		"level": 2,
		"sources": [
			"01M816Y5CFTAH7QSXTTYDMDNR1"
		],
		"deletable": true,
		"parents": [
			{
				"ulid": "01M816Y5CFTAH7QSXTTYDMDNR1",
				"minTime": -1,
				"maxTime": 0,
				"colour": "red"
			}
		],
		"failed": true,
		"hints": [
			"from-out-of-order"
		],
		"why": null
	},
	"version": 1,
	"thanos": {
		"version": 1,
		"labels": {
			"cluster": "a\u003cb\u003e\u0026c\u2028"
		},
		"downsample": {
			"resolution": 300000,
			"method": "five"
		},
		"source": "bucket.rewrite",
		"segment_files": [
			"000001"
		],
		"files": [
			{
				"rel_path": "chunks/000001",
				"size_bytes": 120608,
				"hash": {
					"hashFunc": "SHA256",
					"value": "00ff",
					"salt": []
				}
			},
			{
				"rel_path": "meta.json",
				"mode": 420
			}
		],
		"rewrites": [
			{
				"sources": [
					"01M816Y5CFTAH7QSXTTYDMDNR1"
				],
				"deletions_applied": [
					{
						"matchers": [
							{
								"Type": 2,
								"Name": "job",
								"Value": "a.*",
								"Case": false
							}
						],
						"intervals": [
							{
								"Mint": 1,
								"Maxt": 2,
								"Step": 1
							}
						],
						"request_id": "r1",
						"who": {}
					}
				],
				"relabels_applied": [
					{
						"source_labels": [
							"a"
						],
						"action": "labeldrop"
					}
				],
				"note": "x"
			}
		],
		"index_stats": {
			"series_max_size": 128,
			"chunk_max_size": 1571,
			"symbol_max_size": 12
		},
		"extensions": {
			"parquet_migrated": {
				"z": 1,
				"a": [
					0.5,
					null
				]
			}
		},
		"upload_time": "2026-11-22T08:46:21.910261094Z",
		"region": "eu"
	},
	"later": {
		"b": 1,
		"a": 2
	}
}
"#;

fn parse(text: &str) -> Result<BlockMeta, MetaError> {
    BlockMeta::parse(text.as_bytes())
}

fn rewritten(text: &str) -> String {
    String::from_utf8(parse(text).unwrap().to_json()).unwrap()
}

#[test]
fn every_key_known_or_not_comes_back_in_place() {
    assert_eq!(rewritten(FULL), FULL);
}

#[test]
fn all_known_keys_are_understood() {
    let meta = parse(FULL).unwrap();
    assert_eq!(meta.ulid.to_string(), "01M816YPNYS2D46TPFF4TEY0Q2");
    assert_eq!(
        (meta.min_time, meta.max_time),
        (1_767_225_600_000, 1_767_254_400_000)
    );
    assert_eq!(meta.stats.num_tombstones, 1);
    assert_eq!(meta.compaction.parents[0].min_time, -1);
    assert_eq!(meta.resolution_ms(), 300_000);
    assert_eq!(meta.upload_time_ms(), Some(1_795_337_181_910));
    assert_eq!(meta.ext_labels().get("cluster"), Some("a<b>&c\u{2028}"));
    let thanos = meta.thanos.unwrap();
    assert_eq!(thanos.files[0].hash.as_ref().unwrap().func, "SHA256");
    assert_eq!(thanos.rewrites[0].deletions_applied[0].matchers[0].r#type, 2);
    assert_eq!(thanos.index_stats.chunk_max_size, 1571);
}

#[test]
fn a_new_meta_has_the_keys_that_are_always_written() {
    let meta = BlockMeta {
        thanos: Some(ThanosMeta::default()),
        ..BlockMeta::default()
    };
    let text = r#"{
	"ulid": "00000000000000000000000000",
	"minTime": 0,
	"maxTime": 0,
	"stats": {},
	"compaction": {
		"level": 0,
		"sources": null
	},
	"version": 1,
	"thanos": {
		"labels": null,
		"downsample": {
			"resolution": 0
		},
		"source": "",
		"index_stats": {},
		"upload_time": "0001-01-01T00:00:00Z"
	}
}
"#;
    assert_eq!(String::from_utf8(meta.to_json()).unwrap(), text);
    assert_eq!(rewritten(text), text);
}

#[test]
fn a_prometheus_block_has_no_thanos_section() {
    let meta = parse(r#"{"ulid":"01M816YPNYS2D46TPFF4TEY0Q2","version":1}"#).unwrap();
    assert_eq!(meta.thanos, None);
    assert_eq!(meta.resolution_ms(), 0);
    assert!(meta.ext_labels().is_empty());
    assert_eq!(meta.upload_time_ms(), None);
    assert!(!String::from_utf8(meta.to_json()).unwrap().contains("thanos"));
}

#[test]
fn null_is_the_zero_value_everywhere() {
    let meta = parse(
        r#"{"ulid":null,"minTime":null,"stats":null,"compaction":{"sources":null,"parents":null,"failed":null},
        "version":1,"thanos":{"version":null,"labels":null,"downsample":null,"source":null,"files":null,
        "segment_files":null,"rewrites":null,"index_stats":null,"extensions":null,"upload_time":null}}"#,
    );
    let expected = BlockMeta {
        thanos: Some(ThanosMeta::default()),
        ..BlockMeta::default()
    };
    assert_eq!(meta, Ok(expected));
}

#[test]
fn empty_labels_stay_an_empty_object() {
    let meta = parse(r#"{"version":1,"thanos":{"labels":{}}}"#).unwrap();
    assert_eq!(meta.thanos.as_ref().unwrap().labels, Some(Labels::default()));
    assert!(
        String::from_utf8(meta.to_json())
            .unwrap()
            .contains("\"labels\": {},")
    );
}

#[test]
fn other_versions_are_told_apart_from_broken_text() {
    assert_eq!(parse(r#"{"version":2}"#), Err(MetaError::Version { found: 2 }));
    assert_eq!(parse("{}"), Err(MetaError::Version { found: 0 }));
    assert_eq!(
        parse(r#"{"version":2,"ulid":17}"#),
        Err(MetaError::Version { found: 2 }),
        "a later version may have other types"
    );
    assert_eq!(
        parse(r#"{"version":1,"thanos":{"version":2}}"#),
        Err(MetaError::ThanosVersion { found: 2 })
    );
    assert_eq!(
        parse(r#"{"version":2}"#).unwrap_err().to_string(),
        "meta.json of version 2: only version 1 is known"
    );
}

#[test]
fn errors_name_key_line_and_column() {
    for (text, expected) in [
        ("", "EOF while parsing a value (key \"\", line 1, column 0)"),
        (
            "{\n\"version\": 1,\n\"minTime\": \"x\"}",
            "invalid type: string \"x\", expected i64 (key \"minTime\", line 3, column 14)",
        ),
        (
            "{\"version\":1,\"thanos\":{\"files\":[{},{\"size_bytes\":1.5}]}}",
            "invalid type: floating point `1.5`, expected i64 \
             (key \"thanos.files[1].size_bytes\", line 1, column 52)",
        ),
        (
            "{\"version\":1,\"thanos\":{\"upload_time\":\"yesterday\"}}",
            "\"yesterday\" is not a time as in RFC 3339 (key \"thanos.upload_time\", line 1, column 48)",
        ),
        (
            "{\"version\":1,\n\"stats\":{\"numSeries\":-1",
            "invalid value: integer `-1`, expected u64 (key \"stats.numSeries\", line 2, column 23)",
        ),
        (
            "{\"version\":1,\"compaction\":{\"sources\":[\"01M816Y5CFTAH7QSXTTYDMDNR1\",\"x\"]}}",
            "a ULID has 26 characters, this text has 1 bytes \
             (key \"compaction.sources[1]\", line 1, column 70)",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.to_string(), format!("meta.json cannot be read: {expected}"));
    }
}

#[test]
fn group_keys_are_those_of_thanos() {
    let mut meta = BlockMeta::default();
    let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied()).unwrap();
    for (pairs, key) in [
        (&[("cluster", "eu1")][..], "0@1319708470537487294"),
        (&[("replica", "a"), ("cluster", "eu1")], "0@708190779274861024"),
    ] {
        meta.thanos = Some(ThanosMeta {
            labels: Some(labels(pairs)),
            ..ThanosMeta::default()
        });
        assert_eq!(meta.group_key(), key);
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    assert!(parse(&deep).is_err());
}

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[a-z<&\"\u{2028}é]{0,6}").unwrap()
}

fn thanos_meta() -> impl Strategy<Value = ThanosMeta> {
    let labels = proptest::option::of(proptest::collection::btree_map(text(), text(), 0..4));
    let files = proptest::collection::vec((text(), any::<i64>()), 0..3);
    let times = any::<i64>().prop_map(UploadTime::from_unix_ns);
    (labels, files, times, any::<(i64, i64)>(), text()).prop_map(
        |(labels, files, upload_time, sizes, source)| ThanosMeta {
            labels: labels.map(Labels::from),
            files: files
                .into_iter()
                .map(|(rel_path, size_bytes)| File {
                    rel_path,
                    size_bytes,
                    ..File::default()
                })
                .collect(),
            upload_time,
            index_stats: IndexStats {
                series_max_size: sizes.0,
                chunk_max_size: sizes.1,
                ..IndexStats::default()
            },
            extensions: Some(serde_json::json!({ source.clone(): [sizes.0, source.clone()] })),
            source,
            ..ThanosMeta::default()
        },
    )
}

proptest! {
    #[test]
    fn metas_round_trip(
        id: [u8; 16],
        times: (i64, i64),
        samples: u64,
        sources in proptest::collection::vec(any::<[u8; 16]>(), 0..3),
        thanos in proptest::option::of(thanos_meta()),
    ) {
        let meta = BlockMeta {
            ulid: BlockId::from_bytes(id),
            min_time: times.0,
            max_time: times.1,
            stats: Stats { num_samples: samples, ..Stats::default() },
            compaction: Compaction {
                sources: sources.into_iter().map(BlockId::from_bytes).collect(),
                ..Compaction::default()
            },
            thanos,
            ..BlockMeta::default()
        };
        prop_assert_eq!(BlockMeta::parse(&meta.to_json()), Ok(meta));
    }

    #[test]
    fn damaged_text_never_panics(at in 0..FULL.len(), byte: u8, cut in 0..FULL.len()) {
        let mut text = FULL.as_bytes().to_vec();
        text[at] = byte;
        let _ = BlockMeta::parse(&text);
        let _ = BlockMeta::parse(&text[..cut]);
    }
}
