//! Uploads by parts, when some of their requests go wrong.

use std::{io::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use sabre_objstore::{Bucket, UploadSource};
use sabre_testkit::s3::{Answer, Recorded, ScriptedServer};

use crate::wire::bucket_with;

const PART: usize = 5 << 20;

/// The requests of an upload, by what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin,
    Part,
    Complete,
    Abort,
    Head,
    Other,
}

fn step(request: &Recorded) -> Step {
    match request.method.as_str() {
        "POST" if request.target.contains("uploads") => Step::Begin,
        "PUT" if request.target.contains("partNumber=") => Step::Part,
        "POST" if request.target.contains("uploadId=U1") => Step::Complete,
        "DELETE" if request.target.contains("uploadId=U1") => Step::Abort,
        "HEAD" => Step::Head,
        _ => Step::Other,
    }
}

fn xml(body: &str) -> Answer {
    Answer::new(200)
        .header("content-type", "application/xml")
        .body(format!("<?xml version=\"1.0\"?>{body}"))
}

/// A server that does it all, but for the answers that `faults` gives instead, each once.
async fn server(faults: Vec<(Step, Answer)>) -> ScriptedServer {
    let faults = Mutex::new(faults);
    ScriptedServer::start_with(move |request| {
        let step = step(request);
        let mut faults = faults.lock();
        if let Some(found) = faults.iter().position(|(at, _)| *at == step) {
            return faults.remove(found).1;
        }
        match step {
            Step::Begin => {
                xml("<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>")
            }
            Step::Part => Answer::new(200).header("etag", "\"e\""),
            Step::Complete => {
                xml("<CompleteMultipartUploadResult><ETag>\"e-2\"</ETag></CompleteMultipartUploadResult>")
            }
            Step::Abort => Answer::new(204),
            Step::Head => Answer::new(200).body(vec![0; 2 * PART + 1]),
            Step::Other => Answer::new(200),
        }
    })
    .await
    .unwrap()
}

fn steps(server: &ScriptedServer) -> Vec<Step> {
    server.requests().iter().map(step).collect()
}

fn count(server: &ScriptedServer, wanted: Step) -> usize {
    steps(server).into_iter().filter(|step| *step == wanted).count()
}

fn file(len: usize) -> (tempfile::NamedTempFile, UploadSource) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![7; len]).unwrap();
    let source = UploadSource::File(file.path().to_owned());
    (file, source)
}

fn failure() -> Answer {
    Answer::s3_error(500, "InternalError", "sorry")
}

#[tokio::test]
async fn a_part_that_fails_is_sent_again_alone() {
    let server = server(vec![(Step::Part, failure()), (Step::Part, Answer::hang_up())]).await;
    let (_file, source) = file(2 * PART + 1);
    bucket_with(&server, "").upload("k", source).await.unwrap();
    assert_eq!(count(&server, Step::Begin), 1);
    assert_eq!(count(&server, Step::Part), 5);
    assert_eq!(count(&server, Step::Abort), 0);
    let requests = server.requests();
    let parts: Vec<&Recorded> = requests
        .iter()
        .filter(|request| step(request) == Step::Part)
        .collect();
    assert!(parts.iter().all(|part| part.header("content-md5").is_some()));
    for number in 1..=3 {
        let len = if number == 3 { 1 } else { PART };
        let number = format!("partNumber={number}&");
        let mut sent = parts.iter().filter(|part| part.target.contains(&number));
        assert!(
            sent.clone().count() > 0 && sent.all(|part| part.body.len() == len),
            "{number}"
        );
    }
    let complete = requests
        .iter()
        .find(|request| step(request) == Step::Complete)
        .unwrap();
    let text = String::from_utf8_lossy(&complete.body).into_owned();
    let order = ["<PartNumber>1<", "<PartNumber>2<", "<PartNumber>3<"].map(|part| text.find(part).unwrap());
    assert!(order.is_sorted(), "{text}");
}

#[tokio::test]
async fn an_upload_that_fails_is_aborted() {
    for faults in [
        vec![(Step::Part, Answer::s3_error(403, "AccessDenied", "no"))],
        vec![(Step::Part, failure()); 9],
        vec![(Step::Complete, Answer::s3_error(400, "InvalidPart", "no"))],
        vec![(Step::Complete, failure()); 3],
    ] {
        let server = server(faults).await;
        let (_file, source) = file(2 * PART + 1);
        let error = bucket_with(&server, "").upload("k", source).await.unwrap_err();
        assert_eq!(count(&server, Step::Abort), 1, "{error}");
        assert_eq!(steps(&server).last(), Some(&Step::Abort), "{error}");
    }
    let server = server(vec![(Step::Begin, Answer::s3_error(403, "AccessDenied", "no"))]).await;
    let (_file, source) = file(2 * PART + 1);
    assert!(
        bucket_with(&server, "")
            .upload("k", source)
            .await
            .unwrap_err()
            .is_access_denied()
    );
    assert_eq!(steps(&server), [Step::Begin]);
}

