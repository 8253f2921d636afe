//! Questions to name servers and their answers. These are untrusted: what does not parse is none.

use std::net::IpAddr;

/// The longest answer by UDP that is asked for.
pub(super) const UDP_BYTES: usize = 1232;

/// Most records of an answer that are looked at.
const MAX_RECORDS: usize = 4096;

const CLASS_IN: u16 = 1;

/// What is asked for, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A = 1,
    Aaaa = 28,
    Srv = 33,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// An address.
    Address(IpAddr),
    /// A host and a port.
    Target(String, u16),
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// These records; none if there is no such name.
    Records(Vec<Record>),
    /// It does not fit: ask by TCP.
    Truncated,
    /// The server cannot answer.
    Failed(u8),
}

impl Kind {
    fn of(number: u16) -> Option<Kind> {
        [Kind::A, Kind::Aaaa, Kind::Srv]
            .into_iter()
            .find(|kind| *kind as u16 == number)
    }
}

/// A question with the number `id`; `None` if the text is no name.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut bytes = id.to_be_bytes().to_vec();
    // Recursion desired; one question, and one additional record that says how long an answer may be.
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.split('.') {
        let len = u8::try_from(label.len())
            .ok()
            .filter(|len| (1..=63).contains(len))?;
        bytes.push(len);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&(kind as u16).to_be_bytes());
    bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 41]);
    bytes.extend_from_slice(&u16::try_from(UDP_BYTES).unwrap_or(512).to_be_bytes());
    bytes.extend_from_slice(&[0; 6]);
    (name.len() <= 253).then_some(bytes)
}

