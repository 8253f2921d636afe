//! `LabelNames` and `LabelValues`.

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use sabre_model::{BlockId, MatchKind, Matcher};
use sabre_runtime::{
    budget::{Budget, Reservation},
    trace::carried,
};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    admission::{self, Needs, Opened},
    block::ServedBlock,
    context::CallContext,
    cpu,
    error::RequestError,
    key,
    request::LabelQuery,
    series::ended_early,
    series_decode::{SeriesDecoder, SeriesFilter},
    series_stream::{BlockSeries, STREAM_MIN_BYTES},
    view::Selected,
};

/// How many blocks are looked at at once.
const PARALLEL_BLOCKS: usize = 4;

/// What a name or value takes in memory besides its text.
const ENTRY_BYTES: u64 = 64;

/// Memory is reserved in steps of this.
const STEP_BYTES: u64 = 64 << 10;

/// A call that is about to be answered.
#[derive(Debug)]
pub(crate) struct LabelCall {
    /// The blocks that are asked.
    pub(crate) selected: Vec<Selected>,
    pub(crate) query: LabelQuery,
    pub(crate) context: CallContext,
}

/// Names or values, sorted, and the blocks that were asked.
#[derive(Debug, Default)]
pub(crate) struct LabelAnswer {
    pub(crate) texts: Vec<String>,
    pub(crate) blocks: Vec<BlockId>,
    /// What could not be had.
    pub(crate) warnings: Vec<String>,
    /// What the texts take, until they have been sent.
    pub(crate) memory: Option<Reservation>,
}

/// What is asked of every block.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Names of labels.
    Names,
    /// Values of this label.
    Values(Arc<str>),
}

/// Texts of an answer and the memory they take.
#[derive(Debug)]
struct Texts {
    all: BTreeSet<String>,
    bytes: u64,
    budget: Budget,
    paid: Option<Reservation>,
}

/// The names of the labels of the matching series, or the values of one of them.
pub(crate) async fn answer(call: LabelCall, ask: Ask) -> Result<LabelAnswer, RequestError> {
    let mut call = call;
    let selected = std::mem::take(&mut call.selected);
    let blocks = selected.iter().map(|selected| selected.block.id()).collect();
    let (by_header, by_series): (Vec<_>, Vec<_>) = selected
        .into_iter()
        .partition(|selected| selected.matchers.is_empty());
    let by_series = by_series
        .into_iter()
        .map(|selected| with_label_present(selected, &ask))
        .collect();
    // All that has to be waited for comes before anything is held.
    let fixed_bytes = PARALLEL_BLOCKS as u64 * STREAM_MIN_BYTES;
    let needs = Needs {
        fixed_bytes,
        slim_bytes: fixed_bytes,
        stream_bytes: 0,
    };
    let (opened, _held) = admission::open(by_series, needs, 0, &call.context).await?;
    let call = Arc::new(call);
    let from_headers = by_header.into_iter().map(|selected| {
        let (call, ask) = (Arc::clone(&call), ask.clone());
        async move { cpu::run_blocking(move || from_header(&call, &ask, &selected.block)).await? }.boxed()
    });
    let from_series = opened
        .into_iter()
        .map(|opened| from_series(Arc::clone(&call), ask.clone(), opened).boxed());
    let all: Vec<_> = from_headers.chain(from_series).collect();
    let mut answers = stream::iter(all).buffer_unordered(PARALLEL_BLOCKS);
    let mut texts = Texts::new(call.context.budget.clone());
    while let Some(mut of_block) = answers.try_next().await? {
        for text in std::mem::take(&mut of_block.all) {
            texts.add(text)?;
        }
    }
    let Texts {
        all, paid: memory, ..
    } = texts;
    let mut texts: Vec<String> = all.into_iter().collect();
    if call.query.limit > 0 {
        texts.truncate(call.query.limit);
    }
    Ok(LabelAnswer {
        texts,
        blocks,
        warnings: Vec::new(),
        memory,
    })
}

