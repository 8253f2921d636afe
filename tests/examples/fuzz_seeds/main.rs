//! Writes `fuzz/corpus/<target>/seed-*`: for every fuzz target a few small inputs that are valid, so that a fuzzer begins
//! behind the first check and not before it.
//!
//! `cargo run -p sabre-tests --example fuzz_seeds`
//!
//! The seeds come from the blocks in `tests/golden` and from the public writers; the same code makes the same bytes.
//! What a fuzzer finds is added beside them under another name, and is never touched here.

mod block;
mod log_indices;
mod texts;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The folder of all corpora.
struct Corpus {
    dir: PathBuf,
    bytes: usize,
}

impl Corpus {
    /// Writes a seed of `target`.
    fn add(&mut self, target: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let dir = self.dir.join(target);
        fs::create_dir_all(&dir)?;
        self.bytes += bytes.len();
        let path = dir.join(format!("seed-{name}"));
        fs::write(&path, bytes).with_context(|| path.display().to_string())
    }

    /// Writes texts as seeds, numbered.
    fn add_texts(&mut self, target: &str, texts: &[&str]) -> Result<()> {
        for (number, text) in texts.iter().enumerate() {
            self.add(target, &format!("{number:02}"), text.as_bytes())?;
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    remove_old_seeds(&dir)?;
    let mut corpus = Corpus { dir, bytes: 0 };
    block::add(&mut corpus)?;
    log_indices::add(&mut corpus)?;
    texts::add(&mut corpus)?;
    wire::add(&mut corpus)?;
    let shown = corpus.dir.display();
    #[expect(clippy::print_stdout, reason = "a tool that says what it did")]
    {
        println!("{} bytes of seeds in {shown}", corpus.bytes);
    }
    Ok(())
}

fn remove_old_seeds(dir: &Path) -> Result<()> {
    for target in fs::read_dir(dir).into_iter().flatten().flatten() {
        for entry in fs::read_dir(target.path())? {
            let path = entry?.path();
            let is_seed = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("seed-");
            if path.file_name().is_some_and(is_seed) {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}
