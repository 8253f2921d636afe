//! What real Prometheus and Thanos wrote and answered.
//!
//! The folder is named by `SABRE_GOLDEN`; without it, it is looked for in `shared/golden` beside the checkout. Tests
//! that need it skip loudly when it is not there, and fail where `CI=true` promises that it is.

#[cfg(test)]
mod tests;

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const VARIABLE: &str = "SABRE_GOLDEN";
const CACHE_FOLDER: &str = "sabre-golden";

/// The folder with the golden data.
#[derive(Debug, Clone)]
pub struct Golden {
    dir: PathBuf,
}

/// Finds the golden data; `None` means that the calling test skips, which was said on standard error.
///
/// # Panics
///
/// Where `CI=true` and there are none.
pub fn golden() -> Option<Golden> {
    let dir = folder();
    if dir.join("raw.tar.zst").is_file() {
        return Some(Golden { dir });
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let message = format!(
        "{test}: no golden data in {}, set {VARIABLE} to their folder",
        dir.display()
    );
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    // Not by a print macro: the test harness swallows what passing tests print.
    let _ = writeln!(std::io::stderr(), "SKIPPED {message}");
    None
}

fn folder() -> PathBuf {
    if let Some(dir) = std::env::var_os(VARIABLE) {
        return PathBuf::from(dir);
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap_or(Path::new("."));
    checkout.join("../shared/golden")
}

impl Golden {
    /// Uses another folder.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Returns the folder of a folder of blocks, such as `raw/raw2h-a` or `thanos/plain`.
    ///
    /// It is unpacked once and shared by all tests: read only. See [`Self::copy`].
    pub fn blocks(&self, name: &str) -> Result<PathBuf> {
        let archive = name.split('/').next().unwrap_or_default();
        let dir = self.unpacked(archive)?.join(name);
        anyhow::ensure!(dir.is_dir(), "{archive}.tar.zst has no folder {name}");
        Ok(dir)
    }

    /// Returns the folders of the single blocks in a folder of blocks, sorted by name.
    pub fn block_dirs(&self, name: &str) -> Result<Vec<PathBuf>> {
        let dir = self.blocks(name)?;
        let mut dirs = Vec::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
            let path = entry?.path();
            if path.join("meta.json").is_file() {
                dirs.push(path);
            }
        }
        dirs.sort();
        Ok(dirs)
    }

    /// Copies all blocks of the given folders into one new folder, as a bucket holds them.
    pub fn copy(&self, names: &[&str]) -> Result<TempDir> {
        let bucket = tempfile::tempdir().context("make a folder for a bucket")?;
        for name in names {
            copy_folder(&self.blocks(name)?, bucket.path())?;
        }
        Ok(bucket)
    }

    /// Returns the lines of a compressed text file, such as `http.jsonl.zst`.
    pub fn lines(&self, file: &str) -> Result<Vec<String>> {
        let path = self.dir.join(file);
        let text = File::open(&path)
            .map_err(anyhow::Error::from)
            .and_then(|file| Ok(zstd::stream::decode_all(file)?))
            .and_then(|bytes| Ok(String::from_utf8(bytes)?))
            .with_context(|| format!("read {}", path.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Returns the folder in which `<archive>.tar.zst` lies unpacked.
    fn unpacked(&self, archive: &str) -> Result<PathBuf> {
        let path = self.dir.join(format!("{archive}.tar.zst"));
        let packed = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&packed);
        let cache = cache_folder();
        let target = cache.join(format!("{archive}-{:016x}", hasher.finish()));
        if !target.is_dir() {
            unpack(&packed, &cache, &target).with_context(|| format!("unpack {}", path.display()))?;
        }
        Ok(target)
    }
}

/// A folder that outlives this run: in cargo's target folder where the tests lie in one.
fn cache_folder() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    // <target>/<profile>/deps/<test>
    let mut dirs = exe.ancestors().skip(1);
    let in_target = dirs.next().is_some_and(|dir| dir.ends_with("deps"));
    match dirs.nth(1) {
        Some(target) if in_target => target.join(CACHE_FOLDER),
        _ => std::env::temp_dir().join(CACHE_FOLDER),
    }
}

/// Unpacks beside `target` and renames, so that other test processes see all of it or nothing.
fn unpack(packed: &[u8], cache: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(cache)?;
    let partial = tempfile::Builder::new().prefix("unpacking-").tempdir_in(cache)?;
    let mut tar = Vec::new();
    zstd::stream::read::Decoder::new(Cursor::new(packed))?.read_to_end(&mut tar)?;
    tar::Archive::new(Cursor::new(tar)).unpack(partial.path())?;
    match fs::rename(partial.path(), target) {
        // Another process was quicker; ours is removed with `partial`.
        Err(_) if target.is_dir() => Ok(()),
        result => Ok(result?),
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("write {}", target.display()))?;
        }
    }
    Ok(())
}
