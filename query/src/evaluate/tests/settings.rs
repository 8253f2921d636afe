//! What flags change of how queries are read.

use super::*;

#[tokio::test]
async fn a_subquery_without_a_step_has_that_of_the_flag() {
    for (step_ms, steps) in [(60_000, 5.0), (10_000, 30.0)] {
        let engine = engine(&Scripted::new([items(1)]), |config| {
            config.subquery_step_ms = step_ms;
        });
        let answer = engine.query(&instant("count_over_time(up[5m:])")).await.unwrap();
        let Value::Vector(samples) = &answer.value else {
            panic!("{:?}", answer.value)
        };
        assert_eq!(samples[0].value, SampleValue::Float(steps));
    }
}
