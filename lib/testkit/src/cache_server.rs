//! memcached and redis inside the test process, strict in what they take and false as they are told.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// How a server goes wrong in its next answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It does not.
    Honest,
    /// It closes the connection instead of an answer.
    Dies,
    /// It closes the connection in the middle of a value.
    DiesInside,
    /// It never answers.
    Hangs,
    /// It answers with these bytes whatever was asked.
    Says(Vec<u8>),
}

/// What a server holds and has seen.
#[derive(Debug)]
pub struct State {
    /// Values by key.
    pub values: Mutex<HashMap<String, Vec<u8>>>,
    /// How it answers.
    pub mood: Mutex<Mood>,
    /// Connections that were opened to it.
    pub connections: AtomicUsize,
    /// Commands that it was sent.
    pub commands: AtomicUsize,
}

/// A server on a free port; it stops when dropped. What it is sent and should not be panics in its task and closes the
/// connection.
#[derive(Debug)]
pub struct CacheServer {
    /// `127.0.0.1:port`.
    pub address: String,
    /// What it holds and has seen.
    pub state: Arc<State>,
    task: JoinHandle<()>,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The text protocol of memcached: `get` and `set`.
    Memcached,
    /// RESP 2: `AUTH`, `SELECT`, `MGET` and `SET … EX`.
    Redis,
}

impl CacheServer {
    /// Starts on a free port.
    pub async fn start(protocol: Protocol) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let state = Arc::new(State {
            values: Mutex::default(),
            mood: Mutex::new(Mood::Honest),
            connections: AtomicUsize::new(0),
            commands: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((socket, _)) = listener.accept().await else {
                    continue;
                };
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let (read, write) = socket.into_split();
                let (read, state) = (BufReader::new(read), Arc::clone(&shared));
                match protocol {
                    Protocol::Memcached => connections.spawn(memcached(read, write, state)),
                    Protocol::Redis => connections.spawn(redis(read, write, state)),
                };
            }
        });
        Ok(Self { address, state, task })
    }

    /// Changes how it answers from now on.
    pub fn mood(&self, mood: Mood) {
        *self.state.mood.lock() = mood;
    }

    /// Whether it holds a value.
    pub fn has(&self, key: &str) -> bool {
        self.state.values.lock().contains_key(key)
    }
}

impl Drop for CacheServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends an answer, as the mood is; false if the connection is over.
async fn send(write: &mut OwnedWriteHalf, state: &State, answer: &[u8]) -> bool {
    let mood = state.mood.lock().clone();
    match mood {
        Mood::Honest => write.write_all(answer).await.is_ok(),
        Mood::Dies => false,
        Mood::DiesInside => {
            let half = answer.get(..answer.len() / 2).unwrap_or_default();
            let _ = write.write_all(half).await;
            false
        }
        Mood::Hangs => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            false
        }
        Mood::Says(bytes) => write.write_all(&bytes).await.is_ok(),
    }
}

async fn line(read: &mut BufReader<OwnedReadHalf>) -> Option<String> {
    let mut line = String::new();
    let read = read.read_line(&mut line).await.ok()?;
    (read > 0).then(|| {
        line.strip_suffix("\r\n")
            .expect("lines end with CR LF")
            .to_owned()
    })
}

async fn exactly(read: &mut BufReader<OwnedReadHalf>, len: &str) -> Option<Vec<u8>> {
    let len: usize = len.parse().ok()?;
    let mut bytes = vec![0; len + 2];
    read.read_exact(&mut bytes).await.ok()?;
    assert!(bytes.ends_with(b"\r\n"), "values end with CR LF");
    bytes.truncate(len);
    Some(bytes)
}

async fn memcached(mut read: BufReader<OwnedReadHalf>, mut write: OwnedWriteHalf, state: Arc<State>) {
    while let Some(command) = line(&mut read).await {
        state.commands.fetch_add(1, Ordering::Relaxed);
        let words: Vec<&str> = command.split(' ').collect();
        let answer = match words[..] {
            ["get", ref keys @ ..] => {
                let values = state.values.lock();
                let mut answer = Vec::new();
                for key in keys {
                    assert!(key.len() <= 250, "keys have 250 bytes at most");
                    if let Some(value) = values.get(*key) {
                        answer.extend(format!("VALUE {key} 0 {}\r\n", value.len()).bytes());
                        answer.extend(value);
                        answer.extend(b"\r\n");
                    }
                }
                answer.extend(b"END\r\n");
                answer
            }
            ["set", key, flags, life, len] => {
                assert_eq!(flags, "0");
                assert!(
                    life.parse::<u64>().is_ok_and(|life| life > 0),
                    "nothing is kept for ever"
                );
                let Some(value) = exactly(&mut read, len).await else {
                    return;
                };
                state.values.lock().insert(key.to_owned(), value);
                b"STORED\r\n".to_vec()
            }
            _ => panic!("memcached was sent {command:?}"),
        };
        if !send(&mut write, &state, &answer).await {
            return;
        }
    }
}

async fn arguments(read: &mut BufReader<OwnedReadHalf>, head: &str) -> Option<Vec<Vec<u8>>> {
    let count: usize = head.strip_prefix('*')?.parse().ok()?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let len = line(read).await?;
        parts.push(exactly(read, len.strip_prefix('$')?).await?);
    }
    Some(parts)
}

async fn redis(mut read: BufReader<OwnedReadHalf>, mut write: OwnedWriteHalf, state: Arc<State>) {
    while let Some(head) = line(&mut read).await {
        state.commands.fetch_add(1, Ordering::Relaxed);
        let Some(parts) = arguments(&mut read, &head).await else {
            return;
        };
        let texts: Vec<String> = parts
            .iter()
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect();
        let words: Vec<&str> = texts.iter().map(String::as_str).collect();
        let answer = match words[..] {
            ["AUTH" | "SELECT", ..] => {
                state.values.lock().insert(words.join(" "), Vec::new());
                b"+OK\r\n".to_vec()
            }
            ["MGET", ref keys @ ..] => {
                let values = state.values.lock();
                let mut answer = format!("*{}\r\n", keys.len()).into_bytes();
                for key in keys {
                    match values.get(*key) {
                        None => answer.extend(b"$-1\r\n"),
                        Some(value) => {
                            answer.extend(format!("${}\r\n", value.len()).bytes());
                            answer.extend(value);
                            answer.extend(b"\r\n");
                        }
                    }
                }
                answer
            }
            ["SET", key, _, "EX", _] => {
                let value = parts.get(2).cloned().unwrap_or_default();
                state.values.lock().insert(key.to_owned(), value);
                b"+OK\r\n".to_vec()
            }
            _ => panic!("redis was sent {words:?}"),
        };
        if !send(&mut write, &state, &answer).await {
            return;
        }
    }
}
