//! Compressing answers as they are written.

use std::io::{self, Write as _};

use axum::http::{HeaderMap, header};
use flate2::{Compression, write::GzEncoder};

/// Fast, and small enough: answers are texts full of repetition.
const ZSTD_LEVEL: i32 = 1;

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

/// Compresses what it is given, piece by piece.
pub(crate) enum Encoder {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoding {
    /// The best of what the client takes.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let mut best = Self::Plain;
        let values = headers.get_all(header::ACCEPT_ENCODING);
        let values = values.iter().filter_map(|value| value.to_str().ok());
        for offer in values.flat_map(|value| value.split(',')) {
            let (name, quality) = match offer.split_once(';') {
                Some((name, quality)) => (name.trim(), quality.trim()),
                None => (offer.trim(), ""),
            };
            if is_refused(quality) {
                continue;
            }
            if name.eq_ignore_ascii_case("zstd") {
                best = Self::Zstd;
            } else if name.eq_ignore_ascii_case("gzip") && best == Self::Plain {
                best = Self::Gzip;
            }
        }
        best
    }

    /// The value of `Content-Encoding`.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// `q=0` is a refusal.
fn is_refused(quality: &str) -> bool {
    let number = quality
        .strip_prefix("q=")
        .and_then(|number| number.parse::<f64>().ok());
    number == Some(0.0)
}

impl Encoder {
    pub(crate) fn new(encoding: Encoding) -> io::Result<Self> {
        Ok(match encoding {
            Encoding::Plain => Self::Plain(Vec::new()),
            Encoding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Encoding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    /// Takes a piece.
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.write_all(piece),
            Self::Gzip(encoder) => encoder.write_all(piece),
            Self::Zstd(encoder) => encoder.write_all(piece),
        }
    }

    /// What is compressed so far.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Plain(out) => out,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }

    /// The rest.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn accepted(value: &str) -> Encoding {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
        Encoding::accepted(&headers)
    }

    #[test]
    fn zstd_is_taken_before_gzip_and_nothing_that_is_refused() {
        assert_eq!(accepted("gzip, deflate, br, zstd"), Encoding::Zstd);
        assert_eq!(accepted("gzip"), Encoding::Gzip);
        assert_eq!(accepted("GZIP;q=0.5"), Encoding::Gzip);
        assert_eq!(accepted("zstd;q=0, gzip"), Encoding::Gzip);
        assert_eq!(accepted("gzip;q=0.0"), Encoding::Plain);
        assert_eq!(accepted("identity, br"), Encoding::Plain);
        assert_eq!(Encoding::accepted(&HeaderMap::new()), Encoding::Plain);
    }

    #[test]
    fn what_was_written_in_pieces_is_read_as_one() {
        let piece = b"[1767232800,\"17\"],".repeat(100);
        for encoding in [Encoding::Plain, Encoding::Gzip, Encoding::Zstd] {
            let mut encoder = Encoder::new(encoding).unwrap();
            let mut all = Vec::new();
            for _ in 0..10 {
                encoder.write(&piece).unwrap();
                all.extend(encoder.take());
            }
            all.extend(encoder.finish().unwrap());
            let mut read = Vec::new();
            match encoding {
                Encoding::Plain => read = all,
                Encoding::Gzip => {
                    let mut decoder = flate2::read::GzDecoder::new(&all[..]);
                    decoder.read_to_end(&mut read).unwrap();
                }
                Encoding::Zstd => read = zstd::decode_all(&all[..]).unwrap(),
            }
            assert_eq!(read, piece.repeat(10));
        }
    }
}
