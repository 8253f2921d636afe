//! What a chunk of an answer holds: its samples, or aggregates of them.

use crate::thanos::{AggrChunk, Chunk};

impl AggrChunk {
    /// Raw samples, count, sum, min, max and counter, as far as they are there.
    pub fn parts(&self) -> [Option<&Chunk>; 6] {
        [
            self.raw.as_ref(),
            self.count.as_ref(),
            self.sum.as_ref(),
            self.min.as_ref(),
            self.max.as_ref(),
            self.counter.as_ref(),
        ]
    }

    /// The parts that are there, in the order of [`Self::parts`], to be changed.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut Chunk> {
        let parts = [
            &mut self.raw,
            &mut self.count,
            &mut self.sum,
            &mut self.min,
            &mut self.max,
            &mut self.counter,
        ];
        parts.into_iter().flatten()
    }

    /// The bytes of the data of all parts.
    pub fn data_bytes(&self) -> usize {
        self.parts()
            .into_iter()
            .flatten()
            .map(|part| part.data.len())
            .sum()
    }
}
