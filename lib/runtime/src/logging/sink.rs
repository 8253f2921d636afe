//! Where log lines go.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use parking_lot::Mutex;

/// Takes whole lines.
pub trait Sink: Send + Sync + 'static {
    /// Writes one line, which ends in a newline. What cannot be written is lost.
    fn write_line(&self, line: &str);
}

/// Standard error, one write call a line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stderr;

/// Keeps lines for a test. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Capture(Arc<Mutex<String>>);

impl Sink for Stderr {
    fn write_line(&self, line: &str) {
        // Nobody is left to tell when standard error is gone.
        drop(io::stderr().lock().write_all(line.as_bytes()));
    }
}

impl Capture {
    /// All lines so far.
    pub fn text(&self) -> String {
        self.0.lock().clone()
    }
}

impl Sink for Capture {
    fn write_line(&self, line: &str) {
        self.0.lock().push_str(line);
    }
}
