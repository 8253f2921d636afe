//! Keeps `src/generated/` in step with the `.proto` files.
//!
//! After a change of a `.proto` file: `cargo test -p sabre-proto -- --ignored regenerate`.
#![expect(clippy::expect_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Every file with messages or services; what they import comes along.
const FILES: &[&str] = &[
    "thanos/types.proto",
    "thanos/store.proto",
    "thanos/info.proto",
    "thanos/hints.proto",
    "thanos/rules.proto",
    "thanos/targets.proto",
    "thanos/metadata.proto",
    "thanos/exemplars.proto",
    "thanos/query.proto",
    "thanos/status.proto",
    "prometheus/copy.proto",
    "prometheus/remote.proto",
];

const DESCRIPTORS: &str = "descriptors.bin";

fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn compile(with_comments: bool) -> protox::Compiler {
    let mut compiler = protox::Compiler::new([crate_dir().join("proto")]).expect("proto folder");
    compiler.include_imports(true).include_source_info(with_comments);
    compiler
        .open_files(FILES)
        .unwrap_or_else(|error| panic!("{error:?}"));
    compiler
}

/// Writes the Rust code and the descriptors into `out`.
fn generate(out: &Path) {
    let mut config = tonic_prost_build::Config::new();
    config
        .bytes(["."])
        .btree_map(["."])
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com");
    // Stubs: what a server does not offer is Unimplemented, and `Series` is served by `StoreService`.
    tonic_prost_build::configure()
        .generate_default_stubs(true)
        .out_dir(out)
        .compile_fds_with_config(compile(true).file_descriptor_set(), config)
        .expect("generate code");
    fs::write(out.join(DESCRIPTORS), compile(false).encode_file_descriptor_set()).expect("write descriptors");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("read folder")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("UTF-8 name")
        })
        .collect();
    names.sort();
    names
}

#[test]
#[ignore = "writes into the source tree"]
fn regenerate() {
    let out = crate_dir().join("src/generated");
    fs::remove_dir_all(&out).expect("remove old code");
    fs::create_dir_all(&out).expect("create folder");
    generate(&out);
}

#[test]
fn generated_code_is_up_to_date() {
    let checked_in = crate_dir().join("src/generated");
    let fresh = tempfile::tempdir().expect("temp dir");
    generate(fresh.path());
    assert_eq!(
        names(&checked_in),
        names(fresh.path()),
        "run: cargo test -p sabre-proto -- --ignored regenerate"
    );
    for name in names(fresh.path()) {
        let same = fs::read(checked_in.join(&name)).expect("old")
            == fs::read(fresh.path().join(&name)).expect("new");
        assert!(
            same,
            "{name} is out of date; run: cargo test -p sabre-proto -- --ignored regenerate"
        );
    }
}
