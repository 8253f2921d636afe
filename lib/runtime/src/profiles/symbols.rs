//! Names of the functions at addresses of this process.

use std::{collections::HashMap, ptr};

use super::build::Frame;

/// Frames at the inner end of a stack that may be those of a sampler.
const MAX_INNER: usize = 16;

/// Looks names up, each address once. The symbols of the program are kept in memory as long as this lives.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    known: HashMap<u64, Vec<Frame>>,
}

impl Symbols {
    /// The functions at an address that a call returns to, the innermost first; none if nothing is known.
    pub(super) fn at(&mut self, address: u64) -> &[Frame] {
        self.known.entry(address).or_insert_with(|| look_up(address))
    }

    /// The last of the innermost addresses that lies in a function which is called so, by its place; inlined ones do not
    /// count.
    pub(super) fn last_within(
        &mut self,
        addresses: &[u64],
        is_called_so: impl Fn(&Frame) -> bool,
    ) -> Option<usize> {
        let inner = addresses.get(..MAX_INNER).unwrap_or(addresses);
        let is_so = |address: &u64| self.at(*address).last().is_some_and(&is_called_so);
        inner.iter().rposition(is_so)
    }
}

impl Drop for Symbols {
    fn drop(&mut self) {
        backtrace::clear_symbol_cache();
    }
}

fn look_up(address: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    let Ok(address) = usize::try_from(address) else {
        return frames;
    };
    backtrace::resolve(ptr::without_provenance_mut(address), |symbol| {
        let Some(name) = symbol.name() else {
            return;
        };
        frames.push(Frame {
            // Without the hash that tells apart what is compiled more than once.
            function: format!("{name:#}"),
            system_name: name.as_str().unwrap_or_default().to_owned(),
            file: symbol
                .filename()
                .map_or_else(String::new, |file| file.display().to_string()),
            line: symbol.lineno().unwrap_or(0),
        });
    });
    frames
}
