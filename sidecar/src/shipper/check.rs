//! Looks at a local block before it is sent: whether all its files are there and are what they are named.
//!
//! Nothing is read but the first and the last bytes: a file system that came back from a crash with empty, short or missing
//! files is found, a flipped bit in the middle is not.

use std::{io, path::Path};

use sabre_tsdb::{
    index::{HEADER_BYTES, TOC_BYTES, Toc, Version},
    segment::{HEADER, check_header, segment_name},
};

use super::disk::Disk;

/// Checks the index and the segments, whose names are sorted. A failure is of kind `InvalidData` and names the file.
pub(super) fn block(disk: &dyn Disk, dir: &Path, segments: &[String], num_chunks: u64) -> io::Result<()> {
    index(disk, &dir.join("index"))?;
    if segments.is_empty() && num_chunks > 0 {
        return Err(broken(
            &dir.join("chunks"),
            format!("no segments, though meta.json counts {num_chunks} chunks"),
        ));
    }
    for (number, name) in (0_u32..).zip(segments) {
        let path = dir.join("chunks").join(name);
        let wanted = segment_name(number);
        if *name != wanted {
            return Err(broken(&path, format!("segment {wanted} is wanted in its place")));
        }
        let head = disk
            .read_at(&path, 0, HEADER.len())
            .map_err(|error| named(&path, &error))?;
        check_header(&head).map_err(|error| broken(&path, error))?;
    }
    Ok(())
}

fn index(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let size_bytes = disk.size_bytes(path).map_err(|error| named(path, &error))?;
    let Some(toc_offset) = size_bytes.checked_sub(TOC_BYTES as u64) else {
        return Err(broken(
            path,
            format!("{size_bytes} bytes are too few for an index"),
        ));
    };
    let head = disk
        .read_at(path, 0, HEADER_BYTES)
        .map_err(|error| named(path, &error))?;
    Version::decode(&head).map_err(|error| broken(path, error))?;
    let toc = disk
        .read_at(path, toc_offset, TOC_BYTES)
        .map_err(|error| named(path, &error))?;
    Toc::decode(&toc)
        .and_then(|toc| toc.check(size_bytes))
        .map_err(|error| broken(path, error))
}

/// A file that ends too early is a broken one.
fn named(path: &Path, error: &io::Error) -> io::Error {
    let kind = match error.kind() {
        io::ErrorKind::UnexpectedEof => io::ErrorKind::InvalidData,
        other => other,
    };
    io::Error::new(kind, format!("{}: {error}", path.display()))
}

fn broken(path: &Path, what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
}
