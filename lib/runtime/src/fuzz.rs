//! Entry points for fuzzing: any bytes go in, nothing may panic.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    discovery,
    flags::{FlagGroup, FlagSpec, Kind, ListenAddress, groups, parse_groups},
    grpc_server::snappy,
    metrics::wants_openmetrics,
    tls::Subject,
    yaml,
};

/// A YAML document, read without a shape and with one.
pub fn yaml_document(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    drop(yaml::from_str_strict::<serde_json::Value>("document", &text));
    drop(yaml::from_str_strict::<BTreeMap<String, u64>>("document", &text));
    drop(crate::request_log::RequestLog::parse(&text));
}

/// A document with references to variables.
pub fn expand_env(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    drop(yaml::expand_env("document", &text, &|name| {
        (name.len() < 4).then(|| name.to_owned())
    }));
}

/// A command line, one argument a line, and the values in it.
pub fn command_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let letters = [
        FlagSpec::new("wait", Kind::Bool, "false", "").short('w'),
        FlagSpec::new("out", Kind::Text, "", "").short('o'),
    ];
    let groups = [
        groups::http(),
        groups::request_logging(),
        FlagGroup::new("Letters", &letters),
    ];
    drop(parse_groups(&groups, &text.lines().collect::<Vec<_>>()));
    drop(text.parse::<ListenAddress>());
    wants_openmetrics(&text);
}

/// The subject of a certificate, and a certificate.
pub fn certificate_subject(data: &[u8]) {
    drop(Subject::read(data));
    drop(Subject::of(&data.into()));
}

/// A request under gRPC's compressor `snappy`.
pub fn snappy_request(data: &[u8]) {
    drop(snappy::decompress_messages(
        Bytes::copy_from_slice(data),
        64 << 10,
    ));
}

/// Answers of name servers, and their configuration.
pub fn names(data: &[u8]) {
    let id = data.first_chunk::<2>().map_or(0, |id| u16::from_be_bytes(*id));
    let _ = discovery::parse(data, id);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = discovery::ResolvConf::parse(text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn nothing_panics(
            text in "[-a-z{}\\[\\]:,#&*!|>'\" \n$()=0-9]{0,80}",
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            line in "(--(no-)?(http-address|out|wait|help|request.logging-config)(-file)?(=.{0,8})?\n|-[wo]{1,3}\n|.{0,6}\n){0,6}",
        ) {
            for data in [text.as_bytes(), &bytes, line.as_bytes()] {
                super::yaml_document(data);
                super::expand_env(data);
                super::command_line(data);
                super::snappy_request(data);
            }
        }
    }
}
