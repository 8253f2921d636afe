//! Small blocks for tests: series in, the files of a block out.
//!
//! ```
//! use sabre_testkit::blocks::BlockBuilder;
//!
//! let block = BlockBuilder::new(1)
//!     .ext_labels(&[("cluster", "eu1")])
//!     .floats(&[("__name__", "up"), ("job", "a")], [(1000, 1.0), (16_000, 0.0)])
//!     .build()
//!     .unwrap();
//! assert_eq!((block.meta.min_time, block.meta.max_time), (1000, 16_001));
//! ```

#[cfg(test)]
mod tests;

use anyhow::{Context, Result};
use bytes::Bytes;
use sabre_model::{BlockId, Labels};
use sabre_objstore::Bucket;
use sabre_tsdb::chunk::{EncodedChunk, Encoding, Sample, Value, encode_stream};
use sabre_tsdb::index::{ChunkMeta, INDEX_FILE_NAME, IndexWriter, SymbolsBuilder};
use sabre_tsdb::meta::{
    BlockMeta, Compaction, Downsample, File, META_FILE_NAME, SOURCE_SIDECAR, Stats, ThanosMeta,
};
use sabre_tsdb::segment::{DEFAULT_SEGMENT_BYTES, MemorySink, SegmentWriter, segment_name};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An empty `tombstones` file, which Prometheus writes beside every block.
const NO_TOMBSTONES: &[u8] = &[0x01, 0x30, 0xba, 0x30, 0x01, 0, 0, 0, 0];

/// Collects the series of a block.
#[derive(Debug, Clone)]
pub struct BlockBuilder {
    id: BlockId,
    time_range: Option<Range<i64>>,
    thanos: Option<ThanosMeta>,
    segment_bytes: u32,
    series: BTreeMap<Labels, Vec<EncodedChunk>>,
}

/// The files of a block.
#[derive(Debug, Clone)]
pub struct Block {
    /// What `meta.json` says.
    pub meta: BlockMeta,
    /// Paths in the folder of the block with their content; `meta.json` comes last.
    pub files: Vec<(String, Bytes)>,
}

impl BlockBuilder {
    /// Starts a block without series; equal numbers make equal names, greater numbers later ones.
    pub fn new(number: u64) -> Self {
        Self {
            id: BlockId::from_parts(number, [0; 10]),
            time_range: None,
            thanos: None,
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            series: BTreeMap::new(),
        }
    }

    /// Gives the block a name.
    #[must_use]
    pub fn id(self, id: BlockId) -> Self {
        Self { id, ..self }
    }

    /// Sets the time range in milliseconds, its end not included; without this it is that of the samples.
    #[must_use]
    pub fn time_range(self, range: Range<i64>) -> Self {
        Self {
            time_range: Some(range),
            ..self
        }
    }

    /// Makes it a block of a bucket, with these external labels. Without them it is one that Prometheus has
    /// just written, with an empty `tombstones` file.
    ///
    /// # Panics
    ///
    /// If a name comes twice.
    #[must_use]
    pub fn ext_labels(mut self, labels: &[(&str, &str)]) -> Self {
        self.thanos_mut().labels = Some(label_set(labels));
        self
    }

    /// Makes it a downsampled block of a bucket; its chunks are up to the caller, see [`Self::chunks`].
    #[must_use]
    pub fn resolution_ms(mut self, resolution: i64) -> Self {
        self.thanos_mut().downsample = Downsample {
            resolution,
            ..Downsample::default()
        };
        self
    }

    /// Cuts segments at fewer bytes than usual.
    #[must_use]
    pub fn segment_bytes(self, limit: u32) -> Self {
        Self {
            segment_bytes: limit,
            ..self
        }
    }

    /// Adds a series of floats: times in milliseconds, ascending.
    ///
    /// # Panics
    ///
    /// If a label name comes twice.
    #[must_use]
    pub fn floats(self, labels: &[(&str, &str)], samples: impl IntoIterator<Item = (i64, f64)>) -> Self {
        let samples = samples.into_iter().map(|(t, value)| Sample {
            t,
            value: Value::Float(value),
        });
        self.samples(label_set(labels), samples)
    }

    /// Adds a series of any samples, in ascending order of time.
    ///
    /// # Panics
    ///
    /// If a histogram's spans and buckets do not go together.
    #[must_use]
    pub fn samples(self, labels: Labels, samples: impl IntoIterator<Item = Sample>) -> Self {
        match encode_stream(samples) {
            Ok(chunks) => self.chunks(labels, chunks),
            Err(error) => panic!("series {labels}: {error}"),
        }
    }

    /// Adds a series of chunks as they are; those of a series that is there already are put behind its own.
    #[must_use]
    pub fn chunks(mut self, labels: Labels, chunks: Vec<EncodedChunk>) -> Self {
        self.series.entry(labels).or_default().extend(chunks);
        self
    }

    /// Adds `series` counters `{__name__="requests_total", pod="pod-<n>"}`, one sample every `step_ms` in `times`.
    /// They differ in slope and start, and reset now and then.
    #[must_use]
    pub fn counters(mut self, series: usize, times: Range<i64>, step_ms: usize) -> Self {
        for number in 0..series {
            let pod = format!("pod-{number:05}");
            let reset_after = 50 + number % 37;
            let value = |index: usize| ((index % reset_after) * (number + 1) + number) as f64;
            let samples = times
                .clone()
                .step_by(step_ms)
                .enumerate()
                .map(|(index, t)| (t, value(index)));
            self = self.floats(&[("__name__", "requests_total"), ("pod", &pod)], samples);
        }
        self
    }

