//! The way of an answer to its caller: what is held is charged, and goes out piece by piece.

use bytes::Bytes;
use sabre_runtime::{
    budget::{Budget, Reservation},
    cpu::run_cpu,
};
use tonic::Status;

use super::{answer::AnswerWriter, assemble::ReadSeries, outlet::Outlet};

/// The least that is taken at once beyond the window.
const STEP_BYTES: u64 = 1 << 20;

/// One answer under way.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) writer: AnswerWriter,
    pub(crate) outlet: Outlet<'a>,
    pub(crate) budget: Budget,
    /// Of all that is held, but for what is charged in `pages`.
    pub(crate) charge: Reservation,
    /// Charges of pages of Prometheus, until what was made of them is sent.
    pub(crate) pages: Vec<Reservation>,
}

/// Series in order, all of which are held.
#[derive(Debug)]
pub(crate) struct Rest {
    series: Vec<ReadSeries>,
    held_bytes: usize,
}

impl Rest {
    /// What these series take, beside what is charged for them elsewhere.
    pub(crate) fn of(series: Vec<ReadSeries>, charged_elsewhere_bytes: u64) -> Rest {
        let all: usize = series.iter().map(ReadSeries::held_bytes).sum();
        let elsewhere = usize::try_from(charged_elsewhere_bytes).unwrap_or(usize::MAX);
        Rest {
            held_bytes: all.saturating_sub(elsewhere),
            series,
        }
    }
}

impl Delivery<'_> {
    /// Charges what is held beside what is written; beyond the window that must be free.
    pub(crate) fn keep_within(&mut self, held_bytes: usize) -> Result<(), Status> {
        keep_within(&mut self.charge, held_bytes + self.writer.held_bytes())
    }

    /// Computes where that holds nobody up. If the caller goes meanwhile, all stays charged until it is over.
    pub(crate) async fn aside<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let charge = std::mem::replace(&mut self.charge, self.budget.nothing());
        let charges = (charge, std::mem::take(&mut self.pages));
        let (outcome, charges) = run_cpu(move || (work(), charges))
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        (self.charge, self.pages) = charges;
        Ok(outcome)
    }

    /// Sends the piece that is worth it, if there is one; false if the caller has gone.
    pub(crate) async fn send_ready(&mut self) -> Result<bool, Status> {
        match self.writer.ready()? {
            Some(piece) => self.outlet.send(piece).await,
            None => Ok(true),
        }
    }

    /// Writes series that are held, and sends them as they fill a piece; false if the caller has gone.
    pub(crate) async fn send_all(&mut self, rest: Rest) -> Result<bool, Status> {
        let Rest { series, held_bytes } = rest;
        for next in series {
            // What is written is there twice, and once more while it is on its way: nothing is given back before the end.
            self.keep_within(held_bytes + next.held_bytes())?;
            self.writer.push(next);
            if !self.send_ready().await? {
                return Ok(false);
            }
            if self.writer.is_full() {
                break;
            }
            // Series of other shards fill no piece.
            tokio::task::coop::consume_budget().await;
        }
        Ok(true)
    }

    /// The last piece, if there is one. All that was charged stays so until the network has taken it, and with it what
    /// went before.
    pub(crate) fn last(&mut self) -> Result<Option<Bytes>, Status> {
        let last = self.writer.finish()?;
        if last.is_empty() {
            return Ok(None);
        }
        let charge = std::mem::replace(&mut self.charge, self.budget.nothing());
        let pages = self.pages.drain(..);
        Ok(Some(
            pages.fold(charge.attach(last), |piece, page| page.attach(piece)),
        ))
    }
}

/// Grows the reservation to what is held.
fn keep_within(reservation: &mut Reservation, held_bytes: usize) -> Result<(), Status> {
    let held_bytes = held_bytes as u64;
    if held_bytes <= reservation.bytes() {
        return Ok(());
    }
    let more = (held_bytes - reservation.bytes()).max(STEP_BYTES);
    if reservation.try_grow(more) {
        return Ok(());
    }
    Err(Status::resource_exhausted(format!(
        "Series holds {held_bytes} bytes and needs more than the memory budget has free; ask for less at once, or raise --sabre.memory-budget"
    )))
}
