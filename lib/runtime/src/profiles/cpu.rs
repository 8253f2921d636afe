//! Where the time of the CPU goes: a timer interrupts whatever thread is running, and its stack is noted.
//!
//! Stacks are walked within the handler of a signal, where little is allowed. Threads that are interrupted within libc, the
//! unwinder or the vdso are left alone, for they may hold a lock or have no usable stack; the time that was spent there,
//! system calls included, stands in the profile under a name of its own.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use pprof::{ProfilerGuard, ProfilerGuardBuilder};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Refusal,
    build::{Builder, Kind, Stack},
    mappings, needs, packed,
    symbols::Symbols,
};
use crate::metrics::cpu_seconds;

/// Samples a second, of each core that is busy. Not a round number, so that what happens a hundred times a second is not
/// seen always or never.
const MAX_FREQUENCY: usize = 99;
/// Samples of a profile, of which each may take 4 KiB: longer profiles are sampled less often.
const MAX_SAMPLES: usize = 12_000;
/// Where no thread is looked into: parts of the names of libraries.
const BLOCKED: [&str; 4] = ["/libc.so", "/libgcc_s", "/libpthread", "linux-vdso"];
/// What stands for them in the profile.
const NOT_SAMPLED: &str = "[libc and system calls, not looked into]";
/// The handler of the signal, which finds itself on each stack.
const HANDLER: &str = "perf_signal_handler";
const NANOSECONDS: i64 = 1_000_000_000;
const CPU: Kind = ("cpu", "nanoseconds");

/// There is one timer and one handler in a process.
static TURN: Semaphore = Semaphore::const_new(1);

/// A profile that is being taken; it ends when this is dropped.
pub(crate) struct Running {
    parts: Option<Parts>,
}

struct Parts {
    // Dropped before the turn is given on.
    guard: ProfilerGuard<'static>,
    cpu_seconds: f64,
    _turn: SemaphorePermit<'static>,
}

/// What was seen.
struct Seen {
    stacks: Vec<Stack>,
    frequency: i64,
    time_nanos: i64,
    duration_nanos: i64,
    cpu_nanos: i64,
}

impl Running {
    /// Begins to sample, for so many seconds.
    ///
    /// # Errors
    /// When a profile is being taken, or the machine has not what it takes.
    pub(crate) async fn begin(seconds: u32) -> Result<Self, Refusal> {
        let turn = TURN.try_acquire().map_err(|_| Refusal::InUse("CPU"))?;
        // If the caller leaves, what this returns is dropped, and the sampling ends.
        let begun = crate::blocking(move || start(seconds, turn)).await;
        let parts = begun.map_err(|error| missing(error.to_string()))??;
        Ok(Self { parts: Some(parts) })
    }

    /// Ends it and gives the profile, compressed.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) async fn finish(mut self) -> Result<Bytes, Refusal> {
        let Some(parts) = self.parts.take() else {
            return Err(Refusal::Failed("the profile has ended already".to_owned()));
        };
        let made = crate::blocking(move || {
            let seen = collect(&parts)?;
            drop(parts);
            packed(&named(seen))
        });
        let made = made.await.map_err(|error| Refusal::Failed(error.to_string()))?;
        made.map(Bytes::from).map_err(Refusal::Failed)
    }
}

impl Drop for Running {
    /// The end takes a moment, for the sampler makes its table anew.
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else {
            return;
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(parts))),
            Err(_) => drop(parts),
        }
    }
}

fn missing(problem: String) -> Refusal {
    Refusal::Missing { kind: "CPU", problem }
}

fn start(seconds: u32, turn: SemaphorePermit<'static>) -> Result<Parts, Refusal> {
    needs::check().map_err(missing)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sampler = ProfilerGuardBuilder::default()
        .frequency(frequency(seconds, cores))
        .blocklist(&BLOCKED);
    let guard = sampler.build().map_err(|error| missing(error.to_string()))?;
    // Read when the table is there, whose making is not to be seen.
    let cpu_seconds = cpu_seconds().unwrap_or(0.0);
    Ok(Parts {
        guard,
        cpu_seconds,
        _turn: turn,
    })
}

/// Samples a second, so that there are not too many if all cores are busy.
fn frequency(seconds: u32, cores: usize) -> i32 {
    let core_seconds = usize::try_from(seconds)
        .unwrap_or(usize::MAX)
        .saturating_mul(cores);
    let frequency = (MAX_SAMPLES / core_seconds.max(1)).clamp(1, MAX_FREQUENCY);
    i32::try_from(frequency).unwrap_or(1)
}

/// Takes what was seen from the sampler, in as little memory as it needs.
fn collect(parts: &Parts) -> Result<Seen, String> {
    let cpu = cpu_seconds().unwrap_or(0.0) - parts.cpu_seconds;
    let report = parts.guard.report().build_unresolved();
    let report = report.map_err(|error| format!("the samples cannot be had: {error}"))?;
    let mut stacks = Vec::with_capacity(report.data.len());
    for (frames, count) in &report.data {
        let name = frames
            .thread_name
            .get(..frames.thread_name_length)
            .unwrap_or_default();
        stacks.push(Stack {
            addresses: frames
                .frames
                .iter()
                .map(|frame| frame.ip().addr() as u64)
                .collect(),
            values: vec![i64::try_from(*count).unwrap_or(i64::MAX)],
            thread: String::from_utf8_lossy(name).into_owned(),
        });
    }
    let timing = &report.timing;
    let began = timing.start_time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Seen {
        stacks,
        frequency: i64::from(timing.frequency.max(1)),
        time_nanos: i64::try_from(began.as_nanos()).unwrap_or(i64::MAX),
        duration_nanos: i64::try_from(timing.duration.as_nanos()).unwrap_or(i64::MAX),
        cpu_nanos: (cpu * NANOSECONDS as f64) as i64,
    })
}

/// Gives the addresses their names.
fn named(seen: Seen) -> super::message::Profile {
    let period = NANOSECONDS / seen.frequency;
    let kinds = [("samples", "count"), CPU];
    let mut builder = Builder::new(&kinds, (CPU, period), mappings::of_this_process());
    builder.taken(seen.time_nanos, seen.duration_nanos);
    let mut symbols = Symbols::default();
    let mut sampled_nanos = 0_i64;
    for mut stack in seen.stacks {
        if let Some(handler) = symbols.last_within(&stack.addresses, |frame| frame.system_name == HANDLER) {
            // It, what it calls, and the frame by which the system called it.
            let own = handler.saturating_add(2).min(stack.addresses.len());
            stack.addresses.drain(..own);
        }
        let count = stack.values.first().copied().unwrap_or(0);
        let nanos = count.saturating_mul(period);
        sampled_nanos = sampled_nanos.saturating_add(nanos);
        stack.values = vec![count, nanos];
        builder.add(&stack, |address| symbols.at(address).to_vec());
    }
    let rest = seen.cpu_nanos.saturating_sub(sampled_nanos);
    if rest >= period {
        builder.add_named(NOT_SAMPLED, vec![rest / period, rest]);
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_profiles_of_many_cores_are_sampled_less_often() {
        for (seconds, cores, expected) in [
            (1, 1, 99),
            (30, 2, 99),
            (30, 16, 25),
            (300, 2, 20),
            (300, 64, 1),
            (0, 0, 99),
            (u32::MAX, usize::MAX, 1),
        ] {
            assert_eq!(frequency(seconds, cores), expected, "{seconds} {cores}");
        }
    }
}
