//! SRV records, which the resolver of the C library does not look up, and whether a name exists, which it does not tell.
//!
//! One question by UDP to the servers of `/etc/resolv.conf`, again by TCP where the answer does not fit. Answers are
//! untrusted: what does not parse is an error.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Where the system says whom to ask.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long one server may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The longest answer by UDP that is asked for.
const UDP_BYTES: usize = 1232;

/// Most records of an answer that are looked at.
const MAX_RECORDS: usize = 4096;

const TYPE_A: u16 = 1;
const TYPE_SRV: u16 = 33;
const CLASS_IN: u16 = 1;

/// Whom to ask, and what to add to short names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// Names with fewer dots are tried with the search domains first.
    ndots: usize,
}

/// A host and a port of an answer.
pub(crate) type Target = (String, u16);

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// These records; none if there is no such name.
    Targets(Vec<Target>),
    /// It does not fit: ask by TCP.
    Truncated,
    /// The server cannot answer.
    Failed(u8),
}

impl ResolvConf {
    /// Reads the file; without one the server is at 127.0.0.1, as for the C library.
    pub(crate) async fn of_system() -> Self {
        let text = tokio::task::spawn_blocking(|| std::fs::read_to_string(RESOLV_CONF)).await;
        Self::parse(&text.map(Result::unwrap_or_default).unwrap_or_default())
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut conf = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    conf.servers
                        .extend(address.map(|address| SocketAddr::new(address, 53)));
                }
                Some("search" | "domain") => conf.search = words.take(16).map(str::to_owned).collect(),
                Some("options") => {
                    let ndots = words
                        .filter_map(|word| word.strip_prefix("ndots:")?.parse().ok())
                        .next_back();
                    conf.ndots = ndots.unwrap_or(conf.ndots);
                }
                _ => {}
            }
        }
        conf.servers.truncate(3);
        if conf.servers.is_empty() {
            conf.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
        conf
    }

    /// The whole names that `name` may mean, the likeliest first.
    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let searched = self
            .search
            .iter()
            .map(|domain| format!("{name}.{}", domain.trim_end_matches('.')));
        let mut names: Vec<String> = searched.collect();
        let at = if name.matches('.').count() >= self.ndots {
            0
        } else {
            names.len()
        };
        names.insert(at, name.to_owned());
        names
    }
}

/// The SRV records of `name`; none if the name servers say that there are none.
///
/// # Errors
/// The text is no name, or some name that it may mean could not be asked for.
pub(super) async fn srv(conf: &ResolvConf, name: &str) -> Result<Vec<Target>, String> {
    ask(conf, name, TYPE_SRV).await
}

/// Makes sure that `host` has no address; the resolver of the C library tells that and a failure not apart.
///
/// # Errors
/// A name server could not be asked, so that nothing is known.
pub(super) async fn has_no_address(conf: &ResolvConf, host: &str) -> Result<(), String> {
    ask(conf, host, TYPE_A).await.map(|_| ())
}