#[tokio::test]
async fn what_cannot_be_aborted_is_said() {
    let denied = Answer::s3_error(403, "AccessDenied", "no");
    let server = server(vec![(Step::Part, denied.clone()), (Step::Abort, denied)]).await;
    let (_file, source) = file(2 * PART + 1);
    let error = bucket_with(&server, "").upload("k", source).await.unwrap_err();
    assert!(
        error.to_string().contains("parts that were sent remain"),
        "{error}"
    );
}

#[tokio::test]
async fn an_error_in_the_body_of_a_success_is_an_error() {
    let error =
        "<Error><Code>InternalError</Code><Message>We encountered an internal error</Message></Error>";
    let server = server(vec![(Step::Complete, xml(error))]).await;
    let (_file, source) = file(2 * PART + 1);
    bucket_with(&server, "").upload("k", source).await.unwrap();
    assert_eq!(count(&server, Step::Complete), 2);
}

#[tokio::test]
async fn a_lost_answer_to_the_completion_is_found_out() {
    let gone = Answer::s3_error(404, "NoSuchUpload", "it is over");
    let faults = vec![
        (Step::Complete, Answer::hang_up()),
        (Step::Complete, gone.clone()),
    ];
    let there = server(faults).await;
    let (_file, source) = file(2 * PART + 1);
    bucket_with(&there, "").upload("k", source).await.unwrap();
    assert_eq!(count(&there, Step::Head), 1);
    let faults = vec![
        (Step::Complete, Answer::hang_up()),
        (Step::Complete, gone),
        (Step::Head, Answer::new(404)),
    ];
    let missing = server(faults).await;
    let (_file, source) = file(2 * PART + 1);
    let error = bucket_with(&missing, "").upload("k", source).await.unwrap_err();
    assert!(error.to_string().contains("NoSuchUpload"), "{error}");
}

#[tokio::test]
async fn small_uploads_are_one_request() {
    let server = server(vec![]).await;
    let bucket = bucket_with(&server, "");
    let (_file, source) = file(PART - 1);
    bucket.upload("k", source).await.unwrap();
    bucket
        .upload("k", UploadSource::bytes(Bytes::from(vec![1; PART])))
        .await
        .unwrap();
    bucket
        .upload("k", UploadSource::stream(stream::empty()))
        .await
        .unwrap();
    let (_file, source) = file(2 * PART + 1);
    bucket_with(&server, "  disable_multipart: true\n")
        .upload("k", source)
        .await
        .unwrap();
    assert_eq!(steps(&server), [Step::Other; 4]);
    let lengths: Vec<usize> = server
        .requests()
        .iter()
        .map(|request| request.body.len())
        .collect();
    assert_eq!(lengths, [PART - 1, PART, 0, 2 * PART + 1]);
}

#[tokio::test]
async fn a_stream_goes_in_one_request_where_parts_are_not_allowed() {
    let server = server(vec![]).await;
    let pieces = [vec![1; PART], vec![2; PART + 1]].map(|piece| Ok(Bytes::from(piece)));
    bucket_with(&server, "  disable_multipart: true\n")
        .upload("k", UploadSource::stream(stream::iter(pieces)))
        .await
        .unwrap();
    assert_eq!(steps(&server), [Step::Other]);
    let requests = server.requests();
    assert_eq!(requests.first().unwrap().body.len(), 2 * PART + 1);
}

/// A read-only root has no folder for temporary files.
#[test]
fn streams_need_no_temporary_folder() {
    let test = "multipart::a_stream_goes_in_one_request_where_parts_are_not_allowed";
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env("TMPDIR", "/sabre/no/such/folder")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && printed.contains("1 passed"), "{printed}");
}

#[tokio::test]
async fn a_dropped_upload_is_aborted_in_the_background_and_can_be_waited_for() {
    // The first try is answered with an error, so it takes a while.
    let server = server(vec![(Step::Abort, failure())]).await;
    let bucket = bucket_with(&server, "");
    let endless = stream::iter([Ok(Bytes::from(vec![1; 2 * PART]))]).chain(stream::pending());
    let upload = bucket.upload("k", UploadSource::stream(endless));
    let seen = async {
        while count(&server, Step::Part) < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! { _ = upload => unreachable!(), () = seen => {} }
    assert!(sabre_objstore::aborts_done(Duration::from_secs(60)).await);
    assert_eq!(count(&server, Step::Abort), 2);
    assert_eq!(count(&server, Step::Complete), 0);
}

#[tokio::test]
async fn a_stream_is_taken_no_faster_than_it_is_sent() {
    // Parts are answered with silence, so nothing may be taken but what fits into the parts in flight.
    let server = server(vec![(Step::Part, Answer::silence()); 99]).await;
    let taken = Arc::new(Mutex::new(0_usize));
    let counter = Arc::clone(&taken);
    let endless = stream::repeat_with(move || {
        *counter.lock() += 1 << 20;
        Ok(Bytes::from(vec![1; 1 << 20]))
    });
    let bucket = bucket_with(&server, "");
    let upload = bucket.upload("k", UploadSource::stream(endless));
    let seen = async {
        while count(&server, Step::Part) < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tokio::select! { _ = upload => unreachable!(), () = seen => {} }
    assert!(*taken.lock() <= 4 * PART, "{} bytes were taken", *taken.lock());
}
