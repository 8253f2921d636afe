//! Two runs at once.

use proptest::prelude::*;

use crate::{
    names::add_days,
    testing::lab::{Ended, FIRST, Lab, policy},
};

fn two_runs(engine: (Option<&'static str>, &'static str), turns: Vec<u8>, second_day: i64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut lab = Lab::new(engine, policy("logging-", 2, 4));
        lab.live(0..7).await;
        lab.write(add_days(FIRST, 7), 3);
        let day = add_days(FIRST, 7);
        lab.cluster.with(|world| world.turns = turns);
        let other = lab.clone();
        let (one, two) = tokio::join!(lab.run(day), other.run(add_days(day, second_day)));
        for ended in [&one, &two] {
            let Ended::Report(report) = ended else {
                panic!("{ended:?}")
            };
            assert!([0, 3].contains(&report.exit_code()), "{report:#?}");
        }
        lab.check(add_days(day, second_day), &"together");
        for number in 1..=3 {
            let day = add_days(day, number);
            lab.run_well(day).await;
            lab.check(day, &number);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn two_runs_at_once_do_no_harm(turns in proptest::collection::vec(0_u8..4, 0..200), second_day in 0_i64..2, engine in 0_usize..3) {
        let engines = [(None, "6.8.23"), (None, "7.10.2"), (Some("opensearch"), "2.11.0")];
        two_runs(engines[engine], turns, second_day);
    }
}
