//! Where the bytes of an index come from.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use bytes::Bytes;

/// The bytes of a file, read by range.
pub trait ByteSource {
    /// Length of the file in bytes.
    fn len_bytes(&self) -> u64;

    /// Reads exactly this range; one that passes the end is an error of kind `UnexpectedEof`.
    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>>;
}

impl ByteSource for &[u8] {
    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        borrowed(self, range)
    }
}

impl ByteSource for Vec<u8> {
    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        borrowed(self, range)
    }
}

impl ByteSource for Bytes {
    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        borrowed(self, range)
    }
}

fn borrowed(bytes: &[u8], range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
    let start = usize::try_from(range.start).ok();
    let end = usize::try_from(range.end).ok();
    let found = start.zip(end).and_then(|(start, end)| bytes.get(start..end));
    found.map(Cow::Borrowed).ok_or_else(|| {
        let what = format!("range {range:?} of {} bytes", bytes.len());
        io::Error::new(io::ErrorKind::UnexpectedEof, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_past_the_end_are_refused() {
        let bytes: &[u8] = &[1, 2, 3];
        assert_eq!(bytes.read_at(1..3).unwrap(), &[2, 3][..]);
        assert_eq!(*bytes.read_at(3..3).unwrap(), [0u8; 0]);
        let owned = Bytes::from_static(bytes);
        for range in [1..4, 4..4, Range { start: 2, end: 1 }, 0..u64::MAX] {
            let error = bytes.read_at(range.clone()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(owned.read_at(range).is_err());
        }
        assert_eq!((bytes.len_bytes(), owned.len_bytes()), (3, 3));
    }
}
