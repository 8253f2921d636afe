//! Spans, and who decides which of them are exported.

use std::{borrow::Cow, fmt, future::Future, sync::Arc, time::Duration};

use http::HeaderMap;
use tokio::time::Instant;

use super::{
    config::Sampler,
    context::{self, Context, Remote},
    export::Queue,
};
use crate::clock;

/// Longer texts are cut, so that what waits in the queue is bounded.
const MAX_TEXT_BYTES: usize = 1 << 10;

/// Begins traces. Clones share the queue.
#[derive(Clone)]
pub struct Tracer(Arc<Inner>);

struct Inner {
    sampler: Sampler,
    queue: Queue,
}

/// What a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step within the process.
    Internal,
    /// The answer to a request from outside.
    Server,
    /// A request to another process.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// A step of a trace; it ends when it is dropped. One of a trace that is not exported keeps nothing.
#[derive(Debug, Default)]
#[must_use = "a span ends when it is dropped"]
pub struct Span {
    context: Option<Context>,
    recorded: Option<Box<Running>>,
}

#[derive(Debug)]
struct Running {
    begun: Instant,
    record: Record,
}

/// A span that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) parent_id: Option<[u8; 8]>,
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: Kind,
    /// Since the Unix epoch.
    pub(crate) start: Duration,
    pub(crate) took: Duration,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    pub(crate) error: Option<String>,
}

impl Tracer {
    pub(super) fn new(sampler: Sampler, queue: Queue) -> Self {
        Self(Arc::new(Inner { sampler, queue }))
    }

    /// Begins the span of a request from outside: in the trace that its headers name, or in one of its own.
    pub(crate) fn serve(
        &self,
        name: impl Into<Cow<'static, str>>,
        headers: &HeaderMap,
        is_forced: bool,
    ) -> Span {
        let parent = Remote::read(headers);
        let trace_id = parent.map_or_else(fresh, |parent| parent.trace_id);
        let sampled = is_forced
            || self
                .0
                .sampler
                .decide(trace_id, parent.map(|parent| parent.sampled));
        let parent_id = parent.map(|parent| parent.span_id);
        self.begin(name.into(), Kind::Server, trace_id, parent_id, sampled)
    }

    fn begin(
        &self,
        name: Cow<'static, str>,
        kind: Kind,
        trace_id: [u8; 16],
        parent_id: Option<[u8; 8]>,
        sampled: bool,
    ) -> Span {
        let span_id = fresh();
        let recorded = sampled.then(|| {
            let record = Record {
                trace_id,
                span_id,
                parent_id,
                name,
                kind,
                start: clock::since_epoch(),
                took: Duration::ZERO,
                attributes: Vec::new(),
                error: None,
            };
            Box::new(Running {
                begun: Instant::now(),
                record,
            })
        });
        let remote = Remote {
            trace_id,
            span_id,
            sampled,
        };
        Span {
            context: Some(Context {
                tracer: self.clone(),
                remote,
            }),
            recorded,
        }
    }

    /// Waits until everything that ended before has been exported or given up.
    pub async fn flush(&self) {
        self.0.queue.flush().await;
    }

    /// The same for the last time: a collector that does not take it is not asked again.
    pub(crate) async fn flush_last(&self) {
        self.0.queue.flush_last().await;
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Tracer").field(&self.0.sampler).finish()
    }
}

impl Span {
    /// Begins a step of the running work; nothing if that is part of no exported trace.
    pub fn child(name: &'static str) -> Self {
        Self::child_of_kind(name, Kind::Internal)
    }

    /// Begins a request to another process.
    pub fn client(name: &'static str) -> Self {
        Self::child_of_kind(name, Kind::Client)
    }

    fn child_of_kind(name: &'static str, kind: Kind) -> Self {
        let Some(parent) = context::current() else {
            return Self::default();
        };
        if !parent.remote.sampled {
            // Who is called must know that the trace is not exported.
            return Self {
                context: Some(parent),
                recorded: None,
            };
        }
        let Remote {
            trace_id, span_id, ..
        } = parent.remote;
        parent
            .tracer
            .begin(name.into(), kind, trace_id, Some(span_id), true)
    }

