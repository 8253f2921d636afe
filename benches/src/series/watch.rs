//! What one call asks of the bucket.

use std::time::Instant;

use anyhow::Result;

use crate::{
    bucket::{Request, Served},
    caller::Call,
    metrics::Page,
};

const TOUCHED: &str = "thanos_bucket_store_series_data_size_touched_bytes_sum";
const FETCHED: &str = "thanos_bucket_store_series_data_size_fetched_bytes_sum";
const OPERATIONS: &str = "thanos_objstore_bucket_operations_total";

/// The bucket and the store's own account of it, from before a call.
pub(crate) struct Watch<'a> {
    http: &'a str,
    bucket: &'a Served,
    before: Page,
    requests: Vec<Request>,
}

impl<'a> Watch<'a> {
    /// Begins.
    pub(crate) async fn start(http: &'a str, bucket: &'a Served) -> Result<Self> {
        let before = Page::of(http).await?;
        if let Some(proxy) = &bucket.proxy {
            proxy.take();
        }
        Ok(Self {
            http,
            bucket,
            before,
            requests: Vec::new(),
        })
    }

    /// Prints what a call took that has just ended.
    pub(crate) async fn report(&mut self, title: &str, call: &Call, began: Instant) -> Result<()> {
        let after = Page::of(self.http).await?;
        let grown = |name: &str, labels: &str| after.sum(name, labels) - self.before.sum(name, labels);
        let (touched, fetched) = (grown(TOUCHED, ""), grown(FETCHED, ""));
        let gets = grown(OPERATIONS, "operation=\"get_range\"");
        print!(
            "{title}\t{:.1} ms, first frame {:.1} ms, {gets} range reads, {:.2} MB fetched for {:.2} MB touched",
            call.took.as_secs_f64() * 1e3,
            call.first_frame.as_secs_f64() * 1e3,
            fetched / 1e6,
            touched / 1e6,
        );
        if fetched > 0.0 {
            print!(" ({:.2})", fetched / touched);
        }
        if let Some(proxy) = &self.bucket.proxy {
            self.requests = proxy.take();
            let first_frame = began + call.first_frame;
            let before: Vec<&Request> = self.requests.iter().filter(|r| r.end <= first_frame).collect();
            print!(
                ", {} HTTP requests, of which {} before the first frame, at most {} of them after one another",
                self.requests.len(),
                before.len(),
                rounds(&before),
            );
        }
        println!();
        Ok(())
    }

    /// The requests of the call reported last.
    pub(crate) fn requests(&self) -> &[Request] {
        &self.requests
    }
}

/// The longest chain of requests each of which began after the one before had ended: no more can depend on each other.
fn rounds(requests: &[&Request]) -> usize {
    let mut sorted = requests.to_vec();
    sorted.sort_by_key(|request| request.end);
    let (mut rounds, mut last_end) = (0, None);
    // As many as possible that do not overlap: take whatever ends first.
    for request in sorted {
        if last_end.is_none_or(|end| request.start >= end) {
            rounds += 1;
            last_end = Some(request.end);
        }
    }
    rounds
}
