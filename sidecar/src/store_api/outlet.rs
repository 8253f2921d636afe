//! Where pieces of an answer go while a turn at Prometheus is held.
//!
//! A caller that takes nothing would keep its turn for as long as it likes, and a few of them would keep everybody from
//! reading. So whoever takes nothing for a while loses the turn if others wait for one.

use bytes::Bytes;
use sabre_proto::raw_body::{FrameSender, STALL_PATIENCE, Stalled};
use tonic::Status;

use crate::prometheus::Turn;

/// The way to one caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlet<'a> {
    pub(crate) sender: &'a FrameSender,
    /// What others may wait for.
    pub(crate) turn: Option<&'a Turn>,
}

impl Outlet<'_> {
    /// Sends a piece; false if the caller has gone. Fails if it takes nothing while others wait.
    pub(crate) async fn send(&self, piece: Bytes) -> Result<bool, Status> {
        let others_wait = || self.turn.is_some_and(Turn::is_wanted);
        let sent = self.sender.send_unless_stalled(piece, others_wait).await;
        sent.map_err(|Stalled| {
            Status::deadline_exceeded(format!(
                "the caller took nothing of the answer for {} s while other reads wait for their turn at Prometheus \
                 (--sabre.remote-read-concurrency); ask again, and read faster",
                STALL_PATIENCE.as_secs()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sabre_proto::raw_body::{FrameReceiver, frame_channel};
    use sabre_runtime::metrics::Gauge;
    use tokio::{task::JoinSet, time::Instant};
    use tonic::Code;

    use super::*;
    use crate::prometheus::ReadQueue;

    const TURNS: usize = 8;

    /// Sends without end, as far as the caller takes it.
    async fn answer(queue: ReadQueue, sender: FrameSender) -> Status {
        let turn = queue.turn(1).await;
        let outlet = Outlet {
            sender: &sender,
            turn: Some(&turn),
        };
        loop {
            match outlet.send(Bytes::from_static(b"piece")).await {
                Ok(true) => {}
                Ok(false) => return Status::cancelled("gone"),
                Err(status) => return status,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn eight_readers_that_take_nothing_do_not_keep_the_ninth_from_reading() {
        let queue = ReadQueue::new(TURNS, Gauge::default(), Gauge::default());
        let mut answers = JoinSet::new();
        let mut stalled: Vec<FrameReceiver> = Vec::new();
        for _ in 0..TURNS {
            let (sender, receiver) = frame_channel(2);
            stalled.push(receiver);
            answers.spawn(answer(queue.clone(), sender));
        }
        // For an hour nobody else wants to read, and they are left in peace.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(answers.try_join_next().is_none());
        let waited = Instant::now();
        let ninth = queue.turn(1).await;
        assert!(waited.elapsed() <= STALL_PATIENCE, "{:?}", waited.elapsed());
        let status = answers.join_next().await.unwrap().unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(
            status.message().contains("--sabre.remote-read-concurrency"),
            "{status}"
        );
        drop((ninth, stalled));
        while answers.join_next().await.is_some() {}
    }
}
