use proptest::prelude::*;

use super::*;
use crate::chunk::{AppendError, Encoding, num_samples};
use crate::error::Corruption;
use crate::stale::STALE_NAN;

mod reference;

fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut appender = XorAppender::new();
    for (i, &(t, value)) in samples.iter().enumerate() {
        assert_eq!(usize::from(appender.num_samples()), i);
        appender.append(t, value).unwrap();
    }
    let length = appender.len_bytes();
    let data = appender.finish();
    assert_eq!(data.len(), length);
    data
}

fn batch(data: &[u8]) -> Result<Vec<(i64, u64)>, Corruption> {
    let (mut timestamps, mut values) = (vec![7], vec![7.0]);
    let result = decode(data, &mut timestamps, &mut values);
    assert_eq!(timestamps.len(), values.len());
    assert_eq!((timestamps[0], values[0]), (7, 7.0), "what was there stays");
    if result.is_err() {
        assert_eq!(timestamps.len(), 1, "a failed chunk leaves nothing behind");
    }
    result.map(|()| bits(timestamps.into_iter().zip(values).skip(1)))
}

fn by_closure(data: &[u8]) -> Result<Vec<(i64, u64)>, Corruption> {
    let mut samples = Vec::new();
    for_each(data, |t, value| samples.push((t, value)))?;
    Ok(bits(samples.into_iter()))
}

fn one_by_one(data: &[u8]) -> Result<Vec<(i64, u64)>, Corruption> {
    let samples: Result<Vec<_>, _> = XorIter::new(data)?.collect();
    samples.map(|samples| bits(samples.into_iter()))
}

fn bits(samples: impl Iterator<Item = (i64, f64)>) -> Vec<(i64, u64)> {
    samples.map(|(t, value)| (t, value.to_bits())).collect()
}

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// Worked example A of the format notes.
const EXAMPLE: [(i64, f64); 5] = [
    (1000, 1.0),
    (16000, 1.0),
    (31000, 2.5),
    (46007, 2.5),
    (61007, STALE_NAN),
];

#[test]
fn the_worked_example_is_written_and_read_to_the_bit() {
    let data = hex(
        "00 05 d0 0f 3f f0 00 00 00 00 00 00 98 75 30 9b ff d8 00 75 ff ce 2f \
        7f f4 00 00 00 00 00 02",
    );
    assert_eq!(encode(&EXAMPLE), data);
    assert_eq!(xxhash_rust::xxh64::xxh64(&data, 0), 1_377_039_442_643_790_031);
    assert_eq!(batch(&data), Ok(bits(EXAMPLE.into_iter())));
    assert_eq!(one_by_one(&data), Ok(bits(EXAMPLE.into_iter())));
    assert_eq!(num_samples(Encoding::Xor, &data), Ok(5));
}

#[test]
fn one_sample_and_none() {
    assert_eq!(encode(&[(1, 1.0)]), hex("00 01 02 3f f0 00 00 00 00 00 00"));
    assert_eq!(encode(&[]), [0, 0]);
    assert_eq!(batch(&[0, 0]), Ok(vec![]));
    assert_eq!(one_by_one(&[0, 0]), Ok(vec![]));
    assert!(batch(&[0]).is_err() && one_by_one(&[]).is_err());
}

/// With the bit for an equal value: 14 bits take 17, 17 take 21, 20 take 25, 64 take 69.
#[test]
fn ranges_of_the_time_step_are_asymmetric() {
    let widths = [
        (0, 2),
        (-8191, 17),
        (8192, 17),
        (-8192, 21),
        (8193, 21),
        (-65535, 21),
        (65536, 21),
        (-65536, 25),
        (65537, 25),
        (-524_287, 25),
        (524_288, 25),
        (-524_288, 69),
        (524_289, 69),
    ];
    for (change, width) in widths {
        let samples = [(0, 0.0), (1_000_000, 0.0), (2_000_000 + change, 0.0)];
        let data = encode(&samples);
        assert_eq!(batch(&data), Ok(bits(samples.into_iter())), "{change}");
        // The second sample leaves seven bits of its last byte.
        let expected = encode(&samples[..2]).len() - 1 + usize::div_ceil(1 + width, 8);
        assert_eq!(data.len(), expected, "{change}");
    }
}

