//! Encoding histograms that have the chunk's layout already.

use std::sync::Arc;

use super::super::{AppendError, MAX_SAMPLES};
use super::codec::Codec;
use super::header::flag_byte;
use super::layout::write_layout;
use super::state::State;
use crate::bits::BitWriter;
use crate::histogram::{CounterResetHint, Layout, NativeHistogram};

/// A chunk under construction: one sample at least.
#[derive(Debug, Clone)]
pub(super) struct Encoder<B: Codec> {
    writer: BitWriter,
    pub(super) samples: u16,
    pub(super) flag: CounterResetHint,
    pub(super) layout: Arc<Layout>,
    pub(super) last: State<B>,
    pub(super) last_stale: bool,
}

impl<B: Codec> Encoder<B> {
    /// Begins a chunk with a histogram, whose layout becomes the chunk's. A stale one has none.
    pub(super) fn start(flag: CounterResetHint, t: i64, histogram: &NativeHistogram<B>) -> Self {
        let stale = histogram.is_stale();
        let empty;
        let histogram = if stale {
            empty = NativeHistogram {
                sum: histogram.sum,
                ..NativeHistogram::default()
            };
            &empty
        } else {
            histogram
        };
        let mut writer = BitWriter::new(vec![0, 0, flag_byte(flag)]);
        write_layout(&mut writer, &histogram.layout);
        let last = State::write_first(&mut writer, t, histogram);
        Self {
            writer,
            samples: 1,
            flag,
            layout: Arc::clone(&histogram.layout),
            last,
            last_stale: stale,
        }
    }

    /// Writes a histogram that has the chunk's buckets, or is stale.
    pub(super) fn push(&mut self, t: i64, histogram: &NativeHistogram<B>) -> Result<(), AppendError> {
        if self.samples == MAX_SAMPLES {
            return Err(AppendError::Full);
        }
        self.last.write_next(&mut self.writer, t, histogram);
        self.last_stale = histogram.is_stale();
        self.samples += 1;
        Ok(())
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.writer.len_bytes()
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut data = self.writer.finish();
        if let Some(header) = data.first_chunk_mut::<2>() {
            *header = self.samples.to_be_bytes();
        }
        data
    }
}