/// Reads an answer; `None` if it is none to the question `id`.
pub(crate) fn parse(message: &[u8], id: u16) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    if reader.u16()? != id {
        return None;
    }
    let flags = reader.u16()?;
    if flags & 0x8000 == 0 {
        return None;
    }
    if flags & 0x0200 != 0 {
        return Some(Answer::Truncated);
    }
    match u8::try_from(flags & 0xf).unwrap_or(u8::MAX) {
        0 => {}
        3 => return Some(Answer::Records(Vec::new())),
        code => return Some(Answer::Failed(code)),
    }
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    for _ in 0..questions {
        reader.name()?;
        reader.skip(4)?;
    }
    let mut records = Vec::new();
    for _ in 0..usize::from(answers).min(MAX_RECORDS) {
        reader.name()?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        reader.skip(4)?;
        let len = usize::from(reader.u16()?);
        let next = reader.at.checked_add(len).filter(|next| *next <= message.len())?;
        if class == CLASS_IN {
            records.extend(reader.record(kind, len)?);
        }
        reader.at = next;
    }
    Some(Answer::Records(records))
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn u8(&mut self) -> Option<u8> {
        let byte = *self.message.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.at = self
            .at
            .checked_add(bytes)
            .filter(|at| *at <= self.message.len())?;
        Some(())
    }

    /// The data of a record of `len` bytes; none of a kind that nobody asked for, such as the name another one stands for.
    fn record(&mut self, kind: u16, len: usize) -> Option<Option<Record>> {
        let data = self.message.get(self.at..self.at.checked_add(len)?)?;
        Some(match Kind::of(kind) {
            Some(Kind::A) => Some(Record::Address(IpAddr::from(<[u8; 4]>::try_from(data).ok()?))),
            Some(Kind::Aaaa) => Some(Record::Address(IpAddr::from(<[u8; 16]>::try_from(data).ok()?))),
            Some(Kind::Srv) => {
                self.skip(4)?;
                let port = self.u16()?;
                Some(Record::Target(self.name()?, port))
            }
            None => None,
        })
    }

    /// A name, whose end may stand elsewhere. References only ever lead back, so they end.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut at = self.at;
        let mut back_of = usize::MAX;
        let mut behind = None;
        loop {
            let len = usize::from(*self.message.get(at)?);
            if len == 0 {
                self.at = behind.unwrap_or(at + 1);
                return Some(name);
            }
            if len >= 0xc0 {
                let low = usize::from(*self.message.get(at + 1)?);
                behind = behind.or(Some(at + 2));
                let target = (len & 0x3f) << 8 | low;
                if target >= at.min(back_of) {
                    return None;
                }
                (back_of, at) = (target, target);
                continue;
            }
            if len > 63 || name.len() + len > 253 {
                return None;
            }
            let label = self.message.get(at + 1..at + 1 + len)?;
            let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if !label.iter().all(is_plain) {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(&String::from_utf8_lossy(label));
            at += 1 + len;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `_c._tcp.m` with two records; the second's target ends in a reference.
    pub(in super::super) fn answer(id: u16) -> Vec<u8> {
        let mut bytes = id.to_be_bytes().to_vec();
        bytes.extend([0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]);
        bytes.extend(b"\x02_c\x04_tcp\x01m\x00\x00\x21\x00\x01");
        bytes.extend(
            b"\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x05\x00\x0d\x00\x00\x00\x01\x2b\xcb\x03m-0\x01m\x00",
        );
        bytes.extend(
            b"\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x05\x00\x0c\x00\x00\x00\x01\x2b\xcc\x03m-1\xc0\x14",
        );
        bytes
    }

    #[test]
    fn records_are_read() {
        let targets = [("m-0.m", 11211), ("m-1.m", 11212)];
        let targets = targets
            .map(|(host, port)| Record::Target(host.to_owned(), port))
            .to_vec();
        assert_eq!(parse(&answer(7), 7), Some(Answer::Records(targets)));
        assert_eq!(parse(&answer(7), 8), None);
        let mut other = answer(7);
        other[3] = 0x83;
        assert_eq!(parse(&other, 7), Some(Answer::Records(vec![])), "no such name");
        other[3] = 0x82;
        assert_eq!(parse(&other, 7), Some(Answer::Failed(2)));
        other[2] |= 2;
        assert_eq!(parse(&other, 7), Some(Answer::Truncated));
        for end in 0..answer(7).len() {
            assert!(
                !matches!(parse(&answer(7)[..end], 7), Some(Answer::Records(_))),
                "{end}"
            );
        }
    }

    #[test]
    fn a_name_that_refers_to_itself_is_none() {
        let mut bytes = answer(7);
        let last = bytes.len() - 1;
        bytes[last] = u8::try_from(last - 1).unwrap();
        assert_eq!(parse(&bytes, 7), None);
    }

    #[test]
    fn addresses_are_read_and_what_nobody_asked_for_is_passed() {
        let mut bytes = 7u16.to_be_bytes().to_vec();
        bytes.extend([0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0]);
        bytes.extend(b"\x01m\x00\x00\x01\x00\x01");
        bytes.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x05\x00\x03\x01n\x00");
        bytes.extend(b"\x01n\x00\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x09");
        bytes.extend(b"\x01n\x00\x00\x1c\x00\x01\x00\x00\x00\x05\x00\x10");
        bytes.extend(std::net::Ipv6Addr::LOCALHOST.octets());
        let addresses = ["10.0.0.9", "::1"].map(|text| Record::Address(text.parse().unwrap()));
        assert_eq!(parse(&bytes, 7), Some(Answer::Records(addresses.to_vec())));
        let len = bytes.len();
        bytes[len - 17] = 15;
        assert_eq!(parse(&bytes, 7), None, "an address of 15 bytes");
    }

    proptest! {
        #[test]
        fn garbage_is_no_answer(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let _ = parse(&bytes, 0);
            let mut flipped = answer(7);
            let at = at.index(flipped.len() * 8);
            flipped[at / 8] ^= 1 << (at % 8);
            let _ = parse(&flipped, 7);
            bytes.splice(0..bytes.len().min(4), [0, 7, 0x80, 0]);
            let _ = parse(&bytes, 7);
        }
    }
}