#[test]
fn a_chunk_holds_65535_samples() {
    let mut appender = XorAppender::new();
    for i in 0..65535 {
        appender.append(i * 1000, i as f64).unwrap();
    }
    assert_eq!(appender.append(0, 0.0), Err(AppendError::Full));
    let data = appender.finish();
    let samples = batch(&data).unwrap();
    assert_eq!(samples.len(), 65535);
    assert_eq!(samples[65534], (65_534_000, 65534f64.to_bits()));
}

#[test]
fn a_buffer_can_be_used_again() {
    let mut appender = XorAppender::with_buffer(encode(&EXAMPLE));
    appender.append(1, 1.0).unwrap();
    assert_eq!(appender.finish(), encode(&[(1, 1.0)]));
}

#[test]
fn a_header_that_announces_more_than_the_data_can_hold_allocates_nothing() {
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    let error = decode(&[0xff, 0xff, 0, 0], &mut timestamps, &mut values).unwrap_err();
    assert!(
        error.to_string().contains("65535 samples announced in 4 bytes"),
        "{error}"
    );
    assert_eq!((timestamps.capacity(), values.capacity()), (0, 0));
}

#[test]
fn every_chunk_that_is_cut_off_is_refused() {
    let data = encode(&EXAMPLE);
    for length in 0..data.len() {
        assert!(batch(&data[..length]).is_err(), "{length} bytes");
        assert!(one_by_one(&data[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn an_error_ends_the_iterator() {
    let data = encode(&EXAMPLE);
    let mut samples = XorIter::new(&data[..20]).unwrap();
    assert!(samples.by_ref().any(|sample| sample.is_err()));
    assert!(samples.next().is_none());
}

/// Timestamps that come at a pace, or do as they like.
fn times() -> impl Strategy<Value = Vec<i64>> {
    let steps = prop_oneof![
        4 => Just(15_000i64),
        4 => 14_980..15_020i64,
        1 => Just(0i64),
        1 => -70_000..70_000i64,
        1 => -600_000..600_000i64,
        1 => any::<i64>(),
    ];
    (any::<i64>(), proptest::collection::vec(steps, 0..150)).prop_map(|(start, steps)| {
        let mut t = start >> 20;
        steps
            .into_iter()
            .map(|step| {
                t = i64::wrapping_add(t, step);
                t
            })
            .collect()
    })
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => Just(1.0),
        3 => (0..1000i32).prop_map(f64::from),
        2 => any::<f64>(),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(STALE_NAN),
        1 => proptest::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX]),
    ]
}

fn series() -> impl Strategy<Value = Vec<(i64, f64)>> {
    times().prop_flat_map(|times| {
        let values = proptest::collection::vec(value(), times.len());
        values.prop_map(move |values| times.iter().copied().zip(values).collect())
    })
}

proptest! {
    #[test]
    fn series_round_trip(samples in series()) {
        let data = encode(&samples);
        let expected = bits(samples.into_iter());
        prop_assert_eq!(batch(&data), Ok(expected.clone()));
        prop_assert_eq!(one_by_one(&data), Ok(expected.clone()));
        prop_assert_eq!(by_closure(&data), Ok(expected.clone()));
        prop_assert_eq!(reference::decode(&data), Some(expected));
    }

    /// What broken data gives does not matter, but the decoders agree on it.
    #[test]
    fn the_reference_agrees_on_any_bytes(mut data in proptest::collection::vec(any::<u8>(), 2..120), n in 0u8..40) {
        data[0] = 0;
        data[1] = n;
        let expected = reference::decode(&data);
        prop_assert_eq!(one_by_one(&data).ok(), expected.clone());
        prop_assert_eq!(by_closure(&data).ok(), expected.clone());
        prop_assert_eq!(batch(&data).ok(), expected);
    }

    #[test]
    fn a_flipped_bit_never_panics(samples in series(), at in any::<proptest::sample::Index>()) {
        let mut data = encode(&samples);
        let bit = at.index(data.len() * 8);
        data[bit / 8] ^= 1 << (bit % 8);
        crate::fuzz::xor_chunk(&data);
    }

    #[test]
    fn any_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzz::xor_chunk(&data);
    }
}
