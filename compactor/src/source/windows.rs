//! The reading end of a stream of windows.

use bytes::{Bytes, BytesMut};
use sabre_block::BlockError;
use sabre_model::BlockId;
use sabre_tsdb::Corruption;
use tokio::sync::mpsc;

/// A part of an object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    /// Which of the objects of the stream it is a part of.
    pub(crate) object: u32,
    /// Where it starts in the object.
    pub(crate) offset: u64,
    /// Its bytes.
    pub(crate) bytes: Bytes,
}

/// Reads windows, which come in order and without gaps, on a thread that may block.
#[derive(Debug)]
pub(crate) struct WindowReader {
    block: BlockId,
    windows: mpsc::Receiver<Result<Window, BlockError>>,
    current: Window,
    /// The window behind the current one, where it had to be looked at already.
    next: Option<Window>,
    read_bytes: u64,
}

/// Where a place is, seen from where the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The window has it.
    Here,
    /// It was passed already.
    Behind,
    /// The stream ends before it.
    Beyond,
}

impl WindowReader {
    pub(crate) fn new(block: BlockId, windows: mpsc::Receiver<Result<Window, BlockError>>) -> Self {
        Self {
            block,
            windows,
            current: Window::default(),
            next: None,
            read_bytes: 0,
        }
    }

    /// The block that is read.
    pub(crate) fn block(&self) -> BlockId {
        self.block
    }

    /// Bytes that came so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Goes forward to a place.
    pub(crate) fn seek(&mut self, object: u32, offset: u64) -> Result<Place, BlockError> {
        loop {
            let here = &self.current;
            if (object, offset) < (here.object, here.offset) {
                return Ok(Place::Behind);
            }
            if object == here.object && offset < here.end() {
                return Ok(Place::Here);
            }
            match self.receive()? {
                Some(window) => self.current = window,
                None => return Ok(Place::Beyond),
            }
        }
    }

    /// What the window has from `offset` on, which [`WindowReader::seek`] found here.
    pub(crate) fn rest(&self, offset: u64) -> &[u8] {
        self.current.from(offset)
    }

    /// The bytes of the window, and where `offset` is among them.
    pub(crate) fn shared(&self, offset: u64) -> (&Bytes, usize) {
        (&self.current.bytes, self.current.place(offset))
    }

    /// Makes the window have at least `needed` bytes from `offset` on, if the object has; it may start there then. False
    /// if the object ends before.
    ///
    /// Only what lies across the border of two windows is copied, not what is behind.
    pub(crate) fn gather(&mut self, offset: u64, needed: u64) -> Result<bool, BlockError> {
        if self.rest(offset).len() as u64 >= needed {
            return Ok(true);
        }
        // What was gathered before may end within the window behind it.
        let object = self.current.object;
        let behind = |next: &mut Window| next.object == object && next.offset <= offset;
        if let Some(next) = self.next.take_if(behind) {
            self.current = next;
        }
        let mut gathered = BytesMut::from(self.rest(offset));
        let is_whole = self.join(offset, needed, &mut gathered)?;
        self.current.offset = offset;
        self.current.bytes = gathered.freeze();
        Ok(is_whole)
    }

    /// Adds to `gathered`, which is at `offset`, what follows it in the object, until it has `needed` bytes.
    fn join(&mut self, offset: u64, needed: u64, gathered: &mut BytesMut) -> Result<bool, BlockError> {
        loop {
            let missing = needed.saturating_sub(gathered.len() as u64);
            if missing == 0 {
                return Ok(true);
            }
            let window = match self.receive()? {
                Some(window) if window.object == self.current.object => window,
                other => {
                    self.next = other;
                    return Ok(false);
                }
            };
            let from = offset.saturating_add(gathered.len() as u64);
            let rest = window.from(from);
            let taken = usize::try_from(missing)
                .ok()
                .and_then(|missing| rest.get(..missing));
            gathered.extend_from_slice(taken.unwrap_or(rest));
            if taken.is_some_and(|taken| taken.len() < rest.len()) {
                self.next = Some(window);
            }
        }
    }

    fn receive(&mut self) -> Result<Option<Window>, BlockError> {
        if let Some(window) = self.next.take() {
            return Ok(Some(window));
        }
        let window = self.windows.blocking_recv().transpose()?;
        if let Some(window) = &window {
            self.read_bytes = self.read_bytes.saturating_add(window.bytes.len() as u64);
        }
        Ok(window)
    }
}

impl Window {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes.len() as u64)
    }

    fn place(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.offset)).unwrap_or(usize::MAX)
    }

    /// What it has from `offset` on.
    fn from(&self, offset: u64) -> &[u8] {
        self.bytes.get(self.place(offset)..).unwrap_or_default()
    }
}

/// The error for bytes that are not what the format says, in `file` of `block`.
pub(crate) fn corrupt(block: BlockId, file: &str, corruption: Corruption) -> BlockError {
    BlockError::new(block, file, corruption)
}

#[cfg(test)]
mod tests;
