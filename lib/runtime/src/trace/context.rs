//! Which trace the running work belongs to, and how that crosses tasks, threads and the wire.

use std::{fmt, future::Future};

use http::{HeaderMap, HeaderValue};

use super::span::Tracer;

/// The W3C header.
const TRACEPARENT: &str = "traceparent";
/// Its length in version 0: `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const TRACEPARENT_LEN: usize = 55;

tokio::task_local! {
    static CURRENT: Context;
}

/// A place in a trace.
#[derive(Clone)]
pub struct Context {
    pub(super) tracer: Tracer,
    pub(super) remote: Remote,
}

/// A place in a trace as the wire has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) sampled: bool,
}

/// The place of the running work, if it belongs to a trace.
pub(super) fn current() -> Option<Context> {
    CURRENT.try_with(Clone::clone).ok()
}

/// The id of the trace that the running work belongs to, as 32 digits, if it is exported.
pub fn trace_id() -> Option<String> {
    let id = CURRENT.try_with(|context| context.remote.sampled.then(|| context.remote.trace_id_text()));
    id.ok().flatten()
}

/// Takes the trace of the running work along to where `future` will run.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    within(current(), future)
}

/// Takes the trace of the running work along to the thread where `call` will run.
pub fn carried_call<T>(call: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let context = current();
    move || call_within(context, call)
}

/// Runs `future` at a place, or as it is.
pub(super) async fn within<F: Future>(context: Option<Context>, future: F) -> F::Output {
    match context {
        Some(context) => CURRENT.scope(context, future).await,
        None => future.await,
    }
}

/// Calls `call` at a place, or as it is.
pub(super) fn call_within<T>(context: Option<Context>, call: impl FnOnce() -> T) -> T {
    match context {
        Some(context) => CURRENT.sync_scope(context, call),
        None => call(),
    }
}

impl Remote {
    /// Reads `traceparent`; one that is none begins no trace, as if it were not there.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(TRACEPARENT)?.as_bytes())
    }

    /// Versions after 0 may have more behind, and are read as far as they are known.
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(TRACEPARENT_LEN)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let [version] = hex(parts.next()?)?;
        let trace_id = hex(parts.next()?)?;
        let span_id = hex(parts.next()?)?;
        let [flags] = hex(parts.next()?)?;
        let fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        let is_valid = fits && parts.next().is_none() && trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }

    pub(crate) fn write(&self) -> String {
        let (trace_id, span_id) = (self.trace_id_text(), digits(&self.span_id));
        format!("00-{trace_id}-{span_id}-{:02x}", u8::from(self.sampled))
    }

    pub(crate) fn trace_id_text(&self) -> String {
        digits(&self.trace_id)
    }
}

impl Context {
    /// Adds `traceparent`, so that who is called goes on with the trace.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(self.remote.write()) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.remote.write())
    }
}

/// Exactly `N` bytes as lower-case digits.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte.checked_sub(b'0'),
        b'a'..=b'f' => byte.checked_sub(b'a' - 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digits(bytes: &[u8]) -> String {
    use fmt::Write as _;

    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_w3c_is_read_and_written() {
        let remote = Remote::parse(EXAMPLE.as_bytes()).unwrap();
        assert!(remote.sampled);
        assert_eq!(remote.trace_id_text(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(remote.write(), EXAMPLE);
        let unsampled = Remote::parse(EXAMPLE.replace("-01", "-02").as_bytes()).unwrap();
        assert!(!unsampled.sampled);
    }

    #[test]
    fn later_versions_are_read_as_far_as_known_and_what_is_none_begins_no_trace() {
        let later = EXAMPLE.replacen("00", "cc", 1);
        assert!(Remote::parse(later.as_bytes()).is_some());
        assert!(Remote::parse(format!("{later}-more").as_bytes()).is_some());
        for text in [
            String::new(),
            format!("{EXAMPLE}-more"),
            format!("{later}more"),
            EXAMPLE.replacen("00", "ff", 1),
            EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            EXAMPLE.replace("00f067aa0ba902b7", &"0".repeat(16)),
            EXAMPLE.to_uppercase(),
            EXAMPLE.replace('-', "_"),
            EXAMPLE.replace("-00f0", "0-0f0"),
            "ä".repeat(40),
        ] {
            assert_eq!(Remote::parse(text.as_bytes()), None, "{text}");
        }
    }
}
