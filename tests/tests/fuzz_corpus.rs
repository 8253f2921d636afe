//! Replays `fuzz/corpus/<target>/` through the same functions that the fuzz targets call.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

use std::{fs, path::Path};

type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("tsdb_xor_chunk", sabre_tsdb::fuzz::xor_chunk),
    ("tsdb_histogram_chunk", sabre_tsdb::fuzz::histogram_chunk),
    (
        "tsdb_float_histogram_chunk",
        sabre_tsdb::fuzz::float_histogram_chunk,
    ),
    ("tsdb_aggregate_chunk", sabre_tsdb::fuzz::aggregate_chunk),
    ("tsdb_segment", sabre_tsdb::fuzz::segment),
    ("tsdb_index", sabre_tsdb::fuzz::index),
    ("tsdb_series_entry", sabre_tsdb::fuzz::series_entry),
    ("tsdb_postings_list", sabre_tsdb::fuzz::postings_list),
    ("tsdb_postings_table", sabre_tsdb::fuzz::postings_table),
    ("tsdb_symbols", sabre_tsdb::fuzz::symbols),
    ("tsdb_toc", sabre_tsdb::fuzz::toc),
    ("tsdb_meta_json", sabre_tsdb::fuzz::meta_json),
    ("tsdb_marks", sabre_tsdb::fuzz::marks),
    ("tsdb_tombstones", sabre_tsdb::fuzz::tombstones),
    ("tsdb_merge", sabre_tsdb::fuzz::merge),
    ("downsample_raw_series", sabre_downsample::fuzz::raw_series),
    (
        "downsample_aggregate_series",
        sabre_downsample::fuzz::aggregate_series,
    ),
    ("compactor_source_index", sabre_compactor::fuzz::source_index),
    ("compactor_source_chunks", sabre_compactor::fuzz::source_chunks),
    ("model_duration", sabre_model::fuzz::duration),
    ("model_regex", sabre_model::fuzz::regex),
    ("model_selector", sabre_model::fuzz::selector),
    ("model_relabel", sabre_model::fuzz::relabel),
    ("proto_remote_read_stream", sabre_proto::fuzz::remote_read_stream),
    ("proto_store_request", sabre_proto::fuzz::store_request),
    ("proto_store_response", sabre_proto::fuzz::store_response),
    ("runtime_yaml_document", sabre_runtime::fuzz::yaml_document),
    ("runtime_expand_env", sabre_runtime::fuzz::expand_env),
    ("runtime_command_line", sabre_runtime::fuzz::command_line),
    ("runtime_snappy_request", sabre_runtime::fuzz::snappy_request),
    ("objstore_server_text", sabre_objstore::fuzz::server_text),
    ("runtime_names", sabre_runtime::fuzz::names),
    (
        "runtime_certificate_subject",
        sabre_runtime::fuzz::certificate_subject,
    ),
    ("cache_answers", sabre_cache::fuzz::answers),
    ("cache_values", sabre_cache::fuzz::values),
    ("promql_query", sabre_promql::fuzz::query),
    ("block_index_header", sabre_block::fuzz::index_header),
    ("block_key", sabre_block::fuzz::key),
    ("query_dedup", sabre_query::fuzz::dedup),
    ("query_endpoint_documents", sabre_query::fuzz::endpoint_documents),
    ("query_series_answer", sabre_query::fuzz::series_answer),
    ("es_answer", sabre_es_retention::fuzz::answer),
    ("es_configuration", sabre_es_retention::fuzz::configuration),
];

/// Inputs every decoder must bear, whatever its format.
fn common() -> Vec<Vec<u8>> {
    let mut inputs = vec![Vec::new(), vec![0], vec![0xff; 64], vec![0; 4096], vec![0x80; 32]];
    inputs.extend((0..=255_u8).map(|byte| vec![byte, 0, 0, 0, byte, 0xff, byte, 1]));
    inputs
}

#[test]
fn decoders_bear_what_was_found_and_what_is_common() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in TARGETS {
        common().iter().for_each(|input| target(input));
        let mut replayed = 0;
        for entry in fs::read_dir(corpus.join(name)).into_iter().flatten().flatten() {
            target(&fs::read(entry.path()).expect("a corpus file"));
            replayed += 1;
        }
        println!("{name}: {replayed} inputs of its corpus");
    }
}

#[test]
fn every_corpus_belongs_to_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for entry in fs::read_dir(corpus).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        assert!(
            TARGETS.iter().any(|(target, _)| *target == name),
            "fuzz/corpus/{name} has no target"
        );
    }
}

#[test]
fn every_target_is_replayed() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    for entry in fs::read_dir(files).expect("the targets").flatten() {
        let path = entry.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("UTF-8");
        assert!(
            TARGETS.iter().any(|(target, _)| *target == name),
            "fuzz/fuzz_targets/{name}.rs is not replayed here"
        );
    }
}

/// Seeds are small: a fuzzer grows its own.
#[test]
fn the_corpus_stays_small() {
    const MAX_BYTES: u64 = 300 << 10;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut bytes = 0;
    for target in fs::read_dir(corpus).expect("the corpus").flatten() {
        for entry in fs::read_dir(target.path()).expect("a corpus").flatten() {
            bytes += entry.metadata().expect("a corpus file").len();
        }
    }
    assert!((1..=MAX_BYTES).contains(&bytes), "{bytes} bytes in fuzz/corpus");
}
