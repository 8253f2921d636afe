//! Where the bytes of an index-header lie: in a file that is read by `pread`, or in memory.

use std::{fs::File, io, os::unix::fs::FileExt};

use bytes::Bytes;

use super::page_cache::{FilePages, PAGE_BYTES};

/// How much of a file a pass from begin to end reads at once.
const SCAN_BYTES: u64 = 256 << 10;

/// The bytes of an index-header.
#[derive(Debug)]
pub(super) enum Source {
    /// A file, its pages in a shared cache.
    File {
        file: File,
        size_bytes: u64,
        pages: FilePages,
    },
    /// All of them, in memory.
    Memory(Bytes),
}

/// How a piece of a [`Source`] is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Here and there: page by page, through the cache.
    Random,
    /// From begin to end, once: large pieces, past the cache.
    Scan,
}

impl Source {
    /// Number of bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::File { size_bytes, .. } => *size_bytes,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Reads a piece that holds the byte at `position`: where it starts, and its bytes. Behind the end it is empty.
    pub(super) fn window(&self, position: u64, access: Access) -> io::Result<(u64, Bytes)> {
        match self {
            Self::Memory(bytes) => Ok((0, bytes.clone())),
            Self::File { size_bytes, .. } if position >= *size_bytes => Ok((position, Bytes::new())),
            Self::File {
                file,
                size_bytes,
                pages,
            } => match access {
                Access::Random => {
                    let page = position / PAGE_BYTES;
                    let start = page.saturating_mul(PAGE_BYTES);
                    let bytes = pages.get(page, || read(file, start, PAGE_BYTES.min(size_bytes - start)))?;
                    Ok((start, bytes))
                }
                Access::Scan => Ok((
                    position,
                    read(file, position, SCAN_BYTES.min(size_bytes - position))?,
                )),
            },
        }
    }
}

/// Reads exactly `len` bytes, which are at most [`SCAN_BYTES`]; a file that became shorter is an error.
fn read(file: &File, start: u64, len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, start)
        .map_err(|error| io::Error::new(error.kind(), format!("{len} bytes at offset {start}: {error}")))?;
    Ok(Bytes::from(bytes))
}
