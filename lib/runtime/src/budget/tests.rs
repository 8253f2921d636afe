use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::{
    task::{JoinHandle, yield_now},
    time::timeout,
};

use super::*;

const FLAG: &str = "--sabre.memory-budget";

/// Starts a reservation and lets it run until it holds or waits.
async fn start(budget: &Budget, bytes: u64) -> JoinHandle<Reservation> {
    let budget = budget.clone();
    let task = tokio::spawn(async move { budget.reserve(bytes).await.unwrap() });
    yield_now().await;
    task
}

#[tokio::test]
async fn drop_gives_back_and_high_water_stays() {
    let budget = Budget::new(100, FLAG);
    let first = budget.reserve(60).await.unwrap();
    let second = budget.reserve(40).await.unwrap();
    assert_eq!(budget.usage().used_bytes, 100);
    drop((first, second));
    let usage = budget.usage();
    assert_eq!(
        (usage.used_bytes, usage.high_water_bytes, usage.waits_total),
        (0, 100, 0)
    );
}

#[tokio::test]
async fn more_than_the_limit_fails_at_once_and_says_why() {
    let budget = Budget::new(100, FLAG);
    let request = budget.child("Series request");
    let error = request.reserve(101).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Series request needs 101 bytes at once, --sabre.memory-budget allows 100; \
         ask for less, or raise --sabre.memory-budget"
    );
    let narrow = budget.limited_child("Series request", 10, "--sabre.request-memory-budget");
    let error = narrow.reserve(11).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("--sabre.request-memory-budget allows 10;"),
        "{error}"
    );
    assert!(request.try_reserve(101).is_none());
    assert_eq!(budget.usage().used_bytes, 0);
}

#[tokio::test]
async fn waiters_are_served_in_order_and_nothing_overtakes() {
    let budget = Budget::new(100, FLAG);
    let held = budget.reserve(90).await.unwrap();
    let large = start(&budget, 50).await;
    let small = start(&budget, 5).await;
    assert_eq!(budget.usage().waiting, 2);
    assert!(
        budget.try_reserve(1).is_none(),
        "try_reserve must not pass those who wait"
    );
    assert!(
        !small.is_finished(),
        "a small request behind a large one waits its turn"
    );
    drop(held);
    let (large, small) = (large.await.unwrap(), small.await.unwrap());
    assert_eq!(budget.usage().used_bytes, 55);
    drop((large, small));
}

