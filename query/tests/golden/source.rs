//! A store gateway of a few lines over blocks in memory.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use sabre_model::{Labels, Matcher};
use sabre_proto::thanos::{Aggr, AggrChunk, Chunk};
use sabre_query::source::{
    Names, SelectOptions, SelectRequest, SeriesItem, SeriesStream, SourceFailure, StoreSource,
};
use sabre_testkit::golden::Golden;
use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::chunk::aggregate::{Aggregate, AggregateChunk};

use super::blocks::{Block, Record};

/// Blocks by external labels and resolution, finest first, sorted by time.
#[derive(Debug)]
pub(crate) struct GoldenStore {
    sets: Vec<(Labels, BTreeMap<i64, Vec<Block>>)>,
}

impl GoldenStore {
    pub(crate) fn open(golden: &Golden, folders: &[&str]) -> GoldenStore {
        let mut sets: BTreeMap<Labels, BTreeMap<i64, Vec<Block>>> = BTreeMap::new();
        for folder in folders {
            for dir in golden.block_dirs(folder).unwrap() {
                let block = Block::open(&dir);
                let set = sets.entry(block.external.clone()).or_default();
                set.entry(block.resolution_ms).or_default().push(block);
            }
        }
        for set in sets.values_mut() {
            set.values_mut()
                .for_each(|blocks| blocks.sort_by_key(|block| block.min_time));
        }
        GoldenStore {
            sets: sets.into_iter().collect(),
        }
    }

    /// The blocks that a request looks at.
    fn chosen(&self, request: &SelectRequest) -> Vec<&Block> {
        let mut chosen = Vec::new();
        for (external, set) in &self.sets {
            let about = |matcher: &&Matcher| external.get(matcher.name()).is_some();
            let fits = request
                .matchers
                .iter()
                .filter(about)
                .all(|matcher| matcher.matches_lset(external));
            // Matchers on external labels alone select nothing.
            if fits && !request.matchers.iter().all(|matcher| about(&matcher)) {
                let finest_last: Vec<_> = set
                    .range(..=request.max_resolution_ms)
                    .rev()
                    .map(|(_, b)| b)
                    .collect();
                choose(&finest_last, request.mint, request.maxt, &mut chosen);
            }
        }
        chosen
    }

    /// Series with the labels of all blocks that overlap the times, whatever their resolution.
    fn labels(&self, request: &SelectRequest) -> impl Iterator<Item = &Labels> {
        let (mint, maxt, matchers) = (request.mint, request.maxt, request.matchers.clone());
        let blocks = self.sets.iter().flat_map(|(_, set)| set.values().flatten());
        let overlap = blocks.filter(move |block| block.min_time <= maxt && mint < block.max_time);
        let all = overlap.flat_map(|block| &block.series);
        let has_chunks = move |chunks: &[Record]| chunks.iter().any(|c| c.mint <= maxt && c.maxt >= mint);
        all.filter(move |(labels, chunks)| {
            matchers.is_empty()
                || (has_chunks(chunks) && matchers.iter().all(|matcher| matcher.matches_lset(labels)))
        })
        .map(|(labels, _)| labels)
    }
}

/// Takes blocks of the coarsest resolution, and fills what they leave with finer ones.
fn choose<'b>(resolutions: &[&'b Vec<Block>], mint: i64, maxt: i64, chosen: &mut Vec<&'b Block>) {
    let Some((coarsest, finer)) = resolutions.split_first() else {
        return;
    };
    let mut start = mint;
    for block in *coarsest {
        if block.max_time <= mint {
            continue;
        }
        if block.min_time > maxt {
            break;
        }
        if start < block.min_time {
            choose(finer, start, block.min_time - 1, chosen);
        }
        chosen.push(block);
        start = block.max_time;
    }
    if start <= maxt {
        choose(finer, start, maxt, chosen);
    }
}

fn chunk(record: &Record, aggregates: &[i32]) -> Result<AggrChunk, SourceFailure> {
    let mut chunk = AggrChunk {
        min_time: record.mint,
        max_time: record.maxt,
        ..AggrChunk::default()
    };
    if record.encoding != Encoding::Aggregate.byte() {
        chunk.raw = Some(Chunk {
            r#type: i32::from(record.encoding) - 1,
            data: record.data.clone(),
            hash: 0,
        });
        return Ok(chunk);
    }
    let parts = AggregateChunk::parse(&record.data).unwrap();
    for wanted in aggregates {
        let (place, aggregate) = match Aggr::try_from(*wanted).unwrap() {
            Aggr::Raw => continue,
            Aggr::Count => (&mut chunk.count, Aggregate::Count),
            Aggr::Sum => (&mut chunk.sum, Aggregate::Sum),
            Aggr::Min => (&mut chunk.min, Aggregate::Min),
            Aggr::Max => (&mut chunk.max, Aggregate::Max),
            Aggr::Counter => (&mut chunk.counter, Aggregate::Counter),
        };
        let Some(part) = parts.get(aggregate) else {
            return Err(SourceFailure::Store(format!(
                "aggregate {aggregate:?} does not exist"
            )));
        };
        *place = Some(Chunk {
            r#type: i32::from(part.encoding.byte()) - 1,
            data: record.data.slice_ref(part.data),
            hash: 0,
        });
    }
    Ok(chunk)
}

#[async_trait::async_trait]
impl StoreSource for GoldenStore {
    async fn select(
        &self,
        request: SelectRequest,
        options: SelectOptions,
    ) -> Result<SeriesStream, SourceFailure> {
        let mut series: BTreeMap<Labels, Vec<AggrChunk>> = BTreeMap::new();
        for block in self.chosen(&request) {
            for (labels, records) in &block.series {
                if !request
                    .matchers
                    .iter()
                    .all(|matcher| matcher.matches_lset(labels))
                {
                    continue;
                }
                let records = records
                    .iter()
                    .filter(|record| record.mint <= request.maxt && record.maxt >= request.mint);
                let mut chunks = Vec::new();
                for record in records {
                    chunks.push(chunk(record, &request.aggregates)?);
                }
                if chunks.is_empty() {
                    continue;
                }
                let labels = labels.without(&options.without_replica_labels);
                series.entry(labels).or_default().extend(chunks);
            }
        }
        let items = series.into_iter().map(|(labels, mut chunks)| {
            chunks.sort_by_key(|chunk| (chunk.min_time, chunk.max_time));
            chunks.dedup();
            Ok(SeriesItem::Series(labels, chunks))
        });
        Ok(futures::stream::iter(items).boxed())
    }

    async fn label_names(&self, request: SelectRequest, _: SelectOptions) -> Result<Names, SourceFailure> {
        let names = self
            .labels(&request)
            .flat_map(|labels| labels.iter().map(|(name, _)| name));
        let names: BTreeSet<&str> = names.collect();
        Ok((names.into_iter().map(str::to_owned).collect(), Vec::new()))
    }

    async fn label_values(
        &self,
        label: &str,
        request: SelectRequest,
        _: SelectOptions,
    ) -> Result<Names, SourceFailure> {
        let values: BTreeSet<&str> = self
            .labels(&request)
            .filter_map(|labels| labels.get(label))
            .collect();
        Ok((values.into_iter().map(str::to_owned).collect(), Vec::new()))
    }
}
