//! The real binary, killed without a warning in the middle of compacting, again and again: in the end the bucket holds what
//! an undisturbed run makes, to the byte, and nothing else.
//!
//! Runs where `SABRE_TEST_BINARY` is set, and says that it skips where it is not.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sabre_model::Labels;
use sabre_testkit::golden::golden;
use sabre_tsdb::meta::BlockMeta;

const KILLS: u32 = 50;

/// Blocks by time, labels and resolution: index and segments.
type Content = BTreeMap<(i64, i64, Labels, i64), BTreeMap<String, Vec<u8>>>;

fn compact(binary: &str, bucket: &Path, data: &Path) -> Result<Child> {
    let config = format!("type: FILESYSTEM\nconfig: {{directory: {}}}", bucket.display());
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(data.with_extension("log"))?;
    Command::new(binary)
        .args([
            "compact",
            "--consistency-delay=0s",
            "--delete-delay=0s",
            "--http-address=127.0.0.1:0",
        ])
        .arg(format!("--objstore.config={config}"))
        .arg(format!("--data-dir={}", data.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {binary}"))
}

fn log(data: &Path) -> String {
    fs::read_to_string(data.with_extension("log")).unwrap_or_default()
}

fn finish(binary: &str, bucket: &Path, data: &Path) -> Result<Duration> {
    let started = Instant::now();
    let status = compact(binary, bucket, data)?.wait()?;
    ensure!(
        status.success(),
        "sabre compact ended with {status}\n{}",
        log(data)
    );
    Ok(started.elapsed())
}

fn content(bucket: &Path) -> Result<Content> {
    let mut content = Content::new();
    for entry in fs::read_dir(bucket)? {
        let dir = entry?.path();
        if !dir.join("meta.json").is_file() || dir.join("deletion-mark.json").is_file() {
            continue;
        }
        let meta = BlockMeta::parse(&fs::read(dir.join("meta.json"))?)?;
        let mut files = BTreeMap::from([("index".to_owned(), fs::read(dir.join("index"))?)]);
        for segment in fs::read_dir(dir.join("chunks"))? {
            let segment = segment?;
            let name = segment.file_name().to_string_lossy().into_owned();
            files.insert(name, fs::read(segment.path())?);
        }
        let place = (
            meta.min_time,
            meta.max_time,
            meta.ext_labels(),
            meta.resolution_ms(),
        );
        ensure!(
            content.insert(place, files).is_none(),
            "two blocks in one place: {}",
            dir.display()
        );
    }
    Ok(content)
}

fn ensure_same(content: &Content, expected: &Content) -> Result<()> {
    for (place, files) in content {
        let wanted = expected.get(place);
        ensure!(
            wanted.is_some(),
            "a block that an undisturbed run does not leave: {place:?}"
        );
        ensure!(
            wanted == Some(files),
            "other bytes than those of an undisturbed run: {place:?}"
        );
    }
    let missing: Vec<_> = expected
        .keys()
        .filter(|place| !content.contains_key(*place))
        .collect();
    ensure!(
        missing.is_empty(),
        "blocks of an undisturbed run are missing: {missing:?}"
    );
    Ok(())
}

/// Folders of blocks without `meta.json`, and temporary files of uploads.
fn leftovers(bucket: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(bucket)? {
        let path = entry?.path();
        let is_block = path.join("meta.json").is_file();
        let is_empty = path.is_dir() && fs::read_dir(&path)?.next().is_none();
        if !is_block && !is_empty {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn fifty_kills_lose_nothing() -> Result<()> {
    let Ok(binary) = std::env::var("SABRE_TEST_BINARY") else {
        eprintln!("SKIPPED: SABRE_TEST_BINARY is not set, no process is killed");
        return Ok(());
    };
    let Some(golden) = golden() else { return Ok(()) };
    let raw = ["raw/raw2h-a", "raw/raw2d"];
    let undisturbed = golden.copy(&raw)?;
    let work = tempfile::tempdir()?;
    let whole = finish(&binary, undisturbed.path(), &work.path().join("undisturbed"))?;
    let expected = content(undisturbed.path())?;
    let (mut killed, mut ended, mut partial) = (0, 0, 0);
    let mut bucket = golden.copy(&raw)?;
    let data = work.path().join("killed");
    while killed < KILLS {
        let mut process = compact(&binary, bucket.path(), &data)?;
        // Spread over the whole run, each time a little later than the last.
        std::thread::sleep(whole * ((killed + ended) * 37 % 100) / 100);
        if let Some(status) = process.try_wait()? {
            ended += 1;
            ensure!(status.success(), "a run ended with {status}\n{}", log(&data));
            ensure_same(&content(bucket.path())?, &expected).with_context(|| log(&data))?;
            bucket = golden.copy(&raw)?;
            ensure!(
                ended < 20 * KILLS,
                "the process always ends before it can be killed"
            );
            continue;
        }
        process.kill()?;
        process.wait()?;
        killed += 1;
        partial += leftovers(bucket.path())?.len();
    }
    // Marked blocks are deleted by the second run at the latest.
    std::thread::sleep(Duration::from_millis(1_100));
    finish(&binary, bucket.path(), &data)?;
    ensure_same(&content(bucket.path())?, &expected).with_context(|| log(&data))?;
    let uploads: Vec<PathBuf> = leftovers(bucket.path())?
        .into_iter()
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'))
        })
        .collect();
    let mut cut_puts = 0;
    for dir in &uploads {
        for upload in fs::read_dir(dir)? {
            let name = upload?.file_name().to_string_lossy().into_owned();
            // These come when the result has no local folder any more. Cleaning removes them after two days.
            let is_small = name.ends_with("meta.json") || name.ends_with("-mark.json");
            ensure!(is_small, "an upload is left: {name}\n{}", log(&data));
            cut_puts += 1;
        }
    }
    println!(
        "{killed} kills, {ended} runs ended before theirs, {partial} partial things seen on the way, {cut_puts} small files \
         cut and left for a later cleaning, nothing lost"
    );
    Ok(())
}
