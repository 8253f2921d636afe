//! Chunks as peers send them.

use sabre_promql::source::{EncodedPart, SourceError, StoredChunk};
use sabre_proto::thanos::{AggrChunk, Chunk, chunk};
use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::chunk::aggregate::Aggregate;

/// A chunk of a peer.
#[derive(Debug)]
pub(super) struct PeerChunk(AggrChunk);

/// Chunks that do not overlap, in the order of time.
#[derive(Debug)]
pub(super) struct Chunks(std::vec::IntoIter<AggrChunk>);

impl Chunks {
    pub(super) fn new(chunks: Vec<AggrChunk>) -> Chunks {
        Chunks(chunks.into_iter())
    }

    /// Passes those that end before `t`.
    pub(super) fn skip_before(&mut self, t: i64) {
        while self.0.as_slice().first().is_some_and(|chunk| chunk.max_time < t) {
            self.0.next();
        }
    }
}

impl Iterator for Chunks {
    type Item = Result<PeerChunk, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|chunk| Ok(PeerChunk(chunk)))
    }
}

impl StoredChunk for PeerChunk {
    fn mint(&self) -> i64 {
        self.0.min_time
    }

    fn plain(&self) -> Result<Option<EncodedPart<'_>>, SourceError> {
        self.0.raw.as_ref().map(part).transpose()
    }

    fn aggregate(&self, aggregate: Aggregate) -> Result<Option<EncodedPart<'_>>, SourceError> {
        let chunk = match aggregate {
            Aggregate::Count => &self.0.count,
            Aggregate::Sum => &self.0.sum,
            Aggregate::Min => &self.0.min,
            Aggregate::Max => &self.0.max,
            Aggregate::Counter => &self.0.counter,
        };
        chunk.as_ref().map(part).transpose()
    }
}

fn part(of: &Chunk) -> Result<EncodedPart<'_>, SourceError> {
    let encoding = match chunk::Encoding::try_from(of.r#type) {
        Ok(chunk::Encoding::Xor) => Encoding::Xor,
        Ok(chunk::Encoding::Histogram) => Encoding::Histogram,
        Ok(chunk::Encoding::FloatHistogram) => Encoding::FloatHistogram,
        Err(_) => {
            return Err(SourceError::new(format!(
                "a store sent a chunk of type {}, which is none of XOR (0), HISTOGRAM (1), FLOAT_HISTOGRAM (2)",
                of.r#type
            )));
        }
    };
    Ok((encoding, &of.data))
}
