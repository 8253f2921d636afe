//! The two commands that are used of memcached's text protocol.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;

use crate::{
    remote::Hits,
    wire::{Wire, WireError},
};

/// The longest key a server takes.
const MAX_KEY_BYTES: usize = 250;

/// Life times up to this are counted from now, longer ones are points in time.
const MAX_RELATIVE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Whether a key can be sent: it must be one word.
pub(super) fn check_key(key: &str) -> Result<(), WireError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(WireError::BadKey("no bytes or more than 250"));
    }
    if key.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(WireError::BadKey("spaces or control characters"));
    }
    Ok(())
}

/// `get`: the values that the server has. It may answer only what it was asked, each key once.
pub(crate) async fn get(wire: &mut Wire, keys: &[&str]) -> Result<Hits, WireError> {
    let mut command = Vec::with_capacity(4 + keys.iter().map(|key| key.len() + 1).sum::<usize>());
    command.extend_from_slice(b"get");
    for key in keys {
        command.push(b' ');
        command.extend_from_slice(key.as_bytes());
    }
    command.extend_from_slice(b"\r\n");
    wire.send(&command).await?;
    wire.flush().await?;
    let mut open: HashSet<&str> = keys.iter().copied().collect();
    let mut hits = Hits::new();
    loop {
        let line = wire.line().await?;
        if line == "END" {
            return Ok(hits);
        }
        let Some((key, len)) = value_line(line) else {
            return Err(refusal(line));
        };
        let Some(key) = open.take(key) else {
            return Err(WireError::Nonsense(format!(
                "key {key:?}, which was not asked for"
            )));
        };
        if let Some(value) = wire.value(len).await? {
            hits.insert(key.to_owned(), value);
        }
    }
}

/// `set`.
pub(crate) async fn set(
    wire: &mut Wire,
    key: &str,
    value: &Bytes,
    (ttl, now_seconds): (Duration, u64),
) -> Result<(), WireError> {
    check_key(key)?;
    // Zero would be for ever.
    let seconds = ttl.as_secs().max(1);
    let until = if ttl > MAX_RELATIVE {
        now_seconds.saturating_add(seconds)
    } else {
        seconds
    };
    wire.send(format!("set {key} 0 {until} {}\r\n", value.len()).as_bytes())
        .await?;
    wire.send(value).await?;
    wire.send(b"\r\n").await?;
    wire.flush().await?;
    match wire.line().await? {
        "STORED" | "NOT_STORED" => Ok(()),
        other => Err(refusal(other)),
    }
}

/// Key and length in `VALUE <key> <flags> <bytes> [<cas>]`.
fn value_line(line: &str) -> Option<(&str, u64)> {
    let mut words = line.split(' ');
    let is_value = words.next()? == "VALUE";
    let key = words.next()?;
    words.next()?.parse::<u32>().ok()?;
    let len = words.next()?.parse().ok()?;
    is_value.then_some((key, len))
}

fn refusal(line: &str) -> WireError {
    if line.starts_with("SERVER_ERROR") || line.starts_with("CLIENT_ERROR") || line == "ERROR" {
        return WireError::Refused(line.to_owned());
    }
    WireError::Nonsense(format!("{line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_one_word() {
        assert!(check_key("P:01H:abc:dss").is_ok());
        for bad in ["", "a b", "a\nb", "a\u{7f}", &"x".repeat(251)] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn value_lines() {
        assert_eq!(value_line("VALUE a 0 12"), Some(("a", 12)));
        assert_eq!(value_line("VALUE a 0 12 77"), Some(("a", 12)));
        for bad in ["VALUE a 0", "VALUE a x 1", "VALUE a 0 -1", "VALUES a 0 1", ""] {
            assert_eq!(value_line(bad), None, "{bad}");
        }
    }
}
