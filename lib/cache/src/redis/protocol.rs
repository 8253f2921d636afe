//! The commands that are used of redis.

use std::time::Duration;

use bytes::Bytes;

use crate::wire::{Wire, WireError};

/// What a server answers to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Head {
    /// `+OK`
    Text(String),
    /// `-ERR …`
    Failure(String),
    /// `:1`
    Number,
    /// `$5`, bytes to come; `None` for `$-1`.
    Bulk(Option<u64>),
    /// `*2`, answers to come.
    Array(u64),
}

fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn head(line: &str) -> Option<Head> {
    let (kind, rest) = line.split_at_checked(1)?;
    Some(match kind {
        "+" => Head::Text(rest.to_owned()),
        "-" => Head::Failure(rest.to_owned()),
        ":" => rest.parse::<i64>().ok().map(|_| Head::Number)?,
        "$" if rest == "-1" => Head::Bulk(None),
        "$" => Head::Bulk(Some(rest.parse().ok()?)),
        "*" => Head::Array(rest.parse().ok()?),
        _ => return None,
    })
}

async fn read_head(wire: &mut Wire) -> Result<Head, WireError> {
    let line = wire.line().await?;
    head(line).ok_or_else(|| WireError::Nonsense(format!("{line:?}")))
}

fn unexpected(head: Head) -> WireError {
    match head {
        Head::Failure(why) => WireError::Refused(why),
        other => WireError::Nonsense(format!("{other:?}")),
    }
}

/// Sends a command that is answered by `+OK`.
async fn run(wire: &mut Wire, parts: &[&[u8]]) -> Result<(), WireError> {
    wire.send(&command(parts)).await?;
    wire.flush().await?;
    match read_head(wire).await? {
        Head::Text(_) => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// `AUTH` and `SELECT`, as far as they are needed.
pub(super) async fn greet(wire: &mut Wire, (user, password): (&str, &str), db: u32) -> Result<(), WireError> {
    match (user, password) {
        ("", "") => {}
        ("", password) => run(wire, &[b"AUTH", password.as_bytes()]).await?,
        (user, password) => run(wire, &[b"AUTH", user.as_bytes(), password.as_bytes()]).await?,
    }
    if db > 0 {
        run(wire, &[b"SELECT", db.to_string().as_bytes()]).await?;
    }
    Ok(())
}

/// `MGET`: a value, or none, for each key in order.
pub(crate) async fn get(wire: &mut Wire, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, WireError> {
    let parts: Vec<&[u8]> = std::iter::once(&b"MGET"[..])
        .chain(keys.iter().map(Vec::as_slice))
        .collect();
    wire.send(&command(&parts)).await?;
    wire.flush().await?;
    match read_head(wire).await? {
        Head::Array(count) if count == keys.len() as u64 => {}
        Head::Array(count) => {
            let keys = keys.len();
            return Err(WireError::Nonsense(format!("{count} values for {keys} keys")));
        }
        other => return Err(unexpected(other)),
    }
    let mut values = Vec::with_capacity(keys.len());
    for _ in keys {
        match read_head(wire).await? {
            Head::Bulk(None) => values.push(None),
            Head::Bulk(Some(len)) => values.push(wire.value(len).await?),
            other => return Err(unexpected_inside(&other)),
        }
    }
    Ok(values)
}

/// Inside of an answer nothing is a whole one: the connection cannot be used again.
fn unexpected_inside(head: &Head) -> WireError {
    WireError::Nonsense(format!("{head:?} where a value should be"))
}

/// `SET … EX`.
pub(super) async fn set(wire: &mut Wire, key: &[u8], value: &Bytes, ttl: Duration) -> Result<(), WireError> {
    let seconds = ttl.as_secs().max(1).to_string();
    run(wire, &[b"SET", key, value, b"EX", seconds.as_bytes()]).await
}

/// Asks a sentinel for the server called `name`.
pub(super) async fn master(wire: &mut Wire, name: &str) -> Result<String, WireError> {
    wire.send(&command(&[
        b"SENTINEL",
        b"get-master-addr-by-name",
        name.as_bytes(),
    ]))
    .await?;
    wire.flush().await?;
    match read_head(wire).await? {
        Head::Array(2) => {}
        Head::Bulk(None) | Head::Array(_) => {
            return Err(WireError::Refused(format!("no master is called {name}")));
        }
        other => return Err(unexpected(other)),
    }
    let mut parts = Vec::new();
    for _ in 0..2 {
        let Head::Bulk(Some(len)) = read_head(wire).await? else {
            return Err(WireError::Nonsense("an address that is none".to_owned()));
        };
        let text = wire.value(len).await?.unwrap_or_default();
        parts.push(String::from_utf8_lossy(&text).into_owned());
    }
    Ok(parts.join(":"))
}

/// For fuzzing.
pub(crate) use get as fuzz_get;

/// Whether the line begins an answer; for fuzzing.
pub(crate) fn is_head(line: &str) -> bool {
    head(line).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_answers() {
        assert_eq!(head("+OK"), Some(Head::Text("OK".to_owned())));
        assert_eq!(head("-ERR no"), Some(Head::Failure("ERR no".to_owned())));
        assert_eq!(head(":-5"), Some(Head::Number));
        assert_eq!(head("$0"), Some(Head::Bulk(Some(0))));
        assert_eq!(head("$-1"), Some(Head::Bulk(None)));
        assert_eq!(head("*3"), Some(Head::Array(3)));
        for bad in ["", "x", "$x", "$-2", "*-1", ":", "日本"] {
            assert_eq!(head(bad), None, "{bad}");
        }
    }

    #[test]
    fn commands_are_arrays_of_bytes() {
        assert_eq!(command(&[b"GET", b"a b"]), b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n");
    }
}
