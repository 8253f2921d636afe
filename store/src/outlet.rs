//! Where the frames of a `Series` answer go while it has its place among those that run.
//!
//! A caller that takes nothing would keep its place, and its memory, for as long as it likes, and a few of them would keep
//! everybody from asking. So whoever takes nothing for a while loses the place if others wait for one.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use sabre_proto::{
    Held,
    raw_body::{FrameSender, Stalled},
};
use sabre_runtime::{
    budget::{Budget, Reservation},
    metrics::Gauge,
};

use crate::{error::RequestError, small_lane::SmallLane};

/// Frames that may be on their way at the end of an answer: in the channel, at the connection, and in its buffer.
const LAST_FRAMES: usize = 3;

/// The way to one caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlet<'a> {
    pub(crate) sender: &'a FrameSender,
    /// How many calls wait for a place.
    pub(crate) waiting: &'a Gauge,
    /// The memory that others may wait for.
    pub(crate) budget: &'a Budget,
    pub(crate) small_lane: &'a SmallLane,
}

/// The memory of an answer. Frames that are still on their way when the answer is done keep what they take.
#[derive(Debug)]
pub(crate) struct FrameMemory {
    memory: Arc<Mutex<Reservation>>,
    /// The same, for frames.
    held: Held,
    /// Lengths of the frames that were sent last.
    last: VecDeque<u64>,
}

impl Outlet<'_> {
    /// Sends frames; false if the caller has gone.
    ///
    /// # Errors
    /// The caller takes nothing while others wait.
    pub(crate) async fn send(&self, frames: Bytes) -> Result<bool, RequestError> {
        let others_wait =
            || self.waiting.get() > 0 || self.budget.usage().waiting > 0 || self.small_lane.is_wanted();
        let sent = self.sender.send_unless_stalled(frames, others_wait).await;
        sent.map_err(|Stalled| RequestError::Stalled)
    }
}

impl FrameMemory {
    pub(crate) fn new(memory: Reservation) -> Self {
        let memory = Arc::new(Mutex::new(memory));
        Self {
            held: Held::new(Arc::clone(&memory)),
            memory,
            last: VecDeque::with_capacity(LAST_FRAMES + 1),
        }
    }

    /// The frame, to be sent next.
    pub(crate) fn hold(&mut self, frame: Bytes) -> Bytes {
        self.last.push_back(frame.len() as u64);
        if self.last.len() > LAST_FRAMES {
            self.last.pop_front();
        }
        self.held.attach(frame)
    }
}

impl Drop for FrameMemory {
    fn drop(&mut self) {
        self.memory.lock().shrink_to(self.last.iter().sum());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sabre_proto::raw_body::{STALL_PATIENCE, frame_channel};
    use sabre_runtime::metrics::Registry;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_goes_when_others_wait() {
        const FRAME: &[u8] = b"frame";
        let (sender, receiver) = frame_channel(1);
        let (waiting, budget) = (Registry::new().gauge("waiting", "."), Budget::new(10, "--flag"));
        let small_lane = SmallLane::of(&budget);
        let outlet = Outlet {
            sender: &sender,
            waiting: &waiting,
            budget: &budget,
            small_lane: &small_lane,
        };
        assert!(outlet.send(Bytes::from_static(FRAME)).await.unwrap());
        // Nobody waits, and it is left in peace.
        let hour = Duration::from_secs(3600);
        let alone = tokio::time::timeout(hour, outlet.send(Bytes::from_static(FRAME)));
        assert!(alone.await.is_err());
        waiting.inc();
        let before = tokio::time::timeout(STALL_PATIENCE / 2, outlet.send(Bytes::from_static(FRAME)));
        assert!(before.await.is_err(), "it has some time");
        let error = outlet.send(Bytes::from_static(FRAME)).await.unwrap_err();
        assert!(matches!(error, RequestError::Stalled), "{error}");
        waiting.dec();
        // The same for memory.
        let all = budget.try_reserve(10).unwrap();
        let other = budget.clone();
        let waits = tokio::spawn(async move { other.reserve(10).await.map(drop) });
        let error = outlet.send(Bytes::from_static(FRAME)).await.unwrap_err();
        assert!(error.to_string().contains("--sabre.memory-budget"), "{error}");
        drop(all);
        waits.await.unwrap().unwrap();
        drop(receiver);
        assert!(!outlet.send(Bytes::from_static(FRAME)).await.unwrap());
    }

    #[test]
    fn the_last_frames_keep_their_memory_until_they_are_gone() {
        let budget = Budget::new(1000, "--flag");
        let mut memory = FrameMemory::new(budget.try_reserve(1000).unwrap());
        let frames: Vec<Bytes> = (0..5)
            .map(|n| memory.hold(Bytes::from(vec![0; 10 + n])))
            .collect();
        assert_eq!(budget.usage().used_bytes, 1000);
        drop(memory);
        assert_eq!(budget.usage().used_bytes, 12 + 13 + 14);
        drop(frames);
        assert_eq!(budget.usage().used_bytes, 0);
    }
}
