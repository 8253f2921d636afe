//! Sending answers: short ones at once, long ones as they are written.

use std::io;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;
use sabre_runtime::run_cpu;

use super::{
    encoding::{Encoder, Encoding},
    failure::ApiFailure,
    json::document::Document,
};
use crate::watched::{MAX_PAUSE, Watched};

/// What is written at once. It takes a fraction of a millisecond.
const PIECE_BYTES: usize = 64 << 10;
/// Shorter answers are not compressed.
const COMPRESS_FROM_BYTES: usize = 1024;

/// An answer under way.
#[derive(Debug)]
struct Writing {
    document: Document,
    encoder: Encoder,
}

/// Sends an answer. `warnings` are those in it: one that is not about the query itself forbids keeping the answer.
pub(crate) fn send(mut document: Document, warnings: &[String], request: &HeaderMap) -> Response {
    let mut first = Vec::new();
    let done = document.fill(&mut first, PIECE_BYTES);
    let encoding = match done && first.len() < COMPRESS_FROM_BYTES {
        true => Encoding::Plain,
        false => Encoding::accepted(request),
    };
    let body = match whole_or_begun(document, &first, done, encoding) {
        Ok(body) => body,
        Err(error) => return ApiFailure::internal(format!("compress the answer: {error}")).into_response(),
    };
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(name) = encoding.name() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    if warnings.iter().any(|warning| !is_about_the_query(warning)) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn is_about_the_query(warning: &str) -> bool {
    warning.starts_with("PromQL warning: ") || warning.starts_with("PromQL info: ")
}

fn whole_or_begun(document: Document, first: &[u8], done: bool, encoding: Encoding) -> io::Result<Body> {
    let mut encoder = Encoder::new(encoding)?;
    encoder.write(first)?;
    if done {
        return Ok(Body::from(encoder.finish()?));
    }
    let begun = encoder.take();
    let writing = Watched::new(Writing { document, encoder }, MAX_PAUSE);
    let rest = stream::unfold(Some(writing), next);
    let begun = stream::iter([Ok(Bytes::from(begun))]);
    Ok(Body::from_stream(futures::StreamExt::chain(begun, rest)))
}

/// Writes the next piece on a thread for computing. Whoever does not read gets no more written.
async fn next(watched: Option<Watched<Writing>>) -> Option<(io::Result<Bytes>, Option<Watched<Writing>>)> {
    let watched = watched?;
    let Some(writing) = watched.take() else {
        let error = io::Error::new(io::ErrorKind::TimedOut, "the answer was not read for too long");
        return Some((Err(error), None));
    };
    match run_cpu(move || writing.piece()).await {
        Ok(Ok((piece, Some(rest)))) => {
            watched.put(rest);
            Some((Ok(piece), Some(watched)))
        }
        Ok(Ok((piece, None))) => Some((Ok(piece), None)),
        Ok(Err(error)) => Some((Err(error), None)),
        Err(panicked) => Some((Err(io::Error::other(panicked)), None)),
    }
}

impl Writing {
    fn piece(mut self) -> io::Result<(Bytes, Option<Self>)> {
        loop {
            let mut plain = Vec::with_capacity(PIECE_BYTES + (PIECE_BYTES >> 3));
            let done = self.document.fill(&mut plain, PIECE_BYTES);
            self.encoder.write(&plain)?;
            if done {
                let rest = self.encoder.finish()?;
                return Ok((Bytes::from(rest), None));
            }
            let piece = self.encoder.take();
            // An encoder may keep a piece for itself; an empty one would say nothing.
            if !piece.is_empty() {
                return Ok((Bytes::from(piece), Some(self)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use futures::StreamExt as _;
    use sabre_model::Labels;
    use sabre_promql::value::{RangeSeries, Value};

    use super::*;

    fn large() -> Document {
        let series = |number: usize| RangeSeries {
            labels: Labels::from_pairs([("n", number.to_string())]).unwrap(),
            floats: (0..1000).map(|at| (at * 15_000, at as f64 / 7.0)).collect(),
            histograms: Vec::new(),
        };
        Document::query(Value::Matrix((0..20).map(series).collect()), b"", &[])
    }

    fn accepting(encoding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding))])
    }

    #[tokio::test]
    async fn a_long_answer_is_the_same_in_every_encoding() {
        let plain = send(large(), &[], &HeaderMap::new());
        assert_eq!(plain.headers().get(header::CONTENT_ENCODING), None);
        let plain = to_bytes(plain.into_body(), usize::MAX).await.unwrap();
        assert!(plain.len() > 4 * PIECE_BYTES);
        let read: serde_json::Value = serde_json::from_slice(&plain).unwrap();
        assert_eq!(read["data"]["result"].as_array().unwrap().len(), 20);
        let zstd = send(large(), &[], &accepting("zstd"));
        assert_eq!(zstd.headers()[header::CONTENT_ENCODING], "zstd");
        let zstd = to_bytes(zstd.into_body(), usize::MAX).await.unwrap();
        assert_eq!(zstd::decode_all(&zstd[..]).unwrap(), plain);
        let gzip = send(large(), &[], &accepting("gzip"));
        let gzip = to_bytes(gzip.into_body(), usize::MAX).await.unwrap();
        let mut read = Vec::new();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut read).unwrap();
        assert_eq!(read, plain);
    }

    #[tokio::test]
    async fn a_piece_is_no_longer_than_it_may_be() {
        let mut body = send(large(), &[], &HeaderMap::new())
            .into_body()
            .into_data_stream();
        while let Some(piece) = body.next().await {
            assert!(piece.unwrap().len() < PIECE_BYTES + 1024);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_is_given_up() {
        let response = send(large(), &[], &HeaderMap::new());
        let mut body = response.into_body().into_data_stream();
        assert!(body.next().await.unwrap().is_ok());
        tokio::time::sleep(MAX_PAUSE * 2).await;
        assert!(body.next().await.unwrap().is_err());
        assert!(body.next().await.is_none());
    }

    #[test]
    fn only_warnings_of_stores_forbid_keeping_an_answer() {
        let kept = |warning: &str| {
            let warnings = [warning.to_owned()];
            let document = Document::texts(Vec::new(), &warnings);
            let response = send(document, &warnings, &HeaderMap::new());
            response.headers().get(header::CACHE_CONTROL).is_none()
        };
        assert!(kept("PromQL warning: quantile value should be between 0 and 1"));
        assert!(kept("PromQL info: metric might not be a counter"));
        assert!(!kept("a:10901: connection refused"));
    }
}
