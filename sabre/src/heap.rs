//! The samples of the allocator, for `/debug/pprof/heap`.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    os::fd::AsRawFd as _,
};

use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, memfd_create};
use sabre_runtime::profiles::heap::HeapSampler;
use tikv_jemalloc_ctl::{Access as _, AsName as _};

/// The longest text of samples that is read.
const MAX_DUMP_BYTES: u64 = 64 << 20;

/// jemalloc, built with profiling, as the first line of `.cargo/config.toml` configures it.
#[derive(Debug, Default)]
pub(crate) struct Jemalloc {
    memory: Mutex<Option<Memory>>,
}

/// A file in memory, which needs no folder. jemalloc opens it by the name that `/proc` has for it.
#[derive(Debug)]
struct Memory {
    file: File,
    /// Ends with the zero that C wants. It is never given back: there is one in a process.
    path: &'static str,
}

impl HeapSampler for Jemalloc {
    fn start(&self) -> Result<(), String> {
        let is_built: bool = read("opt.prof\0")?;
        if !is_built {
            return Err("the allocator was configured without profiling (prof:true)".to_owned());
        }
        forget()?;
        write("prof.active\0", true)
    }

    fn dump(&self) -> Result<Vec<u8>, String> {
        let mut memory = self.memory.lock();
        let memory = match memory.as_mut() {
            Some(memory) => memory,
            None => memory.insert(Memory::new()?),
        };
        write("prof.dump\0", memory.path)?;
        memory
            .read()
            .map_err(|error| format!("the samples cannot be read: {error}"))
    }

    fn stop(&self) {
        for ended in [write("prof.active\0", false), forget()] {
            if let Err(problem) = ended {
                tracing::warn!(problem, "the allocator goes on to take samples");
            }
        }
        if let Some(memory) = &*self.memory.lock()
            && let Err(error) = memory.file.set_len(0)
        {
            tracing::warn!(%error, "the samples stay in memory");
        }
    }
}

impl Memory {
    fn new() -> Result<Self, String> {
        let file = memfd_create("sabre-heap-profile", MemfdFlags::CLOEXEC);
        let file = File::from(file.map_err(|error| format!("no file in memory can be made: {error}"))?);
        let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
        Ok(Self {
            file,
            path: Box::leak(path.into_boxed_str()),
        })
    }

    fn read(&mut self) -> std::io::Result<Vec<u8>> {
        self.file.rewind()?;
        let mut text = Vec::new();
        (&self.file).take(MAX_DUMP_BYTES).read_to_end(&mut text)?;
        Ok(text)
    }
}

/// Forgets all samples, and samples as often as before.
fn forget() -> Result<(), String> {
    let every: usize = read("prof.lg_sample\0")?;
    write("prof.reset\0", every)
}

fn read<T>(name: &'static str) -> Result<T, String>
where
    tikv_jemalloc_ctl::Name: tikv_jemalloc_ctl::Access<T>,
{
    name.name().read().map_err(|error| failed(name, &error))
}

fn write<T>(name: &'static str, value: T) -> Result<(), String>
where
    tikv_jemalloc_ctl::Name: tikv_jemalloc_ctl::Access<T>,
{
    name.name().write(value).map_err(|error| failed(name, &error))
}

fn failed(name: &str, error: &tikv_jemalloc_ctl::Error) -> String {
    format!("the allocator refuses {}: {error}", name.trim_end_matches('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far more than the half megabyte that lies between two samples.
    const HELD_BYTES: usize = 64 << 20;

    #[inline(never)]
    fn a_hoarder() -> Vec<Vec<u8>> {
        (0..64).map(|number| vec![number; HELD_BYTES / 64]).collect()
    }

    /// The sum of what each stack holds, which stands below the stack as `t*: objects: bytes [...]`.
    ///
    /// The line of that form at the top is no such sum: it weighs all samples by their mean size, so that one small object
    /// that happens to be sampled, and stands for thousands, makes it far too little.
    fn held_bytes(dump: &[u8]) -> usize {
        let text = String::from_utf8(dump.to_vec()).unwrap();
        let stacks = text.split("\n@ ").skip(1);
        let all = stacks.map(|stack| {
            stack
                .lines()
                .find(|line| line.trim_start().starts_with("t*: "))
                .unwrap()
        });
        let bytes = all.map(|line| line.split_whitespace().nth(2).unwrap().parse::<usize>());
        bytes.sum::<Result<_, _>>().unwrap()
    }

    #[test]
    fn what_is_allocated_meanwhile_is_noted_and_forgotten_with_the_end() {
        let jemalloc = Jemalloc::default();
        let before = a_hoarder();
        for _ in 0..2 {
            jemalloc.start().unwrap();
            let held = a_hoarder();
            let with = jemalloc.dump().unwrap();
            assert!(String::from_utf8_lossy(&with).starts_with("heap_v2/524288\n"));
            // Other tests of this process hold some too.
            assert!(
                held_bytes(&with) >= HELD_BYTES / 2,
                "{}",
                String::from_utf8_lossy(&with)
            );
            assert!(String::from_utf8_lossy(&with).contains("MAPPED_LIBRARIES:"));
            drop(held);
            assert!(held_bytes(&jemalloc.dump().unwrap()) < HELD_BYTES / 2);
            jemalloc.stop();
            let is_active: bool = read("prof.active\0").unwrap();
            assert!(!is_active);
        }
        drop(before);
    }

    #[test]
    fn a_name_that_the_allocator_does_not_know_is_an_error() {
        let error = read::<usize>("prof.nonsense\0").unwrap_err();
        assert!(
            error.starts_with("the allocator refuses prof.nonsense: "),
            "{error}"
        );
    }
}
