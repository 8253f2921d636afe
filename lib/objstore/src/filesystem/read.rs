//! Reading files: one open, one fstat, and as few preads as the kernel allows.

use std::{fs::File, io, os::fd::OwnedFd, path::Path, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};
use rustix::{
    buffer::spare_capacity,
    fs::{Mode, OFlags},
};

use super::{FilesystemBucket, Root};
use crate::{
    bucket::{GetBody, RangeBody},
    error::{Error, ErrorKind, Operation, Result},
    memory::range_error,
};

/// How much of a whole object is in memory at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Opens a regular file and says how large it is; anything else is not found.
pub(super) fn open(path: &Path) -> io::Result<(File, u64)> {
    // Without NONBLOCK the opening of a named pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd: OwnedFd = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
    let file = File::from(fd);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "not a regular file"));
    }
    Ok((file, metadata.len()))
}

pub(super) fn range(root: &Root, path: &Path, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
    let (file, size) = open(path).map_err(|e| root.read_error(Operation::GetRange, key, e))?;
    let Some(rest) = size.checked_sub(offset) else {
        return Err(range_error(&root.name, key, offset, size));
    };
    let bytes = read_at(root, Operation::GetRange, key, &file, offset, len.min(rest))?;
    Ok(RangeBody {
        bytes,
        object_size_bytes: size,
    })
}

/// Reads exactly `len` bytes, into memory that is not zeroed before.
pub(super) fn read_at(
    root: &Root,
    operation: Operation,
    key: &str,
    file: &File,
    offset: u64,
    len: u64,
) -> Result<Bytes> {
    let Ok(len) = usize::try_from(len) else {
        let what = format!("{len} bytes do not fit into memory");
        return Err(Error::new(ErrorKind::TooLarge, operation, &root.name, key, what));
    };
    let mut bytes: Vec<u8> = Vec::new();
    if bytes.try_reserve_exact(len).is_err() {
        let what = format!("cannot allocate {len} bytes");
        return Err(Error::new(ErrorKind::TooLarge, operation, &root.name, key, what));
    }
    while bytes.len() < len {
        let at = offset + bytes.len() as u64;
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut bytes), at));
        if read.map_err(|e| root.read_error(operation, key, e.into()))? == 0 {
            let what = format!(
                "the file became shorter while it was read: {} of {len} bytes at {offset}",
                bytes.len()
            );
            return Err(Error::new(ErrorKind::Truncated, operation, &root.name, key, what));
        }
    }
    // The allocator may have given more than was asked for, and the file may have grown into it.
    bytes.truncate(len);
    Ok(Bytes::from(bytes))
}

pub(super) fn body(bucket: FilesystemBucket, key: String, file: File, size_bytes: u64) -> GetBody {
    let file = Arc::new(file);
    let pieces = stream::try_unfold(0, move |offset| {
        let (bucket, key, file) = (bucket.clone(), key.clone(), Arc::clone(&file));
        async move {
            if offset >= size_bytes {
                return Ok(None);
            }
            let len = PIECE_BYTES.min(size_bytes - offset);
            let owned = key.clone();
            let read = move |root: &Root| read_at(root, Operation::Get, &owned, &file, offset, len);
            let bytes = bucket.blocking(Operation::Get, &key, read).await?;
            Ok(Some((bytes, offset + len)))
        }
    });
    GetBody {
        size_bytes,
        stream: pieces.boxed(),
    }
}
