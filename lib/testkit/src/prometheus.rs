//! A Prometheus inside the test process: its HTTP API as far as a sidecar asks, over series that the test wrote down.
//!
//! It keeps Prometheus' manners where they matter: remote read answers in the order of the TSDB and adds the external
//! labels to series that lack them, the label API does neither. Any answer can be replaced by another, also by half of
//! one, by silence, or by one without an end.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use sabre_testkit::prometheus::FakePrometheus;
//!
//! let prometheus = FakePrometheus::start(&[("cluster", "eu1")]).await?;
//! prometheus.floats(&[("__name__", "up")], [(1000, 1.0), (16_000, 0.0)]);
//! assert!(prometheus.url().starts_with("http://127.0.0.1:"));
//! # Ok(())
//! # }
//! ```

mod api;
mod read;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use sabre_model::Labels;
use sabre_tsdb::chunk::{Sample, Value};

use crate::s3::{Answer, Recorded, ScriptedServer};

/// A Prometheus on a free loopback port. It stops when it is dropped.
#[derive(Debug)]
pub struct FakePrometheus {
    /// `None` while it is away.
    server: Option<ScriptedServer>,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// How remote read answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// As Prometheus does since 2.13: frames of chunks, so many to a frame; one series may take several frames.
    Streamed {
        /// Chunks in a frame, at least one.
        chunks_per_frame: usize,
    },
    /// As before, and as others do: one message of samples.
    Sampled,
}

/// Makes of a remote read answer the one that is sent.
type Damage = Box<dyn FnMut(Answer) -> Answer + Send>;

/// What it has and how it answers.
struct State {
    external_labels: Labels,
    flags: BTreeMap<String, String>,
    series: BTreeMap<Labels, Vec<Sample>>,
    mode: ReadMode,
    faults: Vec<Fault>,
    damage: Option<Damage>,
    /// The last remote read and its answer: encoding samples is most of what a test of callers at once would do.
    last_read: Option<(Bytes, Answer)>,
}

/// Requests that are answered in another way.
struct Fault {
    path_part: String,
    times: usize,
    answer: Answer,
}

impl FakePrometheus {
    /// A Prometheus without series.
    ///
    /// # Panics
    /// If a label name comes twice.
    pub async fn start(external_labels: &[(&str, &str)]) -> io::Result<Self> {
        let two_hours = || "2h".to_owned();
        let flags = [
            ("storage.tsdb.min-block-duration".to_owned(), two_hours()),
            ("storage.tsdb.max-block-duration".to_owned(), two_hours()),
        ];
        let state = Arc::new(Mutex::new(State {
            external_labels: label_set(external_labels),
            flags: flags.into(),
            series: BTreeMap::new(),
            mode: ReadMode::Streamed { chunks_per_frame: 4 },
            faults: Vec::new(),
            damage: None,
            last_read: None,
        }));
        let server = serve(SocketAddr::from(([127, 0, 0, 1], 0)), &state).await?;
        Ok(Self {
            address: server.address(),
            server: Some(server),
            state,
        })
    }

    /// The address for `--prometheus.url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds samples to a series, in ascending order of time.
    pub fn samples(&self, labels: Labels, samples: impl IntoIterator<Item = Sample>) {
        let mut state = self.state.lock();
        state.last_read = None;
        state.series.entry(labels).or_default().extend(samples);
    }

    /// Adds floats to a series: times in milliseconds, ascending.
    ///
    /// # Panics
    /// If a label name comes twice.
    pub fn floats(&self, labels: &[(&str, &str)], samples: impl IntoIterator<Item = (i64, f64)>) {
        let samples = samples.into_iter().map(|(t, value)| Sample {
            t,
            value: Value::Float(value),
        });
        self.samples(label_set(labels), samples);
    }

    /// Changes how remote read answers.
    pub fn set_read_mode(&self, mode: ReadMode) {
        let mut state = self.state.lock();
        (state.last_read, state.mode) = (None, mode);
    }

    /// Changes `global.external_labels`, as a reload of the configuration does.
    ///
    /// # Panics
    /// If a label name comes twice.
    pub fn set_external_labels(&self, labels: &[(&str, &str)]) {
        let mut state = self.state.lock();
        (state.last_read, state.external_labels) = (None, label_set(labels));
    }

    /// Sets a command line flag, by its name without dashes.
    pub fn set_flag(&self, name: &str, value: &str) {
        self.state.lock().flags.insert(name.to_owned(), value.to_owned());
    }

    /// Gives `answer` to the next `times` requests whose path has `path_part` in it.
    pub fn fail(&self, path_part: &str, times: usize, answer: Answer) {
        self.state.lock().faults.push(Fault {
            path_part: path_part.to_owned(),
            times,
            answer,
        });
    }

    /// Changes the body of every remote read answer before it is sent, until [`Self::heal`].
    pub fn damage_read(&self, mut change: impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static) {
        let damage = move |answer: Answer| {
            let body = change(answer.body_bytes().to_vec());
            answer.body(body)
        };
        self.state.lock().damage = Some(Box::new(damage));
    }

    /// Ends all faults and damage.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        state.faults.clear();
        state.damage = None;
    }

    /// Goes away: connections break, and the port refuses new ones.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// Comes back on the same port, with the same series.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.stop().await;
        self.server = Some(serve(self.address, &self.state).await?);
        Ok(())
    }

    /// The requests since the start, or the last restart, whose path has `path_part` in it.
    pub fn requests(&self, path_part: &str) -> Vec<Recorded> {
        let all = self.server.iter().flat_map(ScriptedServer::requests);
        all.filter(|request| path(request).contains(path_part)).collect()
    }

    /// How many answers hang, or have no end, and have a client that still waits for more.
    pub fn waiting(&self) -> usize {
        self.server.as_ref().map_or(0, ScriptedServer::waiting)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("external_labels", &self.external_labels)
            .field("series", &self.series.len())
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl State {
    fn answer(&mut self, request: &Recorded) -> Answer {
        let is_due = |fault: &&mut Fault| fault.times > 0 && path(request).contains(&fault.path_part);
        if let Some(fault) = self.faults.iter_mut().find(is_due) {
            fault.times -= 1;
            return fault.answer.clone();
        }
        if path(request) != "/api/v1/read" {
            return api::answer(self, request);
        }
        let known = self
            .last_read
            .as_ref()
            .filter(|(asked, _)| *asked == request.body);
        let answer = match known {
            Some((_, answer)) => answer.clone(),
            None => read::answer(self, &request.body),
        };
        self.last_read = Some((request.body.clone(), answer.clone()));
        match &mut self.damage {
            Some(damage) => damage(answer),
            None => answer,
        }
    }
}

async fn serve(address: SocketAddr, state: &Arc<Mutex<State>>) -> io::Result<ScriptedServer> {
    let state = Arc::clone(state);
    ScriptedServer::start_at(address, move |request| state.lock().answer(request)).await
}

/// The path of a request, without its query.
fn path(request: &Recorded) -> &str {
    request.target.split('?').next().unwrap_or_default()
}

fn label_set(labels: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(labels.iter().copied()).unwrap_or_else(|error| panic!("{error}"))
}
