//! Golden blocks for the tests of this crate, which comes before the testkit.

#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
pub(crate) mod blocks;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

/// All files of a golden archive by path, or nothing where the golden data is not installed.
///
/// It is looked for where `SABRE_GOLDEN` says, else in `../shared/golden` beside the checkout. With `CI=true`
/// its absence is a failure.
#[expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]
pub(crate) fn archive(name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    let directory = std::env::var_os("SABRE_GOLDEN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden")),
        PathBuf::from,
    );
    let path = directory.join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        let text = format!(
            "no golden data at {}: set SABRE_GOLDEN to its directory",
            path.display()
        );
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{text}");
        eprintln!("\nSKIPPED: {text}\n");
        return None;
    };
    let mut archive = tar::Archive::new(zstd::Decoder::new(file).expect("a zstd stream"));
    let mut files = BTreeMap::new();
    for entry in archive.entries().expect("a tar archive") {
        let mut entry = entry.expect("an entry");
        if entry.header().entry_type().is_file() {
            let path = entry.path().expect("a path").display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("the bytes of the entry");
            files.insert(path, bytes);
        }
    }
    Some(files)
}

/// The segment files among them.
pub(crate) fn segments(files: &BTreeMap<String, Vec<u8>>) -> impl Iterator<Item = (&str, &[u8])> {
    let segments = files.iter().filter(|(path, _)| path.contains("/chunks/"));
    segments.map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
}
