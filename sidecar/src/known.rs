//! What the sidecar knows of its Prometheus, shared by the shipper, StoreAPI and the probes.

use std::{collections::BTreeSet, sync::Arc};

use sabre_model::Labels;
use tokio::sync::watch;

use crate::shipper::Retention;

/// What the last successful contact told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// `global.external_labels`; never empty.
    pub external_labels: Labels,
    /// Oldest timestamp in the TSDB in milliseconds; `None` when it is empty.
    pub lowest_ms: Option<i64>,
    /// How long Prometheus keeps blocks, where blocks are shipped and it tells.
    pub retention: Retention,
    /// Names of all labels in the TSDB: they tell whether a series may have a label that is replaced or removed,
    /// after which the order of an answer is another.
    pub label_names: Arc<BTreeSet<String>>,
}

/// Whether Prometheus can be reached, and what it said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Contact {
    /// Never reached yet.
    #[default]
    None,
    /// The last heartbeat succeeded.
    Up(Arc<Known>),
    /// Reached once, the last heartbeat failed.
    Lost(Arc<Known>),
    /// Reached, and its configuration has no external labels any more. What is cut now may belong to who knows whom, so
    /// nothing is shipped until it has labels again; calls are answered under the last ones.
    Unlabelled(Arc<Known>),
}

/// The readers' side of the contact.
#[derive(Clone, Debug)]
pub struct ContactReader(watch::Receiver<Contact>);

/// The heartbeat's side.
#[derive(Debug)]
pub struct ContactWriter(watch::Sender<Contact>);

/// A contact that has not happened yet.
pub fn contact() -> (ContactWriter, ContactReader) {
    let (writer, reader) = watch::channel(Contact::None);
    (ContactWriter(writer), ContactReader(reader))
}

impl ContactReader {
    /// What is known while Prometheus answers.
    pub fn up(&self) -> Option<Arc<Known>> {
        match &*self.0.borrow() {
            Contact::Up(known) => Some(Arc::clone(known)),
            Contact::None | Contact::Lost(_) | Contact::Unlabelled(_) => None,
        }
    }

    /// What is known, even if Prometheus does not answer right now.
    pub fn last(&self) -> Option<Arc<Known>> {
        match &*self.0.borrow() {
            Contact::Up(known) | Contact::Lost(known) | Contact::Unlabelled(known) => Some(Arc::clone(known)),
            Contact::None => None,
        }
    }

    /// As [`ContactReader::last`], but `None` once Prometheus has no external labels any more: what ships asks this.
    pub fn last_labelled(&self) -> Option<Arc<Known>> {
        match &*self.0.borrow() {
            Contact::Up(known) | Contact::Lost(known) => Some(Arc::clone(known)),
            Contact::None | Contact::Unlabelled(_) => None,
        }
    }

    /// Waits for the first contact; `None` when the heartbeat ended without one.
    pub async fn first(&mut self) -> Option<Arc<Known>> {
        self.0.wait_for(|contact| *contact != Contact::None).await.ok()?;
        self.last()
    }
}

impl ContactWriter {
    /// Says that Prometheus answered.
    pub fn up(&self, known: Known) {
        self.0.send_replace(Contact::Up(Arc::new(known)));
    }

    /// Says that Prometheus answered, and has no external labels any more.
    pub fn unlabelled(&self) {
        self.0.send_modify(|contact| {
            if let Contact::Up(known) | Contact::Lost(known) = contact {
                *contact = Contact::Unlabelled(Arc::clone(known));
            }
        });
    }

    /// Says that Prometheus did not answer.
    pub fn lost(&self) {
        self.0.send_modify(|contact| {
            if let Contact::Up(known) = contact {
                *contact = Contact::Lost(Arc::clone(known));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_vanished_are_not_gone_on_with() {
        let (writer, reader) = contact();
        writer.up(Known::default());
        writer.lost();
        assert!(reader.up().is_none() && reader.last_labelled().is_some());
        writer.unlabelled();
        assert!(reader.last_labelled().is_none() && reader.last().is_some());
        writer.lost();
        assert!(
            reader.last_labelled().is_none(),
            "silence does not bring them back"
        );
        writer.up(Known::default());
        assert!(reader.last_labelled().is_some());
    }
}
