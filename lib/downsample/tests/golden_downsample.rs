//! The downsampled blocks that Thanos made of the golden ones, made again chunk by chunk.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test program: what goes wrong fails the test"
)]

#[allow(dead_code, reason = "this test program uses a part of it")]
#[path = "../../tsdb/tests/support/mod.rs"]
mod support;

use rayon::prelude::*;
use sabre_downsample::{Attempt, DownsampleError, Downsampler, Resolution, downsample_series};
use sabre_tsdb::segment::SeriesChunk;
use support::blocks::{Block, Series, assert_same, blocks};

/// Downsamples a block; series of which nothing is left are dropped.
fn downsampled(block: &Block, target: Resolution) -> Series {
    let series = block.series.iter().map(|(labels, chunks)| {
        let made = downsample_series(chunks, target).unwrap_or_else(|error| panic!("{labels}: {error}"));
        (labels.clone(), made)
    });
    series.filter(|(_, chunks)| !chunks.is_empty()).collect()
}

/// Every block of `folder` at the coarser resolution beside its source.
fn pairs(folder: &[Block], target: Resolution) -> Vec<(&Block, &Block)> {
    let source_ms = match target {
        Resolution::FiveMinutes => 0,
        Resolution::OneHour => Resolution::FiveMinutes.millis(),
    };
    let mut pairs = Vec::new();
    for result in folder
        .iter()
        .filter(|block| block.meta.resolution_ms() == target.millis())
    {
        let source = folder.iter().find(|block| {
            block.meta.resolution_ms() == source_ms
                && block.meta.compaction.sources == result.meta.compaction.sources
        });
        pairs.push((source.unwrap(), result));
    }
    pairs
}

fn assert_equal_to_thanos(target: Resolution, at_least: usize) {
    let folder = blocks("thanos/long");
    let pairs = pairs(&folder, target);
    for (source, result) in &pairs {
        let made = downsampled(source, target);
        assert_same(&made, &result.series, &format!("{target:?} {}", result.meta.ulid));
    }
    assert!(
        pairs.len() >= at_least || folder.is_empty(),
        "{} blocks",
        pairs.len()
    );
}

#[test]
fn raw_blocks_become_what_thanos_made_of_them() {
    assert_equal_to_thanos(Resolution::FiveMinutes, 3);
}

#[test]
fn windows_of_five_minutes_become_what_thanos_made_of_them() {
    assert_equal_to_thanos(Resolution::OneHour, 1);
}

/// From raw chunks to windows of an hour without a block in between: the same windows, for these series.
#[test]
fn both_steps_in_one_pass_are_equal_to_thanos() {
    let folder = blocks("thanos/long");
    for (fives, hours) in pairs(&folder, Resolution::OneHour) {
        let raw = pairs(&folder, Resolution::FiveMinutes)
            .into_iter()
            .find(|(_, result)| result.meta.ulid == fives.meta.ulid);
        let mut between = fives.clone();
        between.series = downsampled(raw.unwrap().0, Resolution::FiveMinutes);
        assert_same(
            &downsampled(&between, Resolution::OneHour),
            &hours.series,
            "both steps",
        );
    }
}

fn one_by_one(chunks: &[SeriesChunk], target: Resolution) -> Result<Vec<SeriesChunk>, DownsampleError> {
    let mut sampler = Downsampler::new(target);
    loop {
        for chunk in chunks {
            sampler.push(chunk)?;
        }
        match sampler.finish()? {
            Attempt::Done(made) => return Ok(made),
            Attempt::Again(next) => sampler = next,
        }
    }
}

#[test]
fn chunks_given_one_by_one_give_the_same() {
    let folder = blocks("thanos/long");
    for target in [Resolution::FiveMinutes, Resolution::OneHour] {
        for (source, _) in pairs(&folder, target) {
            for (labels, chunks) in &source.series {
                let made = one_by_one(chunks, target);
                assert_eq!(made, downsample_series(chunks, target), "{labels}");
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same() {
    let folder = blocks("thanos/long");
    for (source, result) in pairs(&folder, Resolution::FiveMinutes) {
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let made: Series = pool.install(|| {
                let series = source.series.par_iter();
                let made = series.map(|(labels, chunks)| {
                    (
                        labels.clone(),
                        downsample_series(chunks, Resolution::FiveMinutes).unwrap(),
                    )
                });
                made.filter(|(_, chunks)| !chunks.is_empty()).collect()
            });
            assert_same(&made, &result.series, &format!("{threads} threads"));
        }
    }
}
