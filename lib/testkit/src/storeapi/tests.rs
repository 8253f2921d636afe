use super::*;
use crate::golden::golden;
use crate::grpc;
use prost::Message;
use sabre_proto::flat::SeriesFrameBuilder;
use sabre_proto::raw_body::{FrameReceiver, frame_channel};
use sabre_proto::thanos::store_server::Store;
use sabre_proto::thanos::{AggrChunk, Series, SeriesResponse, series_response};
use sabre_proto::{RawSeries, StoreService};
use std::sync::Arc;
use tokio::time::Instant;
use tonic::service::Routes;
use tonic::{Request, Response};

fn cases() -> Option<Vec<Case>> {
    Some(load(&golden()?).expect("load"))
}

fn outcome(case: &Case) -> Outcome {
    let answer = case
        .expected
        .clone()
        .map_err(|code| Status::new(code, "as expected"));
    let unlimited = match &answer {
        Ok(Answer::Series(answer)) => Some(answer.clone()),
        _ => None,
    };
    Outcome { answer, unlimited }
}

/// Changes the answer of the first case for which `change` returns `true`, and returns the difference found.
fn difference_after(change: impl Fn(&Case, &mut Answer) -> bool) -> Option<String> {
    for case in cases()? {
        let mut outcome = outcome(&case);
        if let Ok(answer) = &mut outcome.answer
            && change(&case, answer)
        {
            return Some(compare(&case, &outcome).expect_err("differs"));
        }
    }
    panic!("no case fits");
}

/// Changes the chunks of the first series of an answer that has any.
fn chunks_difference_after(change: impl Fn(&mut Vec<AggrChunk>)) -> Option<String> {
    difference_after(|case, answer| {
        let (Call::Series(request), Answer::Series(answer)) = (&case.call, answer) else {
            return false;
        };
        match answer.series.first_mut() {
            Some((_, chunks)) if request.limit == 0 && !chunks.is_empty() => change(chunks),
            _ => return false,
        }
        true
    })
}

#[test]
fn what_thanos_answered_is_equal_to_itself() {
    let Some(cases) = cases() else { return };
    assert_eq!(cases.len(), 32);
    for case in &cases {
        let result = compare(case, &outcome(case));
        assert_eq!(result, Ok(()), "line {} {}", case.line, case.title);
    }
}

#[test]
fn another_order_of_equal_chunks_and_a_left_out_hash_are_equal() {
    let Some(cases) = cases() else { return };
    for case in &cases {
        let mut outcome = outcome(case);
        if let Ok(Answer::Series(answer)) = &mut outcome.answer {
            for (_, chunks) in &mut answer.series {
                chunks.sort_by_key(|chunk| (chunk.min_time, -chunk.max_time));
                for chunk in chunks {
                    chunk.raw.iter_mut().for_each(|raw| raw.hash = 0);
                }
            }
        }
        assert_eq!(compare(case, &outcome), Ok(()), "line {}", case.line);
    }
}

#[test]
fn a_missing_and_an_additional_series_are_named() {
    let Some(text) = difference_after(|_, answer| {
        let Answer::Series(answer) = answer else {
            return false;
        };
        let Some((labels, _)) = answer.series.last_mut() else {
            return false;
        };
        *labels = labels.with("zone", "x");
        true
    }) else {
        return;
    };
    assert!(text.contains("missing series: 1\n    {__name__=\"up\""), "{text}");
    assert!(
        text.contains("additional series: 1\n    {__name__=\"up\""),
        "{text}"
    );
}

#[test]
fn other_chunk_bytes_and_hashes_are_named() {
    let Some(text) = chunks_difference_after(|chunks| {
        let raw = chunks[0].raw.as_mut().expect("raw");
        let mut data = raw.data.to_vec();
        data[9] ^= 1;
        raw.data = data.into();
    }) else {
        return;
    };
    assert!(text.contains("missing chunks: 1\n    [1767225"), "{text}");
    assert!(text.contains("additional chunks: 1\n    [1767225"), "{text}");
    let text = chunks_difference_after(|chunks| chunks[0].raw.as_mut().expect("raw").hash ^= 1);
    assert!(text.expect("golden").contains("wrong hash: 1"));
}

#[test]
fn an_unsorted_answer_is_refused() {
    let Some(text) = difference_after(|_, answer| match answer {
        Answer::Series(answer) if answer.series.len() > 1 => {
            answer.series.swap(0, 1);
            true
        }
        _ => false,
    }) else {
        return;
    };
    assert!(text.contains(" comes after "), "{text}");
}

