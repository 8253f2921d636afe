//! The same ranges, read by a loop that does nothing else.

use std::time::Instant;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    bucket::{Request, Served},
    caller::Call,
};

/// How often the loop runs; the median counts.
const LOOPS: u32 = 3;

/// Prints how fast a call got its bytes, and how fast the loop does.
pub(crate) async fn compare(title: &str, bucket: &Served, requests: &[Request], call: &Call) -> Result<()> {
    let ranges: Vec<(String, u64, u64)> = requests.iter().filter_map(range).collect();
    if ranges.is_empty() {
        return Ok(());
    }
    let client = bucket.client()?;
    let parallel = most_at_once(requests);
    let mut took = Vec::new();
    let mut bytes = 0;
    for _ in 0..LOOPS {
        let start = Instant::now();
        let lengths: Vec<usize> = stream::iter(&ranges)
            .map(|(key, offset, len)| async {
                let body = client.get_range(key, *offset, *len).await;
                body.map(|body| body.bytes.len()).context("read a range")
            })
            .buffer_unordered(parallel)
            .try_collect()
            .await?;
        took.push(start.elapsed().as_secs_f64());
        bytes = lengths.iter().sum();
    }
    took.sort_by(f64::total_cmp);
    let (megabytes, bare) = (
        bytes as f64 / 1e6,
        took.get(took.len() / 2).copied().unwrap_or(f64::NAN),
    );
    let store = call.took.as_secs_f64();
    println!(
        "{title}, against a loop of the same {} range reads, {parallel} at once\t{megabytes:.1} MB: store {:.0} MB/s, loop {:.0} MB/s ({:.0} %)",
        ranges.len(),
        megabytes / store,
        megabytes / bare,
        bare / store * 100.0,
    );
    Ok(())
}

/// How many of the requests were open at the same time: the loop may have as many.
fn most_at_once(requests: &[Request]) -> usize {
    let starts = requests.iter().map(|request| (request.start, 1));
    let ends = requests.iter().map(|request| (request.end, -1));
    let mut changes: Vec<_> = starts.chain(ends).collect();
    changes.sort();
    let (mut open, mut most) = (0i64, 1);
    for (_, change) in changes {
        open += change;
        most = most.max(open);
    }
    usize::try_from(most).unwrap_or(1)
}

/// Key, offset and length of a range read.
fn range(request: &Request) -> Option<(String, u64, u64)> {
    let target = request.line.split(' ').nth(1)?;
    let path = target.split('?').next()?;
    let (_, key) = path.strip_prefix('/')?.split_once('/')?;
    let (first, last) = request.range?;
    Some((key.to_owned(), first, last.checked_sub(first)? + 1))
}