async fn ask(conf: &ResolvConf, name: &str, kind: u16) -> Result<Vec<Target>, String> {
    let mut failure = None;
    for candidate in conf.candidates(name) {
        match ask_all(conf, &candidate, kind).await {
            Ok(targets) if !targets.is_empty() => return Ok(targets),
            Ok(_) => {}
            Err(error) => failure = Some(format!("{candidate}: {error}")),
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(Vec::new()),
    }
}

async fn ask_all(conf: &ResolvConf, name: &str, kind: u16) -> Result<Vec<Target>, String> {
    let id = rand::random();
    let question = question(id, name, kind).ok_or("is no name")?;
    let mut failure = String::new();
    for &server in &conf.servers {
        let answer = match by_udp(server, &question, id).await {
            Ok(Answer::Truncated) => by_tcp(server, &question, id).await,
            other => other,
        };
        match answer {
            Ok(Answer::Targets(targets)) => return Ok(targets),
            Ok(Answer::Truncated) => failure = format!("{server}: the answer is too long"),
            Ok(Answer::Failed(code)) => failure = format!("{server}: answers with error {code}"),
            Err(error) => failure = format!("{server}: {error}"),
        }
    }
    Err(failure)
}

async fn by_udp(server: SocketAddr, question: &[u8], id: u16) -> Result<Answer, String> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let asked = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        socket.send(question).await?;
        let mut buffer = vec![0; UDP_BYTES];
        loop {
            let len = socket.recv(&mut buffer).await?;
            // What answers another question is not for us.
            if let Some(answer) = parse(buffer.get(..len).unwrap_or_default(), id) {
                return Ok::<_, std::io::Error>(answer);
            }
        }
    };
    match timeout(TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

async fn by_tcp(server: SocketAddr, question: &[u8], id: u16) -> Result<Answer, String> {
    let asked = async {
        let mut stream = TcpStream::connect(server).await?;
        let len = u16::try_from(question.len()).unwrap_or(u16::MAX);
        stream
            .write_all(&[&len.to_be_bytes()[..], question].concat())
            .await?;
        let len = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(len)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(parse(&answer, id))
    };
    match timeout(TIMEOUT, asked).await {
        Ok(Ok(Some(answer))) => Ok(answer),
        Ok(Ok(None)) => Err("an answer that cannot be read".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

fn question(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
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
    bytes.extend_from_slice(&kind.to_be_bytes());
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
        3 => return Some(Answer::Targets(Vec::new())),
        code => return Some(Answer::Failed(code)),
    }
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    for _ in 0..questions {
        reader.name()?;
        reader.skip(4)?;
    }
    let mut targets = Vec::new();
    for _ in 0..usize::from(answers).min(MAX_RECORDS) {
        reader.name()?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        reader.skip(4)?;
        let len = usize::from(reader.u16()?);
        let next = reader.at.checked_add(len).filter(|next| *next <= message.len())?;
        if (kind, class) == (TYPE_SRV, CLASS_IN) {
            reader.skip(4)?;
            let port = reader.u16()?;
            targets.push((reader.name()?, port));
        }
        reader.at = next;
    }
    Some(Answer::Targets(targets))
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `_c._tcp.m` with two records; the second's target ends in a reference.
    fn answer(id: u16) -> Vec<u8> {
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
        let targets = vec![("m-0.m".to_owned(), 11211), ("m-1.m".to_owned(), 11212)];
        assert_eq!(parse(&answer(7), 7), Some(Answer::Targets(targets)));
        assert_eq!(parse(&answer(7), 8), None);
        let mut other = answer(7);
        other[3] = 0x83;
        assert_eq!(parse(&other, 7), Some(Answer::Targets(vec![])), "no such name");
        other[3] = 0x82;
        assert_eq!(parse(&other, 7), Some(Answer::Failed(2)));
        other[2] |= 2;
        assert_eq!(parse(&other, 7), Some(Answer::Truncated));
        for end in 0..answer(7).len() {
            assert!(
                !matches!(parse(&answer(7)[..end], 7), Some(Answer::Targets(_))),
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
    fn the_file_of_the_system_is_read() {
        let conf = ResolvConf::parse(
            "# c\nnameserver 10.96.0.10\nnameserver x\nsearch monitoring.svc.cluster.local svc.cluster.local\noptions ndots:5 edns0\n",
        );
        assert_eq!(conf.servers, ["10.96.0.10:53".parse().unwrap()]);
        assert_eq!(
            conf.candidates("_c._tcp.m"),
            [
                "_c._tcp.m.monitoring.svc.cluster.local",
                "_c._tcp.m.svc.cluster.local",
                "_c._tcp.m"
            ]
        );
        assert_eq!(conf.candidates("a.b.")[..], ["a.b"]);
        assert_eq!(ResolvConf::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(
            ResolvConf::parse("search x\n").candidates("a.b"),
            ["a.b", "a.b.x"]
        );
    }

    #[tokio::test]
    async fn servers_are_asked_and_answer() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let conf = ResolvConf {
            servers: vec![server.local_addr().unwrap()],
            search: vec!["x".to_owned()],
            ndots: 5,
        };
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (len, from) = server.recv_from(&mut buffer).await.unwrap();
                let id = u16::from_be_bytes([buffer[0], buffer[1]]);
                let asks_for_x = buffer[..len].windows(3).any(|bytes| bytes == b"\x01x\x00");
                let mut says = answer(id);
                if asks_for_x {
                    says[3] = 0x83;
                }
                server.send_to(&answer(id.wrapping_add(1)), from).await.unwrap();
                server.send_to(&says, from).await.unwrap();
            }
        });
        let targets = srv(&conf, "_c._tcp.m").await.unwrap();
        assert_eq!(
            targets,
            [("m-0.m".to_owned(), 11211), ("m-1.m".to_owned(), 11212)]
        );
        assert!(srv(&conf, "bad..name").await.is_err());
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