    /// Makes the files.
    pub fn build(self) -> Result<Block> {
        let mut segments = MemorySink::default();
        let index = self.write_index(&mut segments)?;
        let mut files: Vec<(String, Bytes)> = (0..)
            .zip(segments.segments)
            .map(|(number, segment)| (format!("chunks/{}", segment_name(number)), segment.into()))
            .collect();
        files.push((INDEX_FILE_NAME.to_owned(), index.into()));
        let meta = self.meta(&files);
        if self.thanos.is_none() {
            files.push(("tombstones".to_owned(), Bytes::from_static(NO_TOMBSTONES)));
        }
        files.push((META_FILE_NAME.to_owned(), meta.to_json().into()));
        Ok(Block { meta, files })
    }

    fn write_index(&self, segments: &mut MemorySink) -> Result<Vec<u8>> {
        let texts: BTreeSet<&str> = self
            .series
            .keys()
            .flatten()
            .flat_map(|(name, value)| [name, value])
            .chain([""])
            .collect();
        let mut symbols = SymbolsBuilder::new();
        for text in texts {
            symbols.push(text).context("too many symbols")?;
        }
        let mut index = IndexWriter::new(Vec::new(), symbols)?;
        let mut writer = SegmentWriter::new(self.segment_bytes);
        for (labels, chunks) in &self.series {
            writer.begin_series();
            let mut metas = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                let chunk_ref = writer.write_chunk(segments, chunk.encoding.byte(), &chunk.data)?;
                metas.push(ChunkMeta {
                    mint: chunk.mint,
                    maxt: chunk.maxt,
                    chunk_ref: chunk_ref.0,
                });
            }
            index.add_series(labels, &metas)?;
        }
        Ok(index.finish()?.0)
    }

    fn meta(&self, files: &[(String, Bytes)]) -> BlockMeta {
        let chunks = || self.series.values().flatten();
        let range = self.time_range.clone().unwrap_or_else(|| {
            let start = chunks().map(|chunk| chunk.mint).min().unwrap_or_default();
            start
                ..chunks()
                    .map(|chunk| chunk.maxt)
                    .max()
                    .map_or(start, |maxt| maxt + 1)
        });
        BlockMeta {
            ulid: self.id,
            min_time: range.start,
            max_time: range.end,
            stats: self.stats(),
            compaction: Compaction {
                level: 1,
                sources: vec![self.id],
                ..Compaction::default()
            },
            thanos: self.thanos.clone().map(|thanos| with_files(thanos, files)),
            ..BlockMeta::default()
        }
    }

    fn stats(&self) -> Stats {
        let samples = |of: &[Encoding]| {
            let chunks = self
                .series
                .values()
                .flatten()
                .filter(|chunk| of.contains(&chunk.encoding));
            chunks.map(|chunk| u64::from(chunk.num_samples)).sum()
        };
        let (num_float_samples, num_histogram_samples): (u64, u64) = (
            samples(&[Encoding::Xor]),
            samples(&[Encoding::Histogram, Encoding::FloatHistogram]),
        );
        Stats {
            num_samples: num_float_samples + num_histogram_samples + samples(&[Encoding::Aggregate]),
            num_float_samples,
            num_histogram_samples,
            num_series: self.series.len() as u64,
            num_chunks: self.series.values().map(|chunks| chunks.len() as u64).sum(),
            ..Stats::default()
        }
    }

    fn thanos_mut(&mut self) -> &mut ThanosMeta {
        self.thanos.get_or_insert_with(|| ThanosMeta {
            version: 1,
            labels: Some(Labels::default()),
            source: SOURCE_SIDECAR.to_owned(),
            ..ThanosMeta::default()
        })
    }
}

impl Block {
    /// Returns the content of a file, such as `index` or `chunks/000001`.
    pub fn file(&self, path: &str) -> Option<&Bytes> {
        self.files
            .iter()
            .find(|(name, _)| name == path)
            .map(|(_, content)| content)
    }

    /// Writes the block into `parent`, in a folder of its name, and returns that.
    pub fn write_to(&self, parent: &Path) -> Result<PathBuf> {
        let dir = parent.join(self.meta.ulid.to_string());
        fs::create_dir_all(dir.join("chunks"))?;
        for (path, content) in &self.files {
            fs::write(dir.join(path), content)
                .with_context(|| format!("write {path} of {}", dir.display()))?;
        }
        Ok(dir)
    }

    /// Puts the block into a bucket, `meta.json` last.
    pub async fn put_into(&self, bucket: &dyn Bucket) -> Result<()> {
        for (path, content) in &self.files {
            bucket
                .put(&format!("{}/{path}", self.meta.ulid), content.clone())
                .await?;
        }
        Ok(())
    }
}

/// Lists the files as an upload does: sorted, `meta.json` without its size.
fn with_files(thanos: ThanosMeta, files: &[(String, Bytes)]) -> ThanosMeta {
    let file = |path: &str, size_bytes: usize| File {
        rel_path: path.to_owned(),
        size_bytes: size_bytes as i64,
        ..File::default()
    };
    let listed = files.iter().map(|(path, content)| file(path, content.len()));
    let mut all: Vec<File> = listed.chain([file(META_FILE_NAME, 0)]).collect();
    all.sort_by(|a, b| a.rel_path.cmp(&b.rel_path));
    let segments = files.iter().filter_map(|(path, _)| path.strip_prefix("chunks/"));
    ThanosMeta {
        segment_files: segments.map(str::to_owned).collect(),
        files: all,
        ..thanos
    }
}

fn label_set(labels: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(labels.iter().copied()).unwrap_or_else(|error| panic!("{error}"))
}
