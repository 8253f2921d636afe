//! The marks of blocks, read once each.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, stream};
use sabre_model::BlockId;
use sabre_objstore::Bucket;
use sabre_tsdb::meta::{DeletionMark, NoCompactMark, NoDownsampleMark};

use super::{listing::BlockListing, view::View};
use crate::{
    error::BlockError,
    mark::{self, Mark, MarkKind},
};

/// Marks of the kinds that are asked for.
#[derive(Debug)]
pub(super) struct MarkCaches {
    deletion: Option<MarkCache<DeletionMark>>,
    no_compact: Option<MarkCache<NoCompactMark>>,
    no_downsample: Option<MarkCache<NoDownsampleMark>>,
}

/// What the mark objects of a certain time say; `None` is a broken one, which counts as no mark.
#[derive(Debug)]
struct MarkCache<M> {
    known: HashMap<BlockId, (i64, Option<M>)>,
}

/// A mark object that is to be read.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    block: BlockId,
    /// `None` if it is not known whether there is one.
    modified_ms: Option<i64>,
}

impl MarkCaches {
    pub(super) fn new(kinds: &[MarkKind]) -> Self {
        Self {
            deletion: MarkCache::if_asked(kinds),
            no_compact: MarkCache::if_asked(kinds),
            no_downsample: MarkCache::if_asked(kinds),
        }
    }

    /// Fills the marks of a view by its listing. A mark that cannot be read is a failure of its block.
    pub(super) async fn sync(&mut self, bucket: &dyn Bucket, concurrency: usize, view: &mut View) {
        if let Some(cache) = &mut self.deletion {
            view.marks.deletion = cache
                .sync(bucket, concurrency, &view.listing, &mut view.failures)
                .await;
        }
        if let Some(cache) = &mut self.no_compact {
            view.marks.no_compact = cache
                .sync(bucket, concurrency, &view.listing, &mut view.failures)
                .await;
        }
        if let Some(cache) = &mut self.no_downsample {
            view.marks.no_downsample = cache
                .sync(bucket, concurrency, &view.listing, &mut view.failures)
                .await;
        }
    }
}

impl<M: Mark> MarkCache<M> {
    fn if_asked(kinds: &[MarkKind]) -> Option<Self> {
        kinds.contains(&M::KIND).then(|| Self {
            known: HashMap::new(),
        })
    }

    async fn sync(
        &mut self,
        bucket: &dyn Bucket,
        concurrency: usize,
        listing: &BlockListing,
        failures: &mut BTreeMap<BlockId, BlockError>,
    ) -> BTreeMap<BlockId, M> {
        let mut marks = BTreeMap::new();
        let read = |wanted: Wanted| async move { (wanted, mark::read::<M>(bucket, wanted.block).await) };
        let mut answers = stream::iter(self.wanted(listing))
            .map(read)
            .buffer_unordered(concurrency);
        while let Some((Wanted { block, modified_ms }, answer)) = answers.next().await {
            match (answer, modified_ms) {
                (Ok(mark), Some(modified_ms)) => {
                    self.known.insert(block, (modified_ms, mark));
                }
                (Ok(Some(mark)), None) => {
                    marks.insert(block, mark);
                }
                (Ok(None), None) => {}
                (Err(error), _) => {
                    failures.entry(block).or_insert(error);
                }
            }
        }
        let known = self.known.iter();
        marks.extend(known.filter_map(|(block, (_, mark))| Some((*block, mark.clone()?))));
        marks
    }

    /// Forgets what is not there any more, and says what must be read.
    fn wanted(&mut self, listing: &BlockListing) -> Vec<Wanted> {
        let listed_ms = |block: BlockId| listing.get(block)?.mark_modified_ms(M::KIND);
        self.known
            .retain(|block, (modified_ms, _)| listed_ms(*block) == Some(*modified_ms));
        let mut wanted = Vec::new();
        for (block, objects) in listing.iter() {
            let modified_ms = objects.mark_modified_ms(M::KIND);
            let may_be_there = if objects.is_listed {
                modified_ms.is_some()
            } else {
                objects.meta.is_some()
            };
            if may_be_there && !self.known.contains_key(&block) {
                wanted.push(Wanted { block, modified_ms });
            }
        }
        wanted
    }
}
