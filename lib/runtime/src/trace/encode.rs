//! What a collector is sent: `ExportTraceServiceRequest` of OTLP, as far as it is used here.

use std::{collections::BTreeMap, time::Duration};

use prost::Message;

use super::span::{Kind, Record, Value};

const SCOPE: &str = "sabre";
/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(super) spans: Vec<WireSpan>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireSpan {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(int32, tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<WireStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireStatus {
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "any_value::Kind", tags = "1, 3")]
    pub(super) value: Option<any_value::Kind>,
}

pub(super) mod any_value {
    /// Of the seven kinds of values those that occur here.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(in super::super) enum Kind {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(int64, tag = "3")]
        Number(i64),
    }
}

/// Encodes one export.
pub(super) fn request(resource: &Resource, records: Vec<Record>) -> Vec<u8> {
    let spans = records.into_iter().map(span).collect();
    let scope_spans = ScopeSpans {
        scope: Some(Scope {
            name: SCOPE.to_owned(),
        }),
        spans,
    };
    let resource_spans = ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![scope_spans],
    };
    let request = Request {
        resource_spans: vec![resource_spans],
    };
    request.encode_to_vec()
}

/// Who sends: its name, if it has one, and what the configuration says besides.
pub(super) fn resource(service_name: &str, more: &BTreeMap<String, String>) -> Resource {
    let name = (!service_name.is_empty()).then(|| ("service.name".to_owned(), service_name.to_owned()));
    let all = name.into_iter().chain(more.clone());
    Resource {
        attributes: all.map(|(key, value)| pair(key, Value::Text(value))).collect(),
    }
}

fn span(record: Record) -> WireSpan {
    let kind = match record.kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
    };
    let status = record.error.map(|message| WireStatus {
        message,
        code: STATUS_ERROR,
    });
    let attributes = record.attributes.into_iter();
    WireSpan {
        trace_id: record.trace_id.to_vec(),
        span_id: record.span_id.to_vec(),
        parent_span_id: record.parent_id.map(|id| id.to_vec()).unwrap_or_default(),
        name: record.name.into_owned(),
        kind,
        start_time_unix_nano: nanoseconds(record.start),
        end_time_unix_nano: nanoseconds(record.start.saturating_add(record.took)),
        attributes: attributes
            .map(|(key, value)| pair(key.to_owned(), value))
            .collect(),
        status,
    }
}

fn pair(key: String, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Kind::Text(text),
        Value::Number(number) => any_value::Kind::Number(number),
    };
    KeyValue {
        key,
        value: Some(AnyValue { value: Some(value) }),
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
