//! SRV records, which the resolver of the C library does not look up, and whether a name exists, which it does not tell.
//!
//! One question by UDP to the servers of `/etc/resolv.conf`, again by TCP where the answer does not fit.

mod message;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

pub(crate) use message::parse;
use message::{Answer, Kind, Record, UDP_BYTES, question};

/// Where the system says whom to ask.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long one server may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Whom to ask, and what to add to short names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// Names with fewer dots are tried with the search domains first.
    ndots: usize,
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

    /// These servers, and these domains to add to names without a dot.
    pub(super) fn new(servers: Vec<SocketAddr>, search: Vec<String>) -> Self {
        Self {
            servers,
            search,
            ndots: 1,
        }
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

/// A host and a port.
pub(super) type Target = (String, u16);

/// The SRV records of `name`; none if the name servers say that there are none.
///
/// # Errors
/// The text is no name, or some name that it may mean could not be asked for.
pub(super) async fn srv(conf: &ResolvConf, name: &str) -> Result<Vec<Target>, String> {
    let records = ask(conf, name, &[Kind::Srv]).await?;
    let targets = records.into_iter().filter_map(|record| match record {
        Record::Target(host, port) => Some((host, port)),
        Record::Address(_) => None,
    });
    Ok(targets.collect())
}

/// The addresses of `host`, of both families; none if the name servers say that there are none.
///
/// # Errors
/// As [`srv`].
pub(super) async fn addresses(conf: &ResolvConf, host: &str) -> Result<Vec<IpAddr>, String> {
    let records = ask(conf, host, &[Kind::A, Kind::Aaaa]).await?;
    let addresses = records.into_iter().filter_map(|record| match record {
        Record::Address(address) => Some(address),
        Record::Target(..) => None,
    });
    Ok(addresses.collect())
}

/// What is known of the likeliest name that there is.
async fn ask(conf: &ResolvConf, name: &str, kinds: &[Kind]) -> Result<Vec<Record>, String> {
    let mut failure = None;
    for candidate in conf.candidates(name) {
        match ask_for(conf, &candidate, kinds).await {
            Ok(records) if !records.is_empty() => return Ok(records),
            Ok(_) => {}
            Err(error) => failure = Some(format!("{candidate}: {error}")),
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(Vec::new()),
    }
}

/// Half of what is known would pass for all of it.
async fn ask_for(conf: &ResolvConf, name: &str, kinds: &[Kind]) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for kind in kinds {
        records.extend(ask_servers(conf, name, *kind).await?);
    }
    Ok(records)
}

async fn ask_servers(conf: &ResolvConf, name: &str, kind: Kind) -> Result<Vec<Record>, String> {
    let id = rand::random();
    let question = question(id, name, kind).ok_or("is no name")?;
    let mut failure = String::new();
    for &server in &conf.servers {
        let answer = match by_udp(server, &question, id).await {
            Ok(Answer::Truncated) => by_tcp(server, &question, id).await,
            other => other,
        };
        match answer {
            Ok(Answer::Records(records)) => return Ok(records),
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

#[cfg(test)]
mod tests {
    use super::{message::tests::answer, *};

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
}
