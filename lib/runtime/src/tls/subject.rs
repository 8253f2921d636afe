//! Whom a certificate is for: those parts of its subject that name somebody.

use rustls::pki_types::CertificateDer;

/// Tags of DER.
mod tag {
    pub(super) const OBJECT_ID: u8 = 0x06;
    pub(super) const UTF8: u8 = 0x0c;
    pub(super) const NUMERIC: u8 = 0x12;
    pub(super) const PRINTABLE: u8 = 0x13;
    pub(super) const TELETEX: u8 = 0x14;
    pub(super) const IA5: u8 = 0x16;
    pub(super) const BMP: u8 = 0x1e;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const SET: u8 = 0x31;
}

/// Object ids of the parts, 2.5.4.x, as DER has them.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const ORGANIZATIONAL_UNIT: &[u8] = &[0x55, 4, 11];

/// Parts of the subject of a client's certificate. Of several common names the last counts and of the others the first,
/// as in Go. As an `Arc` it is an
/// extension of every request on a connection whose client showed a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// `CN`.
    pub common_name: Option<String>,
    /// `O`.
    pub organization: Option<String>,
    /// `OU`.
    pub organizational_unit: Option<String>,
}

/// What is left of an encoding.
struct Reader<'d> {
    rest: &'d [u8],
}

impl Subject {
    /// The subject of a certificate; `None` if it cannot be read.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        Self::read(parsed.subject())
    }

    /// Reads the sets of a name. Texts that are none are left out.
    pub(crate) fn read(name: &[u8]) -> Option<Self> {
        let mut subject = Self::default();
        let mut sets = Reader { rest: name };
        while let Some(set) = sets.next(tag::SET)? {
            let mut parts = Reader { rest: set };
            while let Some(part) = parts.next(tag::SEQUENCE)? {
                let mut part = Reader { rest: part };
                let kind = part.next(tag::OBJECT_ID)??;
                let (tag, value) = part.element()??;
                if let Some(text) = text(tag, value) {
                    subject.note(kind, text);
                }
            }
        }
        Some(subject)
    }

    fn note(&mut self, kind: &[u8], text: String) {
        match kind {
            COMMON_NAME => self.common_name = Some(text),
            ORGANIZATION => {
                self.organization.get_or_insert(text);
            }
            ORGANIZATIONAL_UNIT => {
                self.organizational_unit.get_or_insert(text);
            }
            _ => {}
        }
    }
}

impl<'d> Reader<'d> {
    /// What is within the next element, which must have this tag; `Some(None)` at the end.
    fn next(&mut self, wanted: u8) -> Option<Option<&'d [u8]>> {
        match self.element()? {
            None => Some(None),
            Some((tag, content)) => (tag == wanted).then_some(Some(content)),
        }
    }

    /// The next element; `Some(None)` at the end.
    fn element(&mut self) -> Option<Option<(u8, &'d [u8])>> {
        let Some((&tag, rest)) = self.rest.split_first() else {
            return Some(None);
        };
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // More than three bytes of length are no certificate's.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let len = bytes.iter().fold(0, |len, byte| (len << 8) | usize::from(*byte));
                (len, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Some((tag, content)))
    }
}

fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        tag::UTF8 => std::str::from_utf8(value).ok().map(str::to_owned),
        tag::NUMERIC | tag::PRINTABLE | tag::TELETEX | tag::IA5 => {
            let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii());
            text.map(str::to_owned)
        }
        tag::BMP => {
            let (pairs, rest) = value.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16(&units).ok().filter(|_| rest.is_empty())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::{pem::Source, test_files::certificate};

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        match content.len() {
            len @ 0..=0x7f => bytes.push(len as u8),
            len => bytes.extend([0x82, (len >> 8) as u8, len as u8]),
        }
        bytes.extend(content);
        bytes
    }

    fn part(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        let both = [element(0x06, kind), element(tag, value)].concat();
        element(0x31, &element(0x30, &both))
    }

    fn subject_of(file: &str) -> Subject {
        let chain = Source::file("cert", certificate(file)).chain().unwrap();
        Subject::of(&chain[0]).unwrap()
    }

    #[test]
    fn of_several_names_those_count_that_count_in_go() {
        let named = subject_of("named.pem");
        assert_eq!(named.organization.as_deref(), Some("Übersee GmbH"));
        assert_eq!(named.organizational_unit.as_deref(), Some("metrics"));
        assert_eq!(named.common_name.as_deref(), Some("last.test"));
        let client = subject_of("client.pem");
        assert_eq!(client.common_name.as_deref(), Some("client"));
        assert_eq!((client.organization, client.organizational_unit), (None, None));
    }

    #[test]
    fn texts_of_all_kinds_are_read_and_those_that_are_none_left_out() {
        for (tag, value, expected) in [
            (0x0c, "é".as_bytes(), Some("é")),
            (0x13, b"plain", Some("plain")),
            (0x16, b"a@b", Some("a@b")),
            (0x12, b"123", Some("123")),
            (0x14, b"old", Some("old")),
            (0x1e, &[0, b'h', 0, b'i'], Some("hi")),
            (0x0c, &[0xff], None),
            (0x13, "é".as_bytes(), None),
            (0x1e, &[0, b'h', 0], None),
            (0x1e, &[0xd8, 0], None),
            (0x02, &[1], None),
        ] {
            let subject = Subject::read(&part(COMMON_NAME, tag, value)).unwrap();
            assert_eq!(subject.common_name.as_deref(), expected, "{tag} {value:?}");
        }
        let long = "x".repeat(5000);
        let subject = Subject::read(&part(ORGANIZATION, 0x0c, long.as_bytes())).unwrap();
        assert_eq!(subject.organization, Some(long));
        assert_eq!(Subject::read(&[]), Some(Subject::default()));
    }

    #[test]
    fn what_is_no_name_is_none() {
        let good = part(COMMON_NAME, 0x0c, b"a");
        for end in 1..good.len() {
            assert_eq!(Subject::read(&good[..end]), None, "cut at {end}");
        }
        for at in [0, 2, 4] {
            let mut other = good.clone();
            other[at] = 0x02;
            assert_eq!(Subject::read(&other), None, "another tag at {at}");
        }
        assert_eq!(Subject::read(&[0x31, 0x84, 0, 0, 0, 0]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_name_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..80), whole in any::<bool>(), at in any::<prop::sample::Index>()) {
            let mut bytes = bytes;
            if whole {
                let mut good = part(ORGANIZATIONAL_UNIT, 0x0c, b"metrics");
                let flipped = at.index(good.len() * 8);
                good[flipped / 8] ^= 1 << (flipped % 8);
                good.extend(bytes);
                bytes = good;
            }
            let _ = Subject::read(&bytes);
        }
    }
}
