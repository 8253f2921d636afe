use super::*;
use std::task::Waker;
use std::time::Duration;

async fn next(body: &mut FrameBody) -> Option<Frame<Bytes>> {
    std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context))
        .await
        .map(|frame| frame.unwrap_or_else(|never| match never {}))
}

async fn trailers_of(body: &mut FrameBody) -> HeaderMap {
    let trailers = next(body)
        .await
        .expect("a frame")
        .into_trailers()
        .expect("trailers");
    assert!(body.is_end_stream());
    assert!(next(body).await.is_none());
    trailers
}

#[tokio::test]
async fn frames_are_sent_as_they_are_and_the_status_ends_them() {
    let (sender, receiver) = frame_channel(4);
    let mut body = FrameBody::new(receiver, None);
    sender.send(Bytes::from_static(b"one")).await.expect("open");
    sender.send(Bytes::from_static(b"two")).await.expect("open");
    sender.finish(Ok(()));
    assert!(!body.is_end_stream());
    assert_eq!(
        next(&mut body).await.expect("a frame").into_data().expect("data"),
        "one"
    );
    assert_eq!(
        next(&mut body).await.expect("a frame").into_data().expect("data"),
        "two"
    );
    let trailers = trailers_of(&mut body).await;
    assert_eq!(trailers["grpc-status"], "0");
    assert!(!trailers.contains_key("grpc-message"));
}

#[tokio::test]
async fn an_error_becomes_trailers_behind_what_was_sent() {
    let (sender, receiver) = frame_channel(4);
    let mut body = FrameBody::new(receiver, None);
    sender.send(Bytes::from_static(b"one")).await.expect("open");
    sender.finish(Err(Status::aborted("block é: 100 %\n")));
    assert!(next(&mut body).await.expect("a frame").is_data());
    let trailers = trailers_of(&mut body).await;
    assert_eq!(trailers["grpc-status"], "10");
    assert_eq!(trailers["grpc-message"], "block%20%C3%A9:%20100%20%25%0A");
}

#[tokio::test]
async fn a_producer_that_disappears_is_no_success() {
    let (sender, receiver) = frame_channel(4);
    let mut body = FrameBody::new(receiver, None);
    sender.send(Bytes::from_static(b"one")).await.expect("open");
    drop(sender);
    assert!(next(&mut body).await.expect("a frame").is_data());
    assert_eq!(trailers_of(&mut body).await["grpc-status"], "13");
}

#[tokio::test]
async fn a_dropped_body_cancels_the_producer() {
    let (sender, receiver) = frame_channel(1);
    let body = FrameBody::new(receiver, None);
    assert!(!sender.is_cancelled());
    drop(body);
    sender.cancelled().await;
    assert!(sender.is_cancelled());
    assert_eq!(sender.send(Bytes::from_static(b"x")).await, Err(Cancelled));
    sender.finish(Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_passed_deadline_ends_the_answer_and_cancels_the_producer() {
    let (sender, receiver) = frame_channel(4);
    let mut body = FrameBody::new(receiver, Some(Instant::now() + Duration::from_secs(5)));
    sender.send(Bytes::from_static(b"one")).await.expect("open");
    assert!(next(&mut body).await.expect("a frame").is_data());
    let started = Instant::now();
    assert_eq!(trailers_of(&mut body).await["grpc-status"], "4");
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert!(sender.is_cancelled());
}

#[tokio::test]
async fn a_full_channel_makes_the_producer_wait() {
    let (sender, mut receiver) = frame_channel(1);
    sender.send(Bytes::from_static(b"one")).await.expect("open");
    let mut second = Box::pin(sender.send(Bytes::from_static(b"two")));
    let mut context = Context::from_waker(Waker::noop());
    assert!(second.as_mut().poll(&mut context).is_pending());
    assert_eq!(receiver.recv().await.expect("a frame").expect("ok"), "one");
    second.await.expect("room");
    sender.finish(Err(Status::unavailable("gone")));
    assert_eq!(receiver.recv().await.expect("a frame").expect("ok"), "two");
    assert_eq!(
        receiver
            .recv()
            .await
            .expect("a status")
            .expect_err("error")
            .code(),
        Code::Unavailable
    );
    assert!(receiver.recv().await.is_none());
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let status = with_short_message(Status::internal(format!("x{}", "é".repeat(5000))));
    assert!(status.message().ends_with("é (cut off)"));
    assert!(status.message().len() <= MAX_STATUS_MESSAGE_BYTES + 10);
    assert_eq!(status.code(), Code::Internal);
}