#[test]
fn a_limited_answer_must_be_of_true_series_and_enough_of_them() {
    let limited = |case: &Case| matches!(&case.call, Call::Series(request) if request.limit == 7);
    let few = |case: &Case, answer: &mut Answer| match answer {
        Answer::Series(answer) if limited(case) => answer.series.pop().is_some(),
        _ => false,
    };
    let Some(text) = difference_after(few) else { return };
    assert_eq!(text, "6 series, expected 7 to 63");
    let untrue = |case: &Case, answer: &mut Answer| match answer {
        Answer::Series(answer) if limited(case) => {
            answer
                .series
                .iter_mut()
                .for_each(|(labels, _)| *labels = labels.with("zone", "x"));
            true
        }
        _ => false,
    };
    let text = difference_after(untrue).expect("golden");
    assert!(text.ends_with("is not in the answer without limit"), "{text}");
}

#[test]
fn lists_hints_info_and_codes_are_compared() {
    let names = difference_after(|_, answer| match answer {
        Answer::LabelNames(response) => response.names.pop().is_some(),
        _ => false,
    });
    let Some(names) = names else { return };
    assert!(names.contains("missing names: 1"), "{names}");
    let hints = difference_after(|_, answer| match answer {
        Answer::LabelValues(response) => response.hints.take().is_some(),
        _ => false,
    });
    assert!(hints.expect("golden").starts_with("hints name the blocks None"));
    let info = difference_after(|_, answer| match answer {
        Answer::Info(response) => {
            response.component_type = "sidecar".into();
            true
        }
        _ => false,
    });
    assert!(info.expect("golden").contains("component_type: \"sidecar\""));
    for case in cases().expect("golden") {
        let outcome = Outcome {
            answer: Err(Status::data_loss("x")),
            unlimited: None,
        };
        assert!(
            compare(&case, &outcome)
                .expect_err("differs")
                .contains("got DataLoss: x")
        );
    }
}

#[test]
fn requests_are_encoded_as_they_were_sent() {
    let Some(cases) = cases() else { return };
    let Some(Call::Series(request)) = cases.first().map(|case| case.call.clone()) else {
        panic!("series first")
    };
    assert_eq!(request.matchers[0].name, "__name__");
    assert_eq!(request.encoded_len(), 30);
}

/// Answers as Thanos did.
struct Replay(Vec<Case>);

impl Replay {
    fn answer(&self, call: &Call) -> Result<Answer, Status> {
        let case = self.0.iter().find(|case| case.call == *call);
        let expected = case.map(|case| case.expected.clone());
        expected
            .unwrap_or(Err(Code::NotFound))
            .map_err(|code| Status::new(code, "as Thanos"))
    }
}

#[tonic::async_trait]
impl Store for Replay {
    async fn label_names(
        &self,
        request: Request<LabelNamesRequest>,
    ) -> Result<Response<LabelNamesResponse>, Status> {
        match self.answer(&Call::LabelNames(request.into_inner()))? {
            Answer::LabelNames(response) => Ok(Response::new(response)),
            _ => Err(Status::internal("another call")),
        }
    }

    async fn label_values(
        &self,
        request: Request<LabelValuesRequest>,
    ) -> Result<Response<LabelValuesResponse>, Status> {
        match self.answer(&Call::LabelValues(request.into_inner()))? {
            Answer::LabelValues(response) => Ok(Response::new(response)),
            _ => Err(Status::internal("another call")),
        }
    }
}

#[tonic::async_trait]
impl RawSeries for Replay {
    async fn series_raw(
        &self,
        request: Request<SeriesRequest>,
        _: Option<Instant>,
    ) -> Result<FrameReceiver, Status> {
        let Answer::Series(answer) = self.answer(&Call::Series(request.into_inner()))? else {
            return Err(Status::internal("another call"));
        };
        let mut builder = SeriesFrameBuilder::default();
        for (labels, chunks) in answer.series {
            let labels = sabre_proto::convert::labels_to_wire(&labels);
            let result = Some(series_response::Result::Series(Series { labels, chunks }));
            builder.response(&SeriesResponse { result }).expect("short");
        }
        let (sender, receiver) = frame_channel(1);
        sender.send(builder.take()).await.expect("open");
        sender.finish(Ok(()));
        Ok(receiver)
    }
}

#[tokio::test]
async fn a_store_is_asked_and_its_differences_are_listed() {
    let Some(cases) = cases() else { return };
    let service = StoreService::new(Arc::new(Replay(cases.clone())));
    let served = grpc::serve(Routes::new(service)).await.expect("serve");
    let differences = check(&cases, served.channel.clone()).await;
    // What `Replay` does not know: the limited call without its limit, and Info.
    assert_eq!(differences.len(), 2, "{differences:?}");
    assert!(
        differences[0].ends_with("the answer without the limit is not known"),
        "{}",
        differences[0]
    );
    assert!(differences[1].contains("/thanos.info.Info/Info") && differences[1].contains("Unimplemented"));
}