#[tokio::test]
async fn a_cancelled_waiter_frees_its_place_for_those_behind() {
    let budget = Budget::new(100, FLAG);
    let held = budget.reserve(90).await.unwrap();
    let large = start(&budget, 50).await;
    let small = start(&budget, 10).await;
    large.abort();
    let small = timeout(Duration::from_secs(5), small)
        .await
        .expect("served without any release")
        .unwrap();
    drop((held, small));
    assert_eq!(budget.usage().used_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_with_an_error_that_names_everything() {
    let budget = Budget::new(100, FLAG);
    let held = budget.reserve(70).await.unwrap();
    let request = budget.child("LabelValues request");
    let error = request
        .reserve_within(31, Duration::from_millis(1500))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "LabelValues request needs 31 bytes, of the 100 that --sabre.memory-budget allows 70 are in use \
         and not enough became free within 1500 ms; try again, or raise --sabre.memory-budget"
    );
    let usage = budget.usage();
    assert_eq!((usage.waiting, usage.waits_total, usage.refused_total), (0, 1, 1));
    drop(held);
    assert!(request.reserve_within(31, Duration::from_millis(1)).await.is_ok());
}

#[tokio::test]
async fn children_charge_their_parent_and_keep_their_own_limit() {
    let budget = Budget::new(100, FLAG);
    let request = budget.limited_child("request", 40, "--per-request");
    assert_eq!(request.limit_bytes(), 40);
    let held = request.reserve(40).await.unwrap();
    assert_eq!((request.usage().used_bytes, budget.usage().used_bytes), (40, 40));
    assert!(request.try_reserve(1).is_none());
    let other = budget.child("other").reserve(60).await.unwrap();
    drop(held);
    assert_eq!((request.usage().used_bytes, budget.usage().used_bytes), (0, 60));
    assert!(request.try_reserve(41).is_none());
    drop(other);
}

#[tokio::test]
async fn a_child_that_waits_for_its_parent_can_be_cancelled_whole() {
    let budget = Budget::new(100, FLAG);
    let held = budget.reserve(100).await.unwrap();
    let request = budget.limited_child("request", 40, "--per-request");
    let waiting = start(&request, 30).await;
    assert_eq!(request.usage().used_bytes, 30, "the own limit is charged first");
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!((request.usage().used_bytes, budget.usage().waiting), (0, 0));
    drop(held);
    assert_eq!(budget.usage().used_bytes, 0);
}

#[tokio::test]
async fn reservations_split_merge_shrink_and_grow() {
    let budget = Budget::new(100, FLAG);
    let mut window = budget.reserve(80).await.unwrap();
    let part = window.split(30).unwrap();
    assert!(window.split(51).is_none());
    assert_eq!(
        (window.bytes(), part.bytes(), budget.usage().used_bytes),
        (50, 30, 80)
    );
    window.merge(part).unwrap();
    window.shrink_to(60);
    window.shrink_to(70);
    assert_eq!((window.bytes(), budget.usage().used_bytes), (60, 60));
    assert!(window.try_grow(40) && !window.try_grow(1));
    let foreign = Budget::new(10, FLAG).reserve(5).await.unwrap();
    assert_eq!(window.merge(foreign).unwrap_err().bytes(), 5);
    drop(window);
    assert_eq!(budget.usage().used_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_waits_to_grow_and_keeps_what_it_has() {
    let budget = Budget::new(100, FLAG);
    let mut window = budget.reserve(60).await.unwrap();
    let other = budget.reserve(40).await.unwrap();
    let patience = Duration::from_secs(2);
    window.grow_within(0, patience).await.unwrap();
    let begun = tokio::time::Instant::now();
    assert!(window.grow_within(30, patience).await.is_err());
    assert_eq!((begun.elapsed(), window.bytes()), (patience, 60));
    let (grown, ()) = tokio::join!(window.grow_within(30, patience), async {
        yield_now().await;
        drop(other);
    });
    grown.unwrap();
    assert_eq!((window.bytes(), budget.usage().used_bytes), (90, 90));
    drop(window);
    assert_eq!(budget.usage().used_bytes, 0);
}

#[tokio::test]
async fn a_buffer_carries_its_reservation_until_its_last_slice() {
    let budget = Budget::new(100, FLAG);
    let frame = budget
        .reserve(4)
        .await
        .unwrap()
        .attach(Bytes::from_static(b"data"));
    let slice = frame.slice(1..3);
    drop(frame);
    assert_eq!((&slice[..], budget.usage().used_bytes), (&b"at"[..], 4));
    drop(slice);
    assert_eq!(budget.usage().used_bytes, 0);
}

#[tokio::test]
async fn zero_bytes_wait_for_nothing_but_keep_their_turn() {
    let budget = Budget::new(10, FLAG);
    let held = budget.reserve(10).await.unwrap();
    assert_eq!(budget.reserve(0).await.unwrap().bytes(), 0);
    drop(held);
}

#[tokio::test]
async fn figures_are_exported() {
    let budget = Budget::new(100, FLAG);
    let registry = Registry::new();
    budget.register_metrics(&registry);
    let _held = budget.reserve(40).await.unwrap();
    let text = registry.openmetrics();
    for line in [
        "sabre_memory_budget_limit_bytes 100",
        "sabre_memory_budget_used_bytes 40",
        "sabre_memory_budget_high_water_bytes 40",
        "sabre_memory_budget_waits_total 0",
        "sabre_memory_budget_refusals_total 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing from\n{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_at_once_stay_within_the_limit_and_all_finish() {
    let budget = Budget::new(1_000, FLAG);
    let tasks: Vec<_> = (0..64_u64)
        .map(|number| {
            let request = budget.limited_child(format!("request {number}"), 900, "--per-request");
            let process = budget.clone();
            tokio::spawn(async move {
                for round in 0..200_u64 {
                    let bytes = (number * 37 + round * 101) % 900 + 1;
                    let impatient = (number + round) % 7 == 0;
                    let patience = Duration::from_micros(if impatient { 50 } else { 60_000_000 });
                    let Ok(mut held) = request.reserve_within(bytes, patience).await else {
                        assert!(impatient, "a patient request was refused");
                        continue;
                    };
                    let extra = request.try_reserve(bytes / 2);
                    assert!(process.usage().used_bytes <= 1_000);
                    yield_now().await;
                    held.shrink_to(bytes / 3);
                    drop(extra);
                }
            })
        })
        .collect();
    for task in tasks {
        timeout(Duration::from_secs(60), task)
            .await
            .expect("no deadlock")
            .unwrap();
    }
    let usage = budget.usage();
    assert_eq!((usage.used_bytes, usage.waiting), (0, 0));
    assert!(usage.high_water_bytes <= 1_000 && usage.waits_total > 0);
}

#[derive(Debug, Clone)]
enum Step {
    Reserve { child: usize, bytes: u64 },
    Try { child: usize, bytes: u64 },
    Cancel { index: usize },
    Drop { index: usize },
    Shrink { index: usize, bytes: u64 },
    Split { index: usize, bytes: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize, 0..=60_u64).prop_map(|(child, bytes)| Step::Reserve { child, bytes }),
        2 => (0..3_usize, 0..=60_u64).prop_map(|(child, bytes)| Step::Try { child, bytes }),
        1 => any::<usize>().prop_map(|index| Step::Cancel { index }),
        3 => any::<usize>().prop_map(|index| Step::Drop { index }),
        1 => (any::<usize>(), 0..=60_u64).prop_map(|(index, bytes)| Step::Shrink { index, bytes }),
        1 => (any::<usize>(), 0..=60_u64).prop_map(|(index, bytes)| Step::Split { index, bytes }),
    ]
}

/// Runs the steps and checks after each that what is held adds up and stays within every limit.
async fn play(steps: Vec<Step>) {
    let budget = Budget::new(100, FLAG);
    let children: Vec<Budget> = [60, 100, u64::MAX]
        .map(|limit| budget.limited_child("request", limit, "--per-request"))
        .into();
    let mut held: Vec<Reservation> = Vec::new();
    let mut waiting: Vec<JoinHandle<Reservation>> = Vec::new();
    for step in steps {
        let pick = |index: usize, length: usize| (length > 0).then(|| index % length);
        match step {
            Step::Reserve { child, bytes } => waiting.push(start(&children[child], bytes).await),
            Step::Try { child, bytes } => held.extend(children[child].try_reserve(bytes)),
            Step::Cancel { index } => {
                if let Some(index) = pick(index, waiting.len()) {
                    let task = waiting.swap_remove(index);
                    task.abort();
                    drop(task.await);
                }
            }
            Step::Drop { index } => {
                if let Some(index) = pick(index, held.len()) {
                    drop(held.swap_remove(index));
                }
            }
            Step::Shrink { index, bytes } => {
                if let Some(index) = pick(index, held.len()) {
                    held[index].shrink_to(bytes);
                }
            }
            Step::Split { index, bytes } => {
                if let Some(index) = pick(index, held.len()) {
                    let part = held[index].split(bytes);
                    held.extend(part);
                }
            }
        }
        for _ in 0..4 {
            yield_now().await;
        }
        let (done, still): (Vec<_>, Vec<_>) = waiting.into_iter().partition(JoinHandle::is_finished);
        waiting = still;
        for task in done {
            held.push(task.await.unwrap());
        }
        let sum: u64 = held.iter().map(Reservation::bytes).sum();
        assert_eq!(budget.usage().used_bytes, sum);
        assert!(sum <= 100 && children[0].usage().used_bytes <= 60);
    }
    held.clear();
    while let Some(task) = waiting.pop() {
        if task.is_finished() {
            drop(task.await.unwrap());
            continue;
        }
        waiting.insert(0, task);
        yield_now().await;
    }
    assert_eq!(budget.usage().used_bytes, 0);
    assert!(children.iter().all(|child| child.usage().used_bytes == 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_order_of_steps_adds_up_and_ends_with_nothing_held(steps in prop::collection::vec(step(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { timeout(Duration::from_secs(20), play(steps)).await.expect("no deadlock") });
    }
}

#[test]
fn handles_cross_threads() {
    fn assert_send_sync<T: Send + Sync>(_: &T) {}
    assert_send_sync(&Arc::new(Budget::unlimited()));
}

#[test]
fn a_budget_too_small_for_the_work_is_refused_with_the_least() {
    let refused = |bytes| Budget::new(bytes, "--sabre.memory-budget").enough_to("write a block", 16 << 20);
    refused(16 << 20).unwrap();
    for bytes in [1 << 10, (16 << 20) - 1] {
        let error = refused(bytes).unwrap_err().to_string();
        let begins = format!(
            "--sabre.memory-budget: {bytes} bytes are too few to write a block, 16777216 are the least; "
        );
        assert!(error.starts_with(&begins), "{error}");
    }
}
