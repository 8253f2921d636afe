//! What becomes of a request that finds a block gone or broken: it goes on with the block that took its place, or
//! without it and with a warning, or it fails.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use sabre_model::BlockId;
use sabre_proto::flat::SeriesFrameBuilder;
use sabre_runtime::trace::carried;

use super::StoreGateway;
use crate::{
    error::RequestError,
    handle::{BlockHandle, OpenError},
    outlet::Outlet,
    view::Chosen,
};

/// How often a request may find a block gone before it fails.
const MAX_ATTEMPTS: usize = 4;

/// How many broken blocks a request leaves out, one attempt each, before it fails.
const MAX_BROKEN: usize = 64;

/// What an attempt to answer was made with.
pub(super) struct Attempt {
    pub(super) chosen: Vec<Chosen>,
    /// The coarsest resolution that will do.
    pub(super) max_resolution_ms: i64,
}

/// Blocks that a request found gone or broken.
pub(super) struct Lost {
    is_partial_ok: bool,
    attempts: usize,
    broken: usize,
    /// Broken ones that the caller was told of.
    aside: BTreeSet<BlockId>,
    /// One that the bucket lists again after all.
    come_back: Option<BlockId>,
    /// What is missing.
    pub(super) warnings: Vec<String>,
}

impl Lost {
    pub(super) fn new(is_partial_ok: bool) -> Self {
        Self {
            is_partial_ok,
            attempts: 0,
            broken: 0,
            aside: BTreeSet::new(),
            come_back: None,
            warnings: Vec::new(),
        }
    }
}

impl StoreGateway {
    /// Leaves out the blocks that are known to be broken, which the caller is told, or fails if it wants all or nothing.
    pub(super) fn leave_out(
        &self,
        chosen: &mut Vec<Chosen>,
        lost: &mut Lost,
        now_ms: i64,
    ) -> Result<(), RequestError> {
        for aside in self.inner.syncer.set_aside(chosen, now_ms) {
            if !lost.is_partial_ok {
                return Err(OpenError::from(aside).into());
            }
            if lost.aside.insert(aside.block) {
                lost.warnings.push(format!("{aside}; the block is left out"));
            }
        }
        Ok(())
    }

    /// Notes a failure, and sets a block that is broken aside.
    pub(super) fn looked_at(&self, error: RequestError, now_ms: i64) -> RequestError {
        if let RequestError::Limit(limit) = &error {
            self.inner.metrics.dropped(limit);
        }
        match (error.broken_block(), error.block()) {
            (Some(block), _) => {
                self.inner.syncer.found_broken(block, &error, now_ms);
                // What was kept of it may be what is wrong.
                self.forget(block);
            }
            (None, Some((block, cause))) if !cause.is_gone() && !error.is_unopened() => {
                tracing::error!(%block, %error, "a block cannot be read");
            }
            _ => {}
        }
        error
    }

    /// Of a block that is gone the next sync, which is due now, will tell what became of it.
    pub(super) fn given_up(&self, error: RequestError, chosen: &[Chosen]) -> RequestError {
        if let Some(gone) = gone(&error, chosen) {
            tracing::warn!(block = %gone.id(), %error, "a block vanished while it was read");
            gone.doubt();
            self.inner.resync.notify_one();
        }
        error
    }

    /// After an attempt that found a block broken or gone. If it is gone, looks at the bucket again. It is worth another
    /// attempt if other blocks hold what that one held, or if the caller takes a warning for it; else this is the
    /// failure of the request.
    pub(super) async fn replace(
        &self,
        error: RequestError,
        attempt: Attempt,
        lost: &mut Lost,
        now_ms: i64,
    ) -> Result<(), RequestError> {
        if let Some((block, _)) = error.block()
            && lost.come_back == Some(block)
        {
            // The bucket lists it as before, and it still cannot be read: it is on its way out, or a part of it is lost.
            self.inner.syncer.found_broken(block, &error, now_ms);
            self.inner.resync.notify_one();
            return if lost.is_partial_ok { Ok(()) } else { Err(error) };
        }
        let is_broken = error.broken_block().is_some() || error.is_unopened();
        if is_broken && lost.is_partial_ok && lost.broken < MAX_BROKEN {
            lost.broken += 1;
            return Ok(());
        }
        let Some(gone) = gone(&error, &attempt.chosen) else {
            return Err(error);
        };
        if lost.attempts >= MAX_ATTEMPTS {
            return Err(self.given_up(error, &attempt.chosen));
        }
        lost.attempts += 1;
        gone.doubt();
        if !self.resync(gone, now_ms).await {
            self.inner.resync.notify_one();
            return Err(error);
        }
        let heirs: BTreeSet<BlockId> = {
            let view = self.view();
            lost.come_back = view.blocks().contains_key(&gone.id()).then_some(gone.id());
            let heirs = view.of_stream(&gone.external, attempt.max_resolution_ms);
            heirs.flat_map(|heir| heir.sources.iter().copied()).collect()
        };
        // Of a block that names no sources it cannot be known what replaces it.
        let has_heirs = !gone.sources.is_empty() && gone.sources.iter().all(|source| heirs.contains(source));
        if has_heirs || lost.come_back.is_some() {
            tracing::info!(block = %gone.id(), "a block vanished while it was read, going on with its successor");
            self.inner.metrics.successions.with(["replaced"]).inc();
            return Ok(());
        }
        self.inner.metrics.successions.with(["lost"]).inc();
        tracing::warn!(block = %gone.id(), %error, "a block vanished while it was read, and none replaces it");
        if !lost.is_partial_ok {
            return Err(error);
        }
        lost.warnings.push(format!("{error}; no other block replaces it"));
        Ok(())
    }

    /// Looks at the bucket, unless that was done since the block was found gone. False if it could not be looked at, by
    /// this request or by one that it waited for.
    async fn resync(&self, gone: &Arc<BlockHandle>, now_ms: i64) -> bool {
        let failed_looks = || self.inner.failed_looks.load(Ordering::Relaxed);
        let failed_before = failed_looks();
        let one = Arc::clone(&self.inner.resyncing).lock_owned().await;
        if !self.inner.syncer.serves(gone) {
            return true;
        }
        if failed_looks() != failed_before {
            return false;
        }
        // It goes on when the caller goes: others wait for it.
        let gateway = self.clone();
        let look = tokio::spawn(carried(async move {
            let _one = one;
            let Err(error) = gateway.sync(now_ms).await else {
                return true;
            };
            tracing::warn!(%error, "the successor of a block that is gone cannot be looked for");
            gateway.inner.failed_looks.fetch_add(1, Ordering::Relaxed);
            false
        }));
        look.await.unwrap_or(false)
    }
}

/// The block that was found gone, as the request knows it.
fn gone<'a>(error: &RequestError, chosen: &'a [Chosen]) -> Option<&'a Arc<BlockHandle>> {
    let (block, _) = error.block().filter(|(_, cause)| cause.is_gone())?;
    let chosen = chosen.iter().find(|chosen| chosen.block.id() == block)?;
    Some(&chosen.block)
}

/// Sends the warnings from number `told` on; false if the caller has gone.
pub(super) async fn tell(
    warnings: &[String],
    told: &mut usize,
    outlet: Outlet<'_>,
) -> Result<bool, RequestError> {
    for warning in warnings.get(*told..).unwrap_or_default() {
        let mut frame = SeriesFrameBuilder::default();
        frame.warning(warning)?;
        if !outlet.send(frame.take()).await? {
            return Ok(false);
        }
    }
    *told = warnings.len();
    Ok(true)
}
