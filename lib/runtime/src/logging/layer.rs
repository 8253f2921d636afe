//! Turns tracing's events into lines.

use std::{
    error::Error,
    fmt::{self, Write as _},
};

use sabre_model::time::UtcTime;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use super::{Format, Sink, logfmt};
use crate::{clock, trace};

/// Writes every event as one line into a [`Sink`]. Fields of the spans around it stand behind its own.
#[derive(Debug)]
pub struct LogLayer<S> {
    format: Format,
    name: String,
    sink: S,
}

/// Keys and values in the order they were recorded.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

#[derive(Debug)]
enum Value {
    Text(String),
    /// Written without quotes in JSON.
    Bare(String),
}

impl<S> LogLayer<S> {
    pub(super) fn new(format: Format, name: String, sink: S) -> Self {
        Self { format, name, sink }
    }

    fn line(&self, metadata: &Metadata<'_>, fields: Fields) -> String {
        let head = [
            ("ts", timestamp()),
            ("caller", caller(metadata)),
            ("level", level(metadata).to_owned()),
        ];
        let head = head.into_iter().map(|(key, text)| (key, Value::Text(text)));
        let name = (!self.name.is_empty()).then(|| ("name", Value::Text(self.name.clone())));
        // The message stands before its fields, wherever it was recorded.
        let (message, rest): (Vec<_>, Vec<_>) = fields.0.into_iter().partition(|(key, _)| *key == "msg");
        let pairs = head.chain(name).chain(message).chain(rest);
        match self.format {
            Format::Logfmt => logfmt_line(pairs),
            Format::Json => json_line(pairs),
        }
    }
}

impl<S, R> Layer<R> for LogLayer<S>
where
    S: Sink,
    R: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, R>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, R>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, R>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            fields.take_over(&span);
        }
        if let Some(id) = trace::trace_id() {
            fields.0.push(("traceID", Value::Text(id)));
        }
        self.sink.write_line(&self.line(event.metadata(), fields));
    }
}

impl Fields {
    /// Adds a span's fields; the inner value of a key stays.
    fn take_over<'a, R: LookupSpan<'a>>(&mut self, span: &SpanRef<'a, R>) {
        let extensions = span.extensions();
        let outer = extensions
            .get::<Fields>()
            .map(|fields| fields.0.as_slice())
            .unwrap_or_default();
        for (key, value) in outer {
            if !self.0.iter().any(|(known, _)| known == key) {
                self.0.push((key, value.clone()));
            }
        }
    }

    fn push(&mut self, field: &Field, value: Value) {
        let key = if field.name() == "message" {
            "msg"
        } else {
            field.name()
        };
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some(pair) => pair.1 = value,
            None => self.0.push((key, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::Text(value.to_owned()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Bare(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::Bare(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Bare(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let text = value.to_string();
        self.push(
            field,
            if value.is_finite() {
                Value::Bare(text)
            } else {
                Value::Text(text)
            },
        );
    }

    /// Writes the error with all its causes.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            // Writing to a string does not fail.
            let _infallible = write!(text, ": {error}");
            cause = error.source();
        }
        self.push(field, Value::Text(text));
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        match self {
            Value::Text(text) => Value::Text(text.clone()),
            Value::Bare(text) => Value::Bare(text.clone()),
        }
    }
}

fn logfmt_line(pairs: impl Iterator<Item = (&'static str, Value)>) -> String {
    let mut line = String::new();
    for (key, value) in pairs {
        let (Value::Text(text) | Value::Bare(text)) = value;
        logfmt::push_pair(&mut line, key, &text);
    }
    line.push('\n');
    line
}

fn json_line(pairs: impl Iterator<Item = (&'static str, Value)>) -> String {
    let mut line = String::from("{");
    for (key, value) in pairs {
        if line.len() > 1 {
            line.push(',');
        }
        line.push_str(&json_text(key));
        line.push(':');
        match value {
            Value::Text(text) => line.push_str(&json_text(&text)),
            Value::Bare(text) => line.push_str(&text),
        }
    }
    line.push_str("}\n");
    line
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// RFC 3339 in UTC with as many decimals as are needed, as Go's `RFC3339Nano`.
fn timestamp() -> String {
    let now = clock::since_epoch();
    UtcTime::from_unix(
        i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        now.subsec_nanos(),
    )
    .to_string()
}

fn caller(metadata: &Metadata<'_>) -> String {
    let file = metadata.file().unwrap_or_else(|| metadata.target());
    let file = file.rsplit('/').next().unwrap_or(file);
    format!("{file}:{}", metadata.line().unwrap_or_default())
}

fn level(metadata: &Metadata<'_>) -> &'static str {
    match *metadata.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        _ => "debug",
    }
}
