//! The byte that says how a chunk is encoded.

/// The encodings that blocks of Prometheus 3.9 and of Thanos have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Encoding {
    /// Floats.
    Xor = 1,
    /// Native histograms with integer counts.
    Histogram = 2,
    /// Native histograms with float counts.
    FloatHistogram = 3,
    /// Thanos' downsampled data: up to five chunks in one.
    Aggregate = 0xff,
}

impl Encoding {
    /// The byte in front of the chunk data in a segment file.
    pub fn byte(self) -> u8 {
        self as u8
    }
}

impl TryFrom<u8> for Encoding {
    type Error = UnsupportedEncoding;

    fn try_from(byte: u8) -> Result<Self, UnsupportedEncoding> {
        match byte {
            1 => Ok(Self::Xor),
            2 => Ok(Self::Histogram),
            3 => Ok(Self::FloatHistogram),
            0xff => Ok(Self::Aggregate),
            _ => Err(UnsupportedEncoding(byte)),
        }
    }
}

/// An encoding byte that cannot be read here: one that newer Prometheus writes when told to, or an unknown one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unsupported chunk encoding {0} ({name}){advice}", name = self.name(), advice = self.advice())]
pub struct UnsupportedEncoding(
    /// The byte found.
    pub u8,
);

impl UnsupportedEncoding {
    /// What Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "none",
            4 => "XOR2",
            5 => "Histogram+ST",
            6 => "FloatHistogram+ST",
            _ => "unknown",
        }
    }

    fn advice(self) -> &'static str {
        match self.0 {
            4 => {
                ": unset storage.tsdb.chunk_encoding.floats in prometheus, and its features xor2-encoding and st-storage"
            }
            5 | 6 => ": disable the features histograms-st-encoding and st-storage of prometheus",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_encodings_agree() {
        for byte in 0..=255 {
            if let Ok(encoding) = Encoding::try_from(byte) {
                assert_eq!(encoding.byte(), byte);
            }
        }
        assert_eq!(Encoding::try_from(0xff), Ok(Encoding::Aggregate));
    }

    #[test]
    fn unsupported_encodings_are_called_by_name() {
        let text = |byte: u8| Encoding::try_from(byte).unwrap_err().to_string();
        assert!(
            text(4).starts_with("unsupported chunk encoding 4 (XOR2): unset storage."),
            "{}",
            text(4)
        );
        assert!(text(5).contains("5 (Histogram+ST)"));
        assert!(text(6).contains("6 (FloatHistogram+ST)"));
        assert_eq!(text(7), "unsupported chunk encoding 7 (unknown)");
        assert_eq!(text(0), "unsupported chunk encoding 0 (none)");
    }
}
