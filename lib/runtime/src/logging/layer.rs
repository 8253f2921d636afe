//! Turns tracing's events into lines.

use std::{
    error::Error,
    fmt::{self, Write as _},
};

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
use crate::clock;

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

/// RFC 3339 in UTC with nanoseconds, as Go's `RFC3339Nano` but of fixed width.
fn timestamp() -> String {
    let now = clock::since_epoch();
    let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let (year, month, day) = civil_date(now_ms.div_euclid(86_400_000));
    let seconds = now_ms.div_euclid(1_000).rem_euclid(86_400);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z",
        now.subsec_nanos()
    )
}

/// Year, month and day of a number of days since 1970-01-01, by counting in eras of 400 years that begin in March.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
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

#[cfg(test)]
mod tests {
    use super::civil_date;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_454, (2026, 1, 1)),
            (20_512, (2026, 2, 28)),
            (20_818, (2026, 12, 31)),
        ] {
            assert_eq!(civil_date(days), date);
        }
    }
}
