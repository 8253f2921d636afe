//! Who holds memory, and who took it: a sample of the allocations of some time, noted by the allocator.
//!
//! This crate knows no allocator: the program hands it in, and without one there are no such profiles. What is allocated
//! before somebody asks is not seen.

mod dump;

use std::{fmt::Debug, sync::OnceLock, time::Duration};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Refusal,
    build::{Builder, Frame, Kind, Stack},
    mappings, packed,
    symbols::Symbols,
};
use crate::clock;
use dump::Dump;

#[cfg(test)]
pub(crate) use dump::EXAMPLE;

const SPACE: Kind = ("space", "bytes");
const KINDS: [Kind; 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

/// Parts of the names of functions of allocators.
const ALLOCATOR: [&str; 6] = [
    "_rjem_",
    "tikv_jemallocator",
    "__rust_alloc",
    "__rust_realloc",
    "__rg_",
    "__rdl_",
];

/// An allocator that can note the stacks of some of the allocations.
pub trait HeapSampler: Debug + Send + Sync {
    /// Forgets what was noted and begins to note.
    ///
    /// # Errors
    /// What the allocator says.
    fn start(&self) -> Result<(), String>;

    /// What was noted since, as jemalloc writes it (`heap_v2`).
    ///
    /// # Errors
    /// What the allocator or the file system says.
    fn dump(&self) -> Result<Vec<u8>, String>;

    /// Ends it and gives back what the notes took.
    fn stop(&self);
}

/// The allocator of the process. Servers take it when they are made.
static INSTALLED: OnceLock<Box<dyn HeapSampler>> = OnceLock::new();

static TURN: Semaphore = Semaphore::const_new(1);

/// Takes the allocator of the process for all HTTP servers that are made from now on. A second call changes nothing.
pub fn install(sampler: Box<dyn HeapSampler>) {
    let _ = INSTALLED.set(sampler);
}

pub(crate) fn installed() -> Option<&'static dyn HeapSampler> {
    INSTALLED.get().map(Box::as_ref)
}

/// What is shown first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// Memory that is held.
    InUse,
    /// Memory that was taken, held or not.
    Allocated,
}

/// A profile that is being taken; it ends when this is dropped.
pub(crate) struct Running {
    sampler: &'static dyn HeapSampler,
    _turn: SemaphorePermit<'static>,
}

impl Running {
    /// Begins to note allocations.
    ///
    /// # Errors
    /// When a profile is being taken, or the allocator does not work along.
    pub(crate) fn begin(sampler: &'static dyn HeapSampler) -> Result<Self, Refusal> {
        let turn = TURN.try_acquire().map_err(|_| Refusal::InUse("heap"))?;
        let started = sampler.start();
        started.map_err(|problem| Refusal::Missing {
            kind: "heap",
            problem,
        })?;
        Ok(Self { sampler, _turn: turn })
    }

    /// Ends it and gives the profile, compressed.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) async fn finish(self, first: First, took: Duration) -> Result<Vec<u8>, String> {
        let made = crate::blocking(move || {
            let text = self.sampler.dump()?;
            drop(self);
            let dump = Dump::parse(&String::from_utf8_lossy(&text))?;
            packed(&named(&dump, first, took))
        });
        made.await.map_err(|error| error.to_string())?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.sampler.stop();
    }
}

fn is_allocator(frame: &Frame) -> bool {
    ALLOCATOR.iter().any(|part| frame.function.contains(part))
}

fn named(dump: &Dump, first: First, took: Duration) -> super::message::Profile {
    let period = i64::try_from(dump.period_bytes).unwrap_or(i64::MAX);
    let mut builder = Builder::new(&KINDS, (SPACE, period), mappings::of_this_process());
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    builder.taken(nanos(clock::since_epoch().saturating_sub(took)), nanos(took));
    builder.shows_first(match first {
        First::InUse => "inuse_space",
        First::Allocated => "alloc_space",
    });
    let mut symbols = Symbols::default();
    for (mut addresses, values) in dump.stacks() {
        // What is looked for is who asked the allocator.
        if let Some(own) = symbols.last_within(addresses, is_allocator) {
            addresses = addresses.get(own.saturating_add(1)..).unwrap_or_default();
        }
        let stack = Stack {
            addresses: addresses.to_vec(),
            values: values.to_vec(),
            thread: String::new(),
        };
        builder.add(&stack, |address| symbols.at(address).to_vec());
    }
    builder.finish()
}
