//! Reads `storeapi.jsonl.zst`.

use super::{Answer, Call, Case};
use crate::golden::Golden;
use crate::series::SeriesAnswer;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use prost::Message;
use sabre_proto::thanos::SeriesResponse;
use serde::Deserialize;
use tonic::Code;

const FILE: &str = "storeapi.jsonl.zst";

#[derive(Deserialize)]
struct Line {
    rpc: String,
    request: serde_json::Value,
    request_b64: String,
    #[serde(default)]
    frames_b64: Vec<String>,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    code: String,
}

/// Loads all cases.
pub fn load(golden: &Golden) -> Result<Vec<Case>> {
    let lines = golden.lines(FILE)?;
    (1..)
        .zip(&lines)
        .map(|(line, text)| case(line, text).with_context(|| format!("{FILE} line {line}")))
        .collect()
}

fn case(line: usize, text: &str) -> Result<Case> {
    let parsed: Line = serde_json::from_str(text)?;
    let request = Bytes::from(base64(&parsed.request_b64)?);
    let frames: Vec<Bytes> = parsed
        .frames_b64
        .iter()
        .map(|frame| Ok(base64(frame)?.into()))
        .collect::<Result<_>>()?;
    let call = call(&parsed.rpc, request)?;
    let expected = match &parsed.error {
        Some(error) => Err(code(&error.code)?),
        None => Ok(answer(&call, frames)?),
    };
    let title = format!("{} {}", parsed.rpc, parsed.request);
    Ok(Case {
        line,
        title,
        call,
        expected,
    })
}

fn call(rpc: &str, request: Bytes) -> Result<Call> {
    Ok(match rpc {
        "/thanos.Store/Series" => Call::Series(Message::decode(request)?),
        "/thanos.Store/LabelNames" => Call::LabelNames(Message::decode(request)?),
        "/thanos.Store/LabelValues" => Call::LabelValues(Message::decode(request)?),
        "/thanos.info.Info/Info" => Call::Info(Message::decode(request)?),
        other => bail!("unknown call {other}"),
    })
}

fn answer(call: &Call, frames: Vec<Bytes>) -> Result<Answer> {
    if let Call::Series(_) = call {
        let messages: Vec<SeriesResponse> = frames
            .into_iter()
            .map(SeriesResponse::decode)
            .collect::<Result<_, _>>()?;
        return Ok(Answer::Series(SeriesAnswer::from_messages(messages)?));
    }
    let only: [Bytes; 1] = frames.try_into().ok().context("a unary call has one answer")?;
    let [frame] = only;
    Ok(match call {
        Call::Series(_) | Call::LabelNames(_) => Answer::LabelNames(Message::decode(frame)?),
        Call::LabelValues(_) => Answer::LabelValues(Message::decode(frame)?),
        Call::Info(_) => Answer::Info(Message::decode(frame)?),
    })
}

fn code(name: &str) -> Result<Code> {
    Ok(match name {
        "INVALID_ARGUMENT" => Code::InvalidArgument,
        "ABORTED" => Code::Aborted,
        "UNKNOWN" => Code::Unknown,
        "INTERNAL" => Code::Internal,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        other => bail!("unknown code {other}"),
    })
}

/// Decodes standard base64 with padding.
fn base64(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut bits = 0u32;
    let mut count = 0;
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => bail!("byte {other:#x} is not base64"),
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(base64(text).expect("valid"), bytes);
        }
        assert!(base64("a b").is_err());
    }
}
