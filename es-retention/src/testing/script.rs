//! A cluster that says what it was told to say.

use bytes::Bytes;
use parking_lot::Mutex;

use crate::cluster::transport::{Request, Response, Transport, TransportError};

/// Answers by method and path; one that is not there is a failed test.
#[derive(Debug, Default)]
pub(crate) struct Script {
    answers: Vec<(&'static str, u16, String)>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    /// Adds an answer to all requests that begin with `request`, such as `GET /_snapshot/repo`; later ones win.
    #[must_use]
    pub(crate) fn answer(mut self, request: &'static str, status: u16, body: impl Into<String>) -> Self {
        self.answers.push((request, status, body.into()));
        self
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

#[async_trait::async_trait]
impl Transport for Script {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let shown = request.to_string();
        self.asked.lock().push(shown.clone());
        let found = self
            .answers
            .iter()
            .rev()
            .find(|(begin, ..)| shown.starts_with(begin));
        let Some((_, status, body)) = found else {
            panic!("nothing is scripted for {shown}");
        };
        Ok(Response {
            status: *status,
            body: Bytes::from(body.clone()),
            retry_after: None,
        })
    }
}
