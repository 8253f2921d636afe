//! A name server on the loopback, by UDP and TCP, that says what a test tells it.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_SRV: u16 = 33;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

/// So many pairs of ports are tried: another process may have the port of one kind.
const TRIES: usize = 100;

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Record {
    /// An address of version 4.
    A(Ipv4Addr),
    /// One of version 6.
    Aaaa(Ipv6Addr),
    /// A server of a service: its host, without a dot at the end, and its port.
    Srv(String, u16),
}

/// What it knows, and what it was asked.
#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, Vec<Record>>,
    is_failing: bool,
    broken: Vec<String>,
    is_short: bool,
    asked: Vec<String>,
}

/// The server; it ends with this.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    tasks: [JoinHandle<()>; 2],
}

impl NameServer {
    /// Starts one that knows no name.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> io::Result<NameServer> {
        let (udp, tcp) = bind().await?;
        let state = Arc::new(Mutex::new(State::default()));
        Ok(NameServer {
            address: udp.local_addr()?,
            tasks: [
                tokio::spawn(serve_udp(udp, Arc::clone(&state))),
                tokio::spawn(serve_tcp(tcp, Arc::clone(&state))),
            ],
            state,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says what a whole name stands for, in place of what it did; nothing for a name that is there and has no record.
    pub fn set(&self, name: &str, records: &[Record]) {
        self.state.lock().names.insert(name.to_owned(), records.to_vec());
    }

    /// Forgets a name.
    pub fn remove(&self, name: &str) {
        self.state.lock().names.remove(name);
    }

    /// Whether it answers everything with an error of its own.
    pub fn fail(&self, is_failing: bool) {
        self.state.lock().is_failing = is_failing;
    }

    /// Answers with an error of its own to whoever asks for these.
    pub fn fail_for(&self, names: &[&str]) {
        self.state.lock().broken = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Whether answers by UDP say that they do not fit.
    pub fn cut_short(&self, is_short: bool) {
        self.state.lock().is_short = is_short;
    }

    /// What it was asked since the last call, as `UDP SRV name`.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().asked)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn bind() -> io::Result<(UdpSocket, TcpListener)> {
    let mut outcome = Err(io::ErrorKind::AddrInUse.into());
    for _ in 0..TRIES {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}

async fn serve_udp(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut buffer = [0; 1500];
    loop {
        // An error is one of an answer before, whose reader has gone.
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let answer = answer(buffer.get(..len).unwrap_or_default(), &state, "UDP");
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = answer_tcp(stream, &state).await;
    }
}

async fn answer_tcp(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut question = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut question).await?;
    let answer = answer(&question, state, "TCP").unwrap_or_default();
    stream.write_u16(u16::try_from(answer.len()).unwrap_or(0)).await?;
    stream.write_all(&answer).await
}

/// The answer to a message, unless that is no question.
fn answer(message: &[u8], state: &Mutex<State>, way: &str) -> Option<Vec<u8>> {
    let (name, end) = name(message)?;
    let kind = u16::from_be_bytes(*message.get(end..)?.first_chunk()?);
    let question = message.get(12..end.checked_add(4)?)?;
    let mut state = state.lock();
    let shown = match kind {
        TYPE_A => "A",
        TYPE_AAAA => "AAAA",
        TYPE_SRV => "SRV",
        _ => "?",
    };
    state.asked.push(format!("{way} {shown} {name}"));
    let is_cut = state.is_short && way == "UDP";
    let (code, records) = match state.names.get(&name) {
        _ if state.is_failing || state.broken.contains(&name) => (SERVER_FAILURE, Vec::new()),
        None => (NO_SUCH_NAME, Vec::new()),
        Some(records) => (
            0,
            records
                .iter()
                .filter_map(|record| encoded(record, kind))
                .collect(),
        ),
    };
    let records: Vec<Vec<u8>> = if is_cut { Vec::new() } else { records };
    let count = u16::try_from(records.len()).ok()?;
    let mut bytes = message.get(..2)?.to_vec();
    bytes.extend([0x81 | u8::from(is_cut) << 1, 0x80 | code, 0, 1]);
    bytes.extend(count.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(question);
    for record in records {
        // The name of the question, its kind, the class, and for how long it is true.
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 5]);
        bytes.extend(u16::try_from(record.len()).ok()?.to_be_bytes());
        bytes.extend(record);
    }
    Some(bytes)
}

/// The name that is asked for, and where it ends.
fn name(message: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        if len == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + len)?).into_owned());
        at += len;
    }
}

fn encoded(record: &Record, kind: u16) -> Option<Vec<u8>> {
    match (record, kind) {
        (Record::A(address), TYPE_A) => Some(address.octets().to_vec()),
        (Record::Aaaa(address), TYPE_AAAA) => Some(address.octets().to_vec()),
        (Record::Srv(host, port), TYPE_SRV) => {
            let mut bytes = vec![0, 0, 0, 1];
            bytes.extend(port.to_be_bytes());
            for label in host.split('.') {
                bytes.push(u8::try_from(label.len()).ok()?);
                bytes.extend(label.as_bytes());
            }
            bytes.push(0);
            Some(bytes)
        }
        _ => None,
    }
}
