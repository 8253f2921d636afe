//! Protobuf keys and lengths. All field numbers here are below 16, so that every key is one byte.

const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

/// More than the longest run of keys and numbers written at once (chunk: 44 bytes).
const HEADER_BYTES: usize = 64;

/// Keys and numbers between two pieces of data, put together on the stack to be copied at once.
#[derive(Debug)]
pub(super) struct Header {
    bytes: [u8; HEADER_BYTES],
    len: usize,
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

impl Default for Header {
    fn default() -> Self {
        Self {
            bytes: [0; HEADER_BYTES],
            len: 0,
        }
    }
}

impl Header {
    /// Writes the key of field `number` and the length of the bytes that follow.
    pub(super) fn bytes_key(&mut self, number: u8, len: usize) {
        self.push((number << 3) | LENGTH_DELIMITED);
        self.varint(len as u64);
    }

    /// Writes a number field; nothing for zero.
    pub(super) fn number(&mut self, number: u8, value: u64) {
        if value != 0 {
            self.push((number << 3) | VARINT);
            self.varint(value);
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn push(&mut self, byte: u8) {
        debug_assert!(self.len < HEADER_BYTES, "header is full");
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
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
                let mut header = Header::default();
                header.varint(value);
                assert_eq!(varint_len(value), header.as_slice().len(), "{value:#x}");
            }
        }
    }
}
