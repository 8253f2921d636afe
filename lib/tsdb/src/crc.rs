//! CRC-32C (Castagnoli), the checksum of everything in a block.

use crc_fast::{CrcAlgorithm, Digest};

/// Computes the CRC-32C of `data`.
pub fn crc32c(data: &[u8]) -> u32 {
    narrow(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, data))
}

/// A CRC-32C over bytes that come in pieces.
#[derive(Debug)]
pub struct Crc32c(Digest);

impl Crc32c {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Adds the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Returns the checksum of all bytes so far.
    pub fn value(&self) -> u32 {
        narrow(self.0.finalize())
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

/// The library returns every width as `u64`; a 32-bit sum has nothing in its upper half.
fn narrow(sum: u64) -> u32 {
    (sum & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_check_value_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn pieces_give_the_sum_of_the_whole() {
        let data: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
        for cut in [0, 1, 15, 16, 17, 500, 1000] {
            let mut pieces = Crc32c::new();
            pieces.update(&data[..cut]);
            pieces.update(&data[cut..]);
            assert_eq!(pieces.value(), crc32c(&data), "cut at {cut}");
        }
    }
}
