//! Downsampling as work on series.

use std::sync::Arc;

use sabre_downsample::{Resolution, downsample_series};
use sabre_tsdb::segment::SeriesChunk;

use crate::merge::SeriesWork;
use crate::plan::RESOLUTION_5M_MS;

/// Makes the chunks of a coarser resolution.
#[derive(Debug)]
struct DownsampleWork(Resolution);

impl SeriesWork for DownsampleWork {
    fn run(&self, lists: Vec<Vec<SeriesChunk>>) -> Result<Vec<SeriesChunk>, String> {
        let chunks = lists.into_iter().next().unwrap_or_default();
        downsample_series(&chunks, self.0).map_err(|error| error.to_string())
    }
}

/// The work that makes data of `to_ms`.
pub(crate) fn work(to_ms: i64) -> Arc<dyn SeriesWork> {
    let resolution = match to_ms {
        RESOLUTION_5M_MS => Resolution::FiveMinutes,
        _ => Resolution::OneHour,
    };
    Arc::new(DownsampleWork(resolution))
}
