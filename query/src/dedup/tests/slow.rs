//! The rule sample by sample, as plain as can be, and what comes out of it beside what comes out of whole runs.

use proptest::prelude::*;
use sabre_tsdb::chunk::xor::XorIter;

use super::{ALL, chunk, floats};
use crate::dedup::{DedupFunc, SampleOptions, split::split};

/// A list, or two things made one.
enum Slow {
    List {
        samples: Vec<(i64, f64)>,
        at: usize,
        lifted: f64,
        is_counter: bool,
    },
    Two {
        sides: Box<[Slow; 2]>,
        /// The side that is used.
        used: usize,
        last_t: Option<i64>,
        penalties: [i64; 2],
    },
}

impl Slow {
    fn two(left: Slow, right: Slow) -> Slow {
        Slow::Two {
            sides: Box::new([left, right]),
            used: 0,
            last_t: None,
            penalties: [0, 0],
        }
    }

    fn now(&self) -> Option<(i64, f64)> {
        match self {
            Slow::List {
                samples,
                at,
                lifted,
                is_counter,
            } => {
                let (t, value) = *samples.get(*at)?;
                Some((t, if *is_counter { value + lifted } else { value }))
            }
            Slow::Two { sides, used, .. } => sides[*used].now(),
        }
    }

    /// Moves on; the first call of two things made one only chooses, a list begins at its first sample.
    fn advance(&mut self) {
        let before = self.now();
        let Slow::Two {
            sides,
            used,
            last_t,
            penalties,
        } = self
        else {
            let Slow::List { at, .. } = self else { return };
            *at += 1;
            return;
        };
        if let Some(last_t) = *last_t {
            for (side, penalty) in sides.iter_mut().zip(*penalties) {
                while side.now().is_some_and(|(t, _)| t < last_t + 1 + penalty) {
                    side.advance();
                }
            }
        }
        let was_used = *used;
        let times = [0, 1].map(|side: usize| sides[side].now().map(|(t, _)| t));
        *used = match times {
            [Some(left), Some(right)] => usize::from(left > right),
            [Some(_), None] => 0,
            [None, _] => 1,
        };
        let Some(t) = times[*used] else { return };
        penalties[*used] = 0;
        if times[1 - *used].is_some() {
            penalties[1 - *used] = last_t.map_or(5000, |last_t| (t - last_t) * 2);
        }
        *last_t = Some(t);
        if let (true, Some((_, before))) = (was_used != *used, before) {
            self.lift(before);
        }
    }

    fn lift(&mut self, before: f64) {
        let now = self.now();
        match self {
            Slow::Two { sides, .. } => sides.iter_mut().for_each(|side| side.lift(before)),
            Slow::List {
                lifted, is_counter, ..
            } => {
                if let (true, Some((_, value))) = (*is_counter, now)
                    && before > value
                {
                    *lifted += before - value;
                }
            }
        }
    }
}

/// The samples of a list of chunks: of a counter the sums of its steps.
fn list(data: &[bytes::Bytes], times: (i64, i64), is_counter: bool) -> Slow {
    let all = data
        .iter()
        .flat_map(|data| XorIter::new(data).unwrap().map(Result::unwrap));
    let (mut samples, mut total, mut last) = (Vec::new(), 0.0, None);
    for (t, value) in all {
        total = match last {
            None => value,
            Some(last) if value >= last => total + (value - last),
            Some(_) => total + value,
        };
        last = Some(value);
        samples.push((t, if is_counter { total } else { value }));
    }
    samples.retain(|(t, _)| (times.0..=times.1).contains(t));
    Slow::List {
        samples,
        at: 0,
        lifted: 0.0,
        is_counter,
    }
}

/// Scrapes in steps that mostly are the same, with gaps, in chunks of a few samples.
fn any_replica() -> impl Strategy<Value = Vec<Vec<(i64, f64)>>> {
    let step = prop_oneof![
        8 => (9_990i64..10_010).boxed(),
        2 => Just(10_000).boxed(),
        1 => (1i64..200_000).boxed(),
    ];
    let samples = proptest::collection::vec((step, 0u32..100), 1..80);
    (samples, 0i64..20_000, 1usize..12, any::<bool>()).prop_map(|(steps, start, length, grows)| {
        let (mut t, mut total) = (start, 0.0);
        let samples: Vec<(i64, f64)> = steps
            .into_iter()
            .map(|(step, value)| {
                t += step;
                total += f64::from(value);
                (t, if grows { total } else { f64::from(value) })
            })
            .collect();
        samples.chunks(length).map(<[_]>::to_vec).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn runs_are_what_comes_of_one_sample_after_the_other(
        replicas in proptest::collection::vec(any_replica(), 2..5),
        func in prop_oneof![Just("rate"), Just("increase"), Just(""), Just("max_over_time")],
        cut in prop_oneof![Just(ALL), (0i64..400_000, 300_000i64..900_000)],
    ) {
        let mut chunks: Vec<_> = replicas.iter().flatten().map(|samples| chunk(samples)).collect();
        chunks.sort_by_key(|chunk| (chunk.min_time, chunk.max_time));
        let options = SampleOptions::for_function(func, cut, Some(DedupFunc::Penalty));
        let lists = split(chunks.clone()).unwrap();
        let lists = lists.iter().map(|chunks| {
            let data: Vec<_> = chunks.iter().map(|chunk| chunk.raw.as_ref().unwrap().data.clone()).collect();
            // One list by itself is not cut.
            let times = if lists.len() > 1 { cut } else { ALL };
            list(&data, times, options.is_counter)
        });
        let mut slow = lists.reduce(Slow::two).unwrap();
        let mut wanted = Vec::new();
        if matches!(slow, Slow::Two { .. }) {
            begin(&mut slow);
        }
        while let Some(sample) = slow.now() {
            wanted.push(sample);
            slow.advance();
        }
        prop_assert_eq!(floats(chunks, &options).unwrap(), wanted);
    }
}

/// Lets everything that was made one choose its first sample, from below.
fn begin(slow: &mut Slow) {
    if let Slow::Two { sides, .. } = slow {
        sides.iter_mut().for_each(begin);
        slow.advance();
    }
}
