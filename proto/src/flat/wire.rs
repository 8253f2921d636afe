//! Protobuf keys and lengths. All field numbers here are below 16, so that every key is one byte.

use bytes::BufMut;

const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

/// More than the longest run of keys and numbers between two pieces of data (hash of one chunk, then all of the
/// next one up to its data: 53 bytes).
const PENDING_BYTES: usize = 64;

/// A key and the longest varint.
const MAX_FIELD_BYTES: usize = 11;

/// Writes fields; keys and numbers between two pieces of data are put together on the stack and copied at once.
#[derive(Debug)]
pub(super) struct Writer<'o, O: BufMut> {
    out: &'o mut O,
    pending: [u8; PENDING_BYTES],
    pending_len: usize,
}

/// The key of a field of bytes.
pub(super) fn bytes_key(number: u8) -> u8 {
    (number << 3) | LENGTH_DELIMITED
}

/// Returns how many bytes `value` takes as a varint.
pub(super) fn varint_len(value: u64) -> usize {
    // 7 bits a byte: ceil(bits / 7) without a division, exact for 1 to 64 bits.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    (bits * 9 + 64) / 64
}

/// Returns the length of a field that holds `len` bytes, with its key.
pub(super) fn bytes_field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Returns the length of a number field, with its key; nothing for zero.
pub(super) fn number_field_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value) }
}

impl<'o, O: BufMut> Writer<'o, O> {
    pub(super) fn new(out: &'o mut O) -> Self {
        Self {
            out,
            pending: [0; PENDING_BYTES],
            pending_len: 0,
        }
    }

    /// Writes the key of field `number` and the length of the bytes that follow.
    pub(super) fn key(&mut self, number: u8, len: usize) {
        self.varint_field(bytes_key(number), len as u64);
    }

    /// Writes a number field; nothing for zero.
    pub(super) fn number(&mut self, number: u8, value: u64) {
        if value != 0 {
            self.varint_field((number << 3) | VARINT, value);
        }
    }

    /// Writes bytes as they are.
    pub(super) fn data(&mut self, bytes: &[u8]) {
        self.flush();
        self.out.put_slice(bytes);
    }

    /// Writes a field of bytes; nothing if there are none.
    pub(super) fn bytes(&mut self, number: u8, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.key(number, bytes.len());
            self.data(bytes);
        }
    }

    /// Hands over what is pending; the last call.
    pub(super) fn finish(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        self.out
            .put_slice(self.pending.get(..self.pending_len).unwrap_or_default());
        self.pending_len = 0;
    }

    /// Writes a key and a number; looks once whether there is room for the longest of both.
    fn varint_field(&mut self, key: u8, mut value: u64) {
        if self.pending_len > PENDING_BYTES - MAX_FIELD_BYTES {
            self.flush();
        }
        let room = self.pending.get_mut(self.pending_len..).unwrap_or_default();
        let Some((first, rest)) = room.split_first_mut() else {
            return;
        };
        *first = key;
        self.pending_len += 1;
        for slot in rest {
            self.pending_len += 1;
            if value < 0x80 {
                *slot = value as u8;
                return;
            }
            *slot = (value & 0x7f) as u8 | 0x80;
            value >>= 7;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_varints_are_exact() {
        for bit in 0..64 {
            for value in [1u64 << bit, (1u64 << bit) - 1, u64::MAX >> bit] {
                let mut out = Vec::new();
                let mut writer = Writer::new(&mut out);
                writer.varint_field(8, value);
                writer.finish();
                assert_eq!(1 + varint_len(value), out.len(), "{value:#x}");
            }
        }
    }

    #[test]
    fn any_number_of_numbers_may_follow_each_other() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        for _ in 0..100 {
            writer.number(1, u64::MAX);
        }
        writer.finish();
        assert_eq!(out.len(), 1100);
    }
}
