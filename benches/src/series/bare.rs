//! The same ranges, read with the bare SDK by a loop that does nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use futures::{StreamExt, TryStreamExt, stream};
use sabre_proto::thanos::SeriesRequest;
use tonic::transport::Channel;

use crate::{
    bucket::{NAME, Request, Served},
    caller::{self, Call},
};

/// How often store and loop run at least, in turn; the medians count.
const RUNS: usize = 5;

/// Short calls are made more often, until both together took so long.
const ENOUGH: Duration = Duration::from_secs(4);

/// A range of an object: key, and what the header says.
type Range = (String, String);

/// Prints how fast the store answers, and how fast a loop reads the same ranges, as many at once as the store had open at
/// once, drops what it reads, and waits for nothing in between.
pub(crate) async fn compare(
    title: &str,
    bucket: &Served,
    requests: &[Request],
    (channel, request): (&Channel, &SeriesRequest),
) -> Result<()> {
    let ranges: Vec<Range> = requests.iter().filter_map(range).collect();
    let (Some(client), false) = (bucket.sdk(), ranges.is_empty()) else {
        return Ok(());
    };
    let parallel = most_at_once(requests);
    // The first time connections are opened.
    read_all(&client, &ranges, parallel).await?;
    let (mut loops, mut calls, mut bytes) = (Vec::new(), Vec::new(), 0);
    let began = Instant::now();
    while loops.len() < RUNS || began.elapsed() < ENOUGH {
        let Call { took, .. } = caller::call(channel, request).await?;
        calls.push(took.as_secs_f64());
        let start = Instant::now();
        bytes = read_all(&client, &ranges, parallel).await?;
        loops.push(start.elapsed().as_secs_f64());
    }
    let runs = loops.len();
    let (store, bare) = (median(calls), median(loops));
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{title}, against a bare SDK loop of the same {} range reads, {parallel} at once, medians of {runs}\t{megabytes:.1} MB read: store {:.1} ms = {:.0} MB/s, loop {:.1} ms = {:.0} MB/s, the store has {:.0} % of its throughput",
        ranges.len(),
        store * 1e3,
        megabytes / store,
        bare * 1e3,
        megabytes / bare,
        bare / store * 100.0,
    );
    Ok(())
}

/// How many bytes came.
async fn read_all(client: &Client, ranges: &[Range], parallel: usize) -> Result<u64> {
    let read = |(key, range): &Range| {
        let request = client.get_object().bucket(NAME).key(key).range(range);
        async move {
            let mut body = request.send().await.context("read a range")?.body;
            let mut bytes = 0;
            while let Some(piece) = body.try_next().await.context("read a range")? {
                bytes += piece.len() as u64;
            }
            anyhow::Ok(bytes)
        }
    };
    let reads = stream::iter(ranges).map(read).buffer_unordered(parallel);
    reads.try_fold(0, |all, one| async move { Ok(all + one) }).await
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
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

fn range(request: &Request) -> Option<Range> {
    let target = request.line.split(' ').nth(1)?;
    let path = target.split('?').next()?;
    let (_, key) = path.strip_prefix('/')?.split_once('/')?;
    let (first, last) = request.range?;
    Some((key.to_owned(), format!("bytes={first}-{last}")))
}

#[cfg(test)]
mod tests {
    use sabre_testkit::s3::S3Server;

    use super::*;
    use crate::bucket::{ACCESS_KEY, Proxy, SECRET_KEY};

    #[tokio::test]
    async fn the_loop_reads_what_went_through_the_proxy() {
        let root = tempfile::tempdir().unwrap();
        let server = S3Server::start(root.path(), ACCESS_KEY, SECRET_KEY)
            .await
            .unwrap();
        server.create_bucket(NAME).unwrap();
        std::fs::write(root.path().join(NAME).join("index"), vec![7; 100_000]).unwrap();
        let proxy = Proxy::start(&server.endpoint(), Duration::ZERO).await.unwrap();
        let bucket = Served::of_proxy(proxy);
        let client = bucket.sdk().unwrap();
        let asked = [(0, 99), (50_000, 99_999)];
        let ranges = asked.map(|(first, last)| ("index".to_owned(), format!("bytes={first}-{last}")));
        assert_eq!(read_all(&client, &ranges, 1).await.unwrap(), 100 + 50_000);
        let seen = bucket.proxy.as_ref().unwrap().take();
        let again: Vec<Range> = seen.iter().filter_map(range).collect();
        assert_eq!(again, ranges);
    }
}
