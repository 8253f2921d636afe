//! Who holds memory, and who took it: a sample of the allocations of some time, noted by the allocator.
//!
//! This crate knows no allocator: the program hands it in, and without one there are no such profiles. What is allocated
//! before somebody asks is not seen.

mod dump;

use std::{fmt::Debug, sync::OnceLock, time::Duration};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Refusal,
    build::{Builder, Frame, Kind, Stack},
    mappings, packed,
    symbols::Symbols,
};
use crate::{
    budget::{Budget, Reservation},
    clock,
};
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

/// What a profile is charged from the beginning: enough for what is noted of a thousand stacks and what is made of it.
const START_BYTES: u64 = 16 << 20;

/// What is held at most for each byte of the allocator's text: its file in memory, the text, its stacks, the names of their
/// functions, the profile and its encoding.
const HELD_PER_BYTE: u64 = 16;

/// How long memory is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

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
    noting: Noting,
    charge: Reservation,
}

/// An allocator that notes, until this is dropped.
struct Noting {
    sampler: &'static dyn HeapSampler,
    _turn: SemaphorePermit<'static>,
}

impl Running {
    /// Begins to note allocations.
    ///
    /// # Errors
    /// When a profile is being taken, the allocator does not work along, or the budget has no room.
    pub(crate) async fn begin(sampler: &'static dyn HeapSampler, budget: &Budget) -> Result<Self, Refusal> {
        let turn = TURN.try_acquire().map_err(|_| Refusal::InUse("heap"))?;
        let budget = budget.child("a heap profile");
        let charge = budget.reserve_within(START_BYTES, PATIENCE).await;
        let charge = charge.map_err(|error| missing(error.to_string()))?;
        sampler.start().map_err(missing)?;
        let noting = Noting { sampler, _turn: turn };
        Ok(Self { noting, charge })
    }

    /// Ends it and gives the profile, compressed. It is charged as long as it is there.
    ///
    /// # Errors
    /// When the budget has no room for what was noted, and what else went wrong.
    pub(crate) async fn finish(self, first: First, took: Duration) -> Result<Bytes, Refusal> {
        let Self { noting, mut charge } = self;
        let text = crate::blocking(move || noting.sampler.dump()).await;
        let text = text.map_err(|error| Refusal::Failed(error.to_string()))?;
        let text = text.map_err(Refusal::Failed)?;
        let held = (text.len() as u64).saturating_mul(HELD_PER_BYTE);
        let more = held.saturating_sub(charge.bytes());
        let grown = charge.grow_within(more, PATIENCE).await;
        grown.map_err(|error| missing(error.to_string()))?;
        let made = crate::blocking(move || {
            let dump = Dump::parse(&String::from_utf8_lossy(&text))?;
            drop(text);
            let profile = Bytes::from(packed(&named(&dump, first, took))?);
            charge.shrink_to(profile.len() as u64);
            Ok(charge.attach(profile))
        });
        let made = made.await.map_err(|error| Refusal::Failed(error.to_string()))?;
        made.map_err(Refusal::Failed)
    }
}

fn missing(problem: String) -> Refusal {
    Refusal::Missing {
        kind: "heap",
        problem,
    }
}

impl Drop for Noting {
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
