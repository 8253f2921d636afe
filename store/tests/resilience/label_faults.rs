//! As `faults`, for calls that ask for names and values of labels.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sabre_objstore::{MemoryBucket, SharedBucket};
use sabre_proto::thanos::{LabelNamesRequest, LabelValuesRequest, PartialResponseStrategy};
use sabre_testkit::{
    blocks::BlockBuilder,
    fault::{Fault, FaultBucket, Rule},
};
use tonic::Status;

use crate::{
    common::{TestStore, start},
    data::{SPAN_MS, block, everything, put},
    faults::{FAULTS, no_leak, stalled},
};

const SERIES: usize = 20;

/// What is asked.
#[derive(Clone, Copy, Debug)]
enum Call {
    Names,
    Values,
}

const CALLS: [Call; 2] = [Call::Names, Call::Values];

const STRATEGIES: [PartialResponseStrategy; 2] =
    [PartialResponseStrategy::Abort, PartialResponseStrategy::Warn];

/// Texts and warnings.
type Answer = (BTreeSet<String>, Vec<String>);

impl Call {
    async fn ask(self, store: &TestStore, strategy: PartialResponseStrategy) -> Result<Answer, Status> {
        let mut client = store.client();
        let (end, matchers) = (2 * SPAN_MS, everything().matchers);
        let partial_response_strategy = strategy.into();
        let (texts, warnings) = match self {
            Self::Names => {
                let request = LabelNamesRequest {
                    end,
                    matchers,
                    partial_response_strategy,
                    ..LabelNamesRequest::default()
                };
                let answer = client.label_names(request).await?.into_inner();
                (answer.names, answer.warnings)
            }
            Self::Values => {
                let request = LabelValuesRequest {
                    label: "pod".to_owned(),
                    end,
                    matchers,
                    partial_response_strategy,
                    ..LabelValuesRequest::default()
                };
                let answer = client.label_values(request).await?.into_inner();
                (answer.values, answer.warnings)
            }
        };
        Ok((texts.into_iter().collect(), warnings))
    }

    /// All there is: each block has some that the other has not.
    fn truth(self) -> BTreeSet<String> {
        let texts = match self {
            Self::Names => ["__name__", "cluster", "pod", "zone"].map(str::to_owned).to_vec(),
            Self::Values => {
                let pods = (0..SERIES).map(|n| format!("pod-{n:05}"));
                pods.chain(["other".to_owned()]).collect()
            }
        };
        texts.into_iter().collect()
    }
}

async fn store() -> (FaultBucket, TestStore, u64) {
    let memory = Arc::new(MemoryBucket::new("test"));
    put(&*memory, block(1, 0, 1, SERIES)).await;
    let other = BlockBuilder::new(2)
        .time_range(SPAN_MS..2 * SPAN_MS)
        .ext_labels(&[("cluster", "eu")])
        .floats(
            &[("__name__", "requests_total"), ("pod", "other"), ("zone", "b")],
            (SPAN_MS..2 * SPAN_MS).step_by(15_000).map(|at| (at, 1.0)),
        );
    put(&*memory, other).await;
    let faulty = FaultBucket::new(memory as SharedBucket);
    let store = start(Arc::new(faulty.clone())).await;
    faulty.heal();
    let used = store.budget.usage().used_bytes;
    (faulty, store, used)
}

/// A whole answer, or one that says that it is not and has nothing that is not true; or an error.
fn is_told(answer: &Result<Answer, Status>, call: Call, strategy: PartialResponseStrategy, what: &str) {
    match answer {
        Ok((texts, warnings)) if warnings.is_empty() => assert_eq!(*texts, call.truth(), "{what}"),
        Ok((texts, warnings)) => {
            assert_eq!(strategy, PartialResponseStrategy::Warn, "{what}: {warnings:?}");
            assert!(texts.is_subset(&call.truth()), "{what}: {texts:?}");
        }
        Err(status) => assert!(!status.message().is_empty(), "{what}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_request_of_a_label_call() {
    let (mut runs, mut failed, mut warned) = (0, 0, 0);
    for (call, strategy) in CALLS
        .iter()
        .flat_map(|call| STRATEGIES.map(|strategy| (*call, strategy)))
    {
        for fault in FAULTS {
            for number in 0.. {
                let (faulty, store, before) = store().await;
                faulty.add(Rule::nth(number, fault));
                let what = format!("{call:?}, {strategy:?}, {fault:?} at request {number}");
                let answer = call.ask(&store, strategy).await;
                is_told(&answer, call, strategy, &what);
                failed += usize::from(answer.is_err());
                warned += usize::from(answer.is_ok_and(|(_, warnings)| !warnings.is_empty()));
                no_leak(&store, before, &what).await;
                if faulty.triggered() == 0 {
                    break;
                }
                runs += 1;
                faulty.heal();
                let later = crate::common::NOW_MS + 3_600_000;
                store.gateway.sync(later).await.unwrap();
                let (texts, warnings) = call.ask(&store, strategy).await.unwrap();
                assert_eq!((texts, warnings), (call.truth(), Vec::new()), "{what}, then");
            }
        }
    }
    eprintln!("{runs} runs with a fault at a request of a label call: {failed} failed, {warned} warned");
    assert!(runs >= 80 && failed > 0, "{runs}, {failed}");
}

/// Reading again does not help: what cannot be had is told, and what comes is true.
#[tokio::test(flavor = "multi_thread")]
async fn from_every_request_of_a_label_call_on() {
    let (mut runs, mut failed, mut warned) = (0, 0, 0);
    let strategy = PartialResponseStrategy::Warn;
    let faults = [Fault::Truncate, Fault::BitFlip(3), Fault::BitFlip(1001)];
    for (call, fault) in CALLS.iter().flat_map(|call| faults.map(|fault| (*call, fault))) {
        for number in 0.. {
            let (faulty, store, before) = store().await;
            faulty.add(Rule::nth(number, fault).times(10_000));
            let what = format!("{call:?}, {fault:?} from request {number} on");
            let answer = call.ask(&store, strategy).await;
            is_told(&answer, call, strategy, &what);
            failed += usize::from(answer.is_err());
            warned += usize::from(answer.is_ok_and(|(_, warnings)| !warnings.is_empty()));
            no_leak(&store, before, &what).await;
            if faulty.triggered() == 0 {
                break;
            }
            runs += 1;
        }
    }
    eprintln!("{runs} runs with faults from a request of a label call on: {failed} failed, {warned} warned");
    assert!(runs >= 15 && failed + warned > 0, "{runs}, {failed}, {warned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_call_that_is_given_up_at_any_request_leaves_nothing_behind() {
    let mut runs = 0;
    for call in CALLS {
        for number in 0.. {
            let (faulty, store, before) = store().await;
            faulty.add(Rule::nth(number, Fault::Hang));
            let what = format!("{call:?} at request {number}");
            let is_answered = tokio::select! {
                answer = call.ask(&store, PartialResponseStrategy::Abort) => answer.is_ok(),
                () = stalled(&faulty) => false,
            };
            no_leak(&store, before, &what).await;
            if faulty.triggered() == 0 {
                assert!(is_answered, "{what}");
                break;
            }
            assert!(!is_answered, "{what}: it stalls and the call does not");
            runs += 1;
            let again = call.ask(&store, PartialResponseStrategy::Abort);
            let again = tokio::time::timeout(Duration::from_secs(60), again)
                .await
                .unwrap();
            assert_eq!(again.unwrap().0, call.truth(), "{what}, then");
        }
    }
    eprintln!("{runs} runs with a label call that is given up");
    assert!(runs > 4, "{runs}");
}