/// Without matchers the index-header knows the answer.
fn from_header(call: &LabelCall, ask: &Ask, block: &ServedBlock) -> Result<Texts, RequestError> {
    let mut texts = Texts::new(call.context.budget.clone());
    match ask {
        Ask::Names => {
            for name in block.header.label_names() {
                texts.add(name.to_owned())?;
            }
            for (name, _) in &block.external.without(&call.context.removed_labels) {
                texts.add(name.to_owned())?;
            }
        }
        Ask::Values(label) => {
            // It lies over whatever the series say.
            if let Some(value) = block.external.get(label).filter(|value| !value.is_empty()) {
                texts.add(value.to_owned())?;
                return Ok(texts);
            }
            let mut outcome = Ok(());
            let visited = block.header.for_each_value(label, "", |value, _| {
                outcome = texts.add(value.to_owned());
                if outcome.is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            visited.map_err(RequestError::Block)?;
            outcome?;
        }
    }
    Ok(texts)
}

/// Leaves out series without the label asked for, unless that cannot narrow the search much.
fn with_label_present(selected: Selected, ask: &Ask) -> Selected {
    let Ask::Values(label) = ask else { return selected };
    let names_metric = |matcher: &Matcher| matcher.name() == "__name__" && matcher.kind() == MatchKind::Eq;
    if selected.block.external.get(label).is_some() || selected.matchers.iter().any(names_metric) {
        return selected;
    }
    // A matcher without an expression is always valid.
    let present = Matcher::new(MatchKind::Neq, &**label, "").ok();
    Selected {
        matchers: selected.matchers.iter().cloned().chain(present).collect(),
        ..selected
    }
}

/// Collects from the labels of the selected series.
async fn from_series(call: Arc<LabelCall>, ask: Ask, opened: Opened) -> Result<Texts, RequestError> {
    let mut texts = Texts::new(call.context.budget.clone());
    let block = opened.selected.block;
    let filter = SeriesFilter {
        mint_ms: call.query.mint_ms,
        maxt_ms: call.query.maxt_ms,
        skip_chunks: true,
        shard: None,
        after: None,
        limits: Arc::clone(&call.context.limits),
    };
    let table = call.context.label_table(&block);
    let series = BlockSeries {
        decoder: SeriesDecoder::in_any_order(Arc::clone(&block), table, Arc::new(filter))
            .with_deferred(opened.deferred),
        block,
        refs: opened.refs.cursor(),
        context: call.context.clone(),
    };
    let (sender, mut receiver) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(carried(series.run(sender)));
    loop {
        let batch = receiver.recv().await.unwrap_or_else(|| Err(ended_early()))?;
        if batch.is_empty() {
            return Ok(texts);
        }
        let ask = ask.clone();
        texts = cpu::run(move || {
            for at in 0..batch.len() {
                texts.add_from_key(&ask, batch.key(at))?;
            }
            Ok::<_, RequestError>(texts)
        })
        .await??;
    }
}

impl Texts {
    fn new(budget: Budget) -> Self {
        Self {
            all: BTreeSet::new(),
            bytes: 0,
            budget,
            paid: None,
        }
    }

    fn add_from_key(&mut self, ask: &Ask, series_key: &[u8]) -> Result<(), RequestError> {
        for (name, value) in key::labels(series_key) {
            let text = match ask {
                Ask::Names => name,
                Ask::Values(label) if *name == *label.as_bytes() => value,
                Ask::Values(_) => continue,
            };
            let text = String::from_utf8_lossy(&text);
            if !text.is_empty() && !self.all.contains(&*text) {
                self.add(text.into_owned())?;
            }
        }
        Ok(())
    }

    fn add(&mut self, text: String) -> Result<(), RequestError> {
        // It is there once more when it is encoded.
        let bytes = 2 * text.len() as u64 + ENTRY_BYTES;
        if !self.all.insert(text) {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let paid = self.paid.as_ref().map_or(0, Reservation::bytes);
        if self.bytes <= paid {
            return Ok(());
        }
        let step = (self.bytes - paid).max(STEP_BYTES);
        let is_paid = match &mut self.paid {
            Some(paid) => paid.try_grow(step),
            None => {
                self.paid = self.budget.try_reserve(step);
                self.paid.is_some()
            }
        };
        if is_paid {
            return Ok(());
        }
        Err(RequestError::NoMemory {
            what: format!("an answer of {} names or values", self.all.len()),
        })
    }
}
