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
        let from = usize::try_from(offset.saturating_sub(self.current.offset)).unwrap_or(usize::MAX);
        self.current.bytes.get(from..).unwrap_or_default()
    }

    /// As [`WindowReader::rest`], sharing the memory of the window.
    pub(crate) fn shared_rest(&self, offset: u64) -> Bytes {
        let from = usize::try_from(offset.saturating_sub(self.current.offset)).unwrap_or(usize::MAX);
        self.current.bytes.slice(from.min(self.current.bytes.len())..)
    }

    /// Makes the window start at `offset` and have at least `needed` bytes, if the object has. False if it ends before.
    pub(crate) fn gather(&mut self, offset: u64, needed: u64) -> Result<bool, BlockError> {
        let mut gathered: Option<BytesMut> = None;
        loop {
            let have = gathered
                .as_ref()
                .map_or_else(|| self.rest(offset).len(), BytesMut::len);
            if have as u64 >= needed {
                break;
            }
            let object = self.current.object;
            match self.receive()? {
                Some(window) if window.object == object => {
                    let gathered = gathered.get_or_insert_with(|| BytesMut::from(self.rest(offset)));
                    gathered.extend_from_slice(&window.bytes);
                }
                other => {
                    self.next = other;
                    self.keep(offset, gathered);
                    return Ok(false);
                }
            }
        }
        self.keep(offset, gathered);
        Ok(true)
    }

    fn keep(&mut self, offset: u64, gathered: Option<BytesMut>) {
        if let Some(gathered) = gathered {
            self.current.offset = offset;
            self.current.bytes = gathered.freeze();
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
}

/// The error for bytes that are not what the format says, in `file` of `block`.
pub(crate) fn corrupt(block: BlockId, file: &str, corruption: Corruption) -> BlockError {
    BlockError::new(block, file, corruption)
}
