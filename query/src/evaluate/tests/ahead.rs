//! Selects of one query that are open at once, and what keeps queries from waiting for one another.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Barrier, OwnedSemaphorePermit, Semaphore};

use super::*;

/// A store with some places, each of which is held until the stream is read or goes.
#[derive(Debug)]
struct Gated {
    places: Arc<Semaphore>,
    /// So many selects have to be there before one is answered.
    together: Option<Barrier>,
    /// Selects whose streams were not read to the end yet, and the most there were at a time.
    open: Arc<AtomicUsize>,
    most_open: AtomicUsize,
    asked: AtomicUsize,
}

/// A place, and that it was taken.
struct Held(Option<OwnedSemaphorePermit>, Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.take());
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gated {
    fn new(places: usize, together: Option<usize>) -> Arc<Gated> {
        Arc::new(Gated {
            places: Arc::new(Semaphore::new(places)),
            together: together.map(Barrier::new),
            open: Arc::default(),
            most_open: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
        })
    }

    /// Waits until no stream is open: they go when their tasks were told, which may be after the answer.
    async fn is_left(&self) {
        in_time(async {
            while self.open.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[async_trait::async_trait]
impl StoreSource for Gated {
    async fn select(&self, _: SelectRequest, _: SelectOptions) -> Result<SeriesStream, SourceFailure> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        let mut held = Held(None, Arc::clone(&self.open));
        if let Some(together) = &self.together {
            together.wait().await;
        }
        held.0 = Some(Arc::clone(&self.places).acquire_owned().await.unwrap());
        // It goes with the closure, behind the last item.
        let items = futures::stream::iter((0..300).map(|n| Ok(series(n))));
        Ok(items
            .map(move |item| {
                let _held = &held;
                item
            })
            .boxed())
    }

    async fn label_names(&self, _: SelectRequest, _: SelectOptions) -> Result<Names, SourceFailure> {
        Ok(Names::default())
    }

    async fn label_values(
        &self,
        _: &str,
        _: SelectRequest,
        _: SelectOptions,
    ) -> Result<Names, SourceFailure> {
        Ok(Names::default())
    }
}

fn gated_engine(source: &Arc<Gated>, change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let mut config = EngineConfig::default();
    change(&mut config);
    Engine::new(Arc::<Gated>::clone(source), config)
}

fn value(answer: &Answer) -> f64 {
    match &answer.value {
        Value::Vector(samples) => match samples[0].value {
            SampleValue::Float(value) => value,
            SampleValue::Histogram(_) => f64::NAN,
        },
        other => panic!("{other:?}"),
    }
}

/// Long enough for any machine, and an end to a test that waits for ever.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(100), work)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_selects_of_a_query_are_opened_together() {
    // None is answered before all three are asked for.
    let source = Gated::new(9, Some(3));
    let engine = gated_engine(&source, |config| {
        config.select_patience = Duration::from_secs(1000);
    });
    let answer = in_time(engine.query(&instant("count(a) + count(b) + count(c)"))).await;
    assert_eq!(value(&answer.unwrap()), 900.0);
    assert_eq!(source.asked.load(Ordering::SeqCst), 3);
    source.is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_whose_selects_share_one_place_do_not_wait_for_one_another() {
    let source = Gated::new(1, None);
    let engine = Arc::new(gated_engine(&source, |config| {
        config.select_patience = Duration::from_millis(5);
    }));
    let queries: Vec<_> = (0..12)
        .map(|_| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move {
                let request = instant("count(a) + count(b) + count(c) + count(d) + count(e)");
                engine.query(&request).await.map(|answer| value(&answer))
            })
        })
        .collect();
    for query in queries {
        assert_eq!(in_time(query).await.unwrap().unwrap(), 1500.0);
    }
    source.is_left().await;
    assert_eq!(source.places.available_permits(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_selects_are_open_at_once_as_the_flag_says() {
    // One place stays free for what was not foreseen.
    for (most, ahead) in [(1, 1), (2, 1), (4, 3), (6, 5), (9, 6)] {
        let source = Gated::new(0, None);
        let engine = gated_engine(&source, |config| {
            config.max_concurrent_select = most;
            config.select_patience = Duration::from_secs(1000);
        });
        let query = instant("count(a) + count(b) + count(c) + count(d) + count(e) + count(f)");
        let answers = async {
            while source.open.load(Ordering::SeqCst) < ahead {
                tokio::task::yield_now().await;
            }
            source.places.add_permits(9);
        };
        let (answer, ()) = in_time(async { tokio::join!(engine.query(&query), answers) }).await;
        assert_eq!(value(&answer.unwrap()), 1800.0);
        let open = source.most_open.load(Ordering::SeqCst);
        assert!((ahead..=most).contains(&open), "{open} of {most}");
        assert_eq!(source.asked.load(Ordering::SeqCst), 6, "each once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_fails_leaves_nothing_open() {
    let source = Gated::new(9, None);
    let engine = gated_engine(&source, |_| {});
    let failure = in_time(engine.query(&instant("a * on () b + c")))
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Execution);
    source.is_left().await;
}

#[tokio::test]
async fn what_is_open_ahead_is_given_up_for_memory() {
    let budget = Budget::new(100, "--limit");
    let ledger = Arc::new(super::super::ledger::Ledger::new(
        &budget,
        budget.try_reserve(0).unwrap(),
        "--one".to_owned(),
    ));
    let window = budget.try_reserve(80).unwrap();
    let place = super::super::gate::SelectGate::new(4, None).try_enter().unwrap();
    let task = tokio::spawn(async move {
        let stream = futures::stream::iter([Ok(series(0))]).map(move |item| {
            let _held = &window;
            item
        });
        super::super::ahead::Opened {
            stream: Ok(stream.boxed()),
            place,
        }
    });
    while !task.is_finished() {
        tokio::task::yield_now().await;
    }
    let foreseen = super::super::foresight::Foreseen {
        matchers: Vec::new(),
        hints: sabre_promql::source::SelectHints::default(),
    };
    ledger
        .ahead()
        .keep(foreseen, tokio_util::task::AbortOnDropHandle::new(task));
    let charge = ledger.charge(60).unwrap();
    assert_eq!(budget.usage().used_bytes, 60);
    drop(charge);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_opened_ahead_while_memory_or_places_are_short() {
    let query = "count(a) + count(b) + count(c)";
    let budget = Budget::new(1 << 30, "--limit");
    let _others = budget.try_reserve(3 << 28).unwrap();
    let few = |config: &mut EngineConfig| config.max_concurrent = 3;
    let full = |config: &mut EngineConfig| config.budget = budget.clone();
    let shortages: [&dyn Fn(&mut EngineConfig); 2] = [&few, &full];
    for shortage in shortages {
        let source = Arc::new(Budgets::default());
        let mut config = EngineConfig {
            select_patience: Duration::from_secs(1000),
            ..EngineConfig::default()
        };
        shortage(&mut config);
        let engine = Engine::new(Arc::<Budgets>::clone(&source), config);
        in_time(engine.query(&instant(query))).await.unwrap();
        let wanted = ["a", "b", "c"].map(|name| (name.to_owned(), true));
        assert_eq!(*source.0.lock(), wanted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_wanted_yet_takes_nothing_of_what_the_query_may_hold() {
    let source = Arc::new(Budgets::default());
    let config = EngineConfig {
        query_bytes: 8 << 20,
        select_patience: Duration::from_secs(1000),
        ..EngineConfig::default()
    };
    let engine = Engine::new(Arc::<Budgets>::clone(&source), config);
    in_time(engine.query(&instant("count(a) + count(b)")))
        .await
        .unwrap();
    // The right side is wanted first.
    assert_eq!(
        *source.0.lock(),
        [("a".to_owned(), false), ("b".to_owned(), true)]
    );
}

/// Says of each select whether it is charged to a budget that holds something already, which is that of the query.
#[derive(Debug, Default)]
struct Budgets(parking_lot::Mutex<Vec<(String, bool)>>);

#[async_trait::async_trait]
impl StoreSource for Budgets {
    async fn select(
        &self,
        request: SelectRequest,
        options: SelectOptions,
    ) -> Result<SeriesStream, SourceFailure> {
        let name = request.matchers[0].value().to_owned();
        let mut seen = self.0.lock();
        seen.push((name, options.budget.usage().used_bytes > 0));
        seen.sort();
        Ok(futures::stream::iter([Ok(series(0))]).boxed())
    }

    async fn label_names(&self, _: SelectRequest, _: SelectOptions) -> Result<Names, SourceFailure> {
        Ok(Names::default())
    }

    async fn label_values(
        &self,
        _: &str,
        _: SelectRequest,
        _: SelectOptions,
    ) -> Result<Names, SourceFailure> {
        Ok(Names::default())
    }
}