    /// Whether it is exported: texts need not be made for one that is not.
    pub fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Says something about it; texts are cut at a KiB.
    pub fn attribute(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(running) = &mut self.recorded {
            running.record.attributes.push((key, value.into()));
        }
    }

    /// Says that it failed.
    pub fn fail(&mut self, problem: impl fmt::Display) {
        if let Some(running) = &mut self.recorded {
            running.record.error = Some(cut(&problem.to_string()));
        }
    }

    /// Runs work whose steps are parts of it.
    pub fn within<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        context::within(self.context.clone(), work)
    }

    /// Calls what has steps that are parts of it.
    pub fn call<T>(&self, work: impl FnOnce() -> T) -> T {
        context::call_within(self.context.clone(), work)
    }

    /// Adds the headers by which another process goes on with the trace.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        if let Some(context) = &self.context {
            context.write(headers);
        }
    }

    /// The id of its trace, if that is exported.
    pub(crate) fn trace_id(&self) -> Option<String> {
        self.recorded.as_ref()?;
        Some(self.context.as_ref()?.remote.trace_id_text())
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let (Some(context), Some(running)) = (&self.context, self.recorded.take()) {
            let Running { begun, mut record } = *running;
            record.took = begun.elapsed();
            context.tracer.0.queue.push(record);
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(cut(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl Sampler {
    /// The share is taken as all samplers by share do, so that those of one trace agree.
    fn decide(self, trace_id: [u8; 16], parent: Option<bool>) -> bool {
        if let (true, Some(parent)) = (self.is_parent_based, parent) {
            return parent;
        }
        let [.., a, b, c, d, e, f, g, h] = trace_id;
        let place = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
        // The share is from 0 to 1, so that the bound fits; a whole share must include the last place.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to 2^63, and a float saturates"
        )]
        let bound = (self.share * (1_u64 << 63) as f64) as u64;
        place < bound
    }
}

/// A copy of the beginning: no queue of spans must hold more than it says, so the rest is not even kept as room.
fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    text.get(..end).unwrap_or_default().to_owned()
}

/// An id; zeros are none.
fn fresh<const N: usize>() -> [u8; N] {
    loop {
        let id: [u8; N] = std::array::from_fn(|_| rand::random());
        if id != [0; N] {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samplers_decide_by_parent_share_and_id() {
        let low = [0; 16];
        let high = [0xff; 16];
        for (is_parent_based, share, trace_id, parent, expected) in [
            (false, 1.0, high, None, true),
            (false, 0.0, low, None, false),
            (false, 0.5, low, None, true),
            (false, 0.5, high, None, false),
            (false, 1.0, low, Some(false), true),
            (false, 0.0, low, Some(true), false),
            (true, 0.0, low, Some(true), true),
            (true, 1.0, low, Some(false), false),
            (true, 1.0, low, None, true),
            (true, 0.0, low, None, false),
        ] {
            let sampler = Sampler {
                is_parent_based,
                share,
            };
            assert_eq!(
                sampler.decide(trace_id, parent),
                expected,
                "{sampler:?} {parent:?}"
            );
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut(&"a".repeat(2_000)).len(), 1_024);
        assert_eq!(cut(&format!("a{}", "ä".repeat(2_000))).len(), 1_023);
        assert_eq!(cut("short"), "short");
        assert!(
            cut(&"a".repeat(4 << 20)).capacity() <= 1_024,
            "no room is kept either"
        );
    }

    #[test]
    fn work_outside_of_traces_has_spans_that_keep_nothing() {
        let mut span = Span::child("x");
        span.attribute("key", "value");
        span.fail("no");
        let mut headers = HeaderMap::new();
        span.write_headers(&mut headers);
        assert!(headers.is_empty() && !span.is_recorded() && span.trace_id().is_none());
    }
}
