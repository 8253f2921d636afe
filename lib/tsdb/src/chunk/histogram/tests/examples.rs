//! The worked examples of the format notes, and what readers make of stale histograms and flags.

use super::*;

#[test]
fn example_b_integer_counts() {
    let sums = [(3.5, 4, [1, 2]), (4.5, 5, [2, 2])];
    let histograms = sums.map(|(sum, count, buckets)| Histogram {
        sum,
        ..counts(layout(&[span(0, 2)]), 1, count, &buckets)
    });
    let mut chunk = HistogramAppender::begin(1000, &histograms[0]).unwrap();
    assert_eq!(
        chunk.append(16000, &mut histograms[1].clone()),
        Ok(Appended::Extended)
    );
    let data = hex("00 02 00 74 46 47 8f a2 91 40 0c 00 00 00 00 00 00 8c 7e 0e a6 22 d6 27 c6 e0");
    assert_eq!(chunk.len_bytes(), data.len());
    assert_eq!(chunk.finish(), data);
    let [first, second] = histograms;
    assert_eq!(
        decode::<i64>(&data),
        [(1000, first), (16000, hinted(NotCounterReset, second))]
    );
    assert_eq!(num_samples(Encoding::Histogram, &data), Ok(2));
}

#[test]
fn example_c_a_recoded_layout() {
    let first = Histogram {
        sum: 1.0,
        ..int(&[span(0, 2)], &[1, 0])
    };
    let mut second = Histogram {
        sum: 9.0,
        ..int(&[span(0, 1), span(2, 1)], &[2, 1])
    };
    let mut chunk = HistogramAppender::begin(1000, &first).unwrap();
    assert_eq!(chunk.append(16000, &mut second), Ok(Appended::Recoded));
    assert_eq!(
        second.layout.positive_spans,
        [span(0, 2), span(1, 1)],
        "the caller sees the final layout"
    );
    assert_eq!(second.positive, [2, -2, 1]);
    let data = hex("00 02 00 74 4a 48 c5 e3 e8 88 ff c0 00 00 00 00 00 02 37 7c 1d 4c 49 84 ef fa 63 78 80");
    assert_eq!(chunk.finish(), data);
    assert_eq!(decode::<i64>(&data)[0].1.positive, [1, -1, 0]);
}

#[test]
fn example_d_a_float_gauge_with_custom_bounds() {
    let histogram = FloatHistogram {
        hint: Gauge,
        layout: Arc::new(Layout {
            schema: CUSTOM_BUCKETS_SCHEMA,
            positive_spans: vec![span(0, 1), span(1, 1)],
            custom_bounds: vec![0.25, 1.0 / 3.0],
            ..Layout::default()
        }),
        count: 2.5,
        sum: 4.0,
        positive: vec![2.0, 0.5],
        ..FloatHistogram::default()
    };
    let data = hex(
        "00 01 c0 00 ee 5c a2 8c 52 e7 d8 ff 55 55 55 55 55 55 57 c7 d0 80 08 00 00 00 00 00 00 00 00 00 \
        00 00 00 00 00 80 20 00 00 00 00 00 00 80 00 00 00 00 00 00 00 7f c0 00 00 00 00 00 00",
    );
    assert_eq!(HistogramAppender::begin(1000, &histogram).unwrap().finish(), data);
    assert_eq!(decode::<f64>(&data), [(1000, histogram)]);
    assert_eq!(header_flag(&data), Ok(Gauge));
}

#[test]
fn an_empty_chunk_has_no_histograms() {
    assert_eq!(decode::<i64>(&[0, 0, 0]), []);
    assert!(HistogramIter::<i64>::new(&[0, 0]).is_err());
}

/// Counts stay as they were, and no buckets follow the sum.
#[test]
fn a_stale_integer_histogram_is_a_time_two_zeros_and_a_sum() {
    let first = int(&[span(0, 2)], &[7, 9]);
    let alone = chunk(std::slice::from_ref(&first)).len_bytes();
    let chunk = chunk(&[first, Histogram::stale()]);
    // 24 bits of time, two of counts, 13 of window, and what differs: 3ff8... from 7ff0...2, 62 bits.
    assert!(chunk.len_bytes() - alone <= 13, "{}", chunk.len_bytes() - alone);
    let samples = decode::<i64>(&chunk.finish());
    assert!(samples[1].1.is_stale());
    assert!(samples[1].1.positive.is_empty() && samples[1].1.layout.positive_spans.is_empty());
    assert_eq!((samples[1].1.count, samples[1].1.hint), (0, Unknown));
}

#[test]
fn a_stale_histogram_at_the_start_has_an_empty_layout() {
    let stale = FloatHistogram {
        sum: crate::stale::STALE_NAN,
        ..float(&[span(3, 2)], &[1.0, 2.0])
    };
    let chunk = chunk(&[stale.clone(), stale]);
    let data = chunk.finish();
    let samples = HistogramIter::<f64>::new(&data).unwrap();
    assert_eq!(**samples.layout(), Layout::default());
    for sample in samples {
        let (_, histogram) = sample.unwrap();
        assert!(histogram.is_stale());
        assert_eq!((histogram.count, histogram.positive.len()), (0.0, 0));
    }
}

#[test]
fn stale_histograms_have_no_hint_even_among_gauges() {
    let stale = hinted(Gauge, FloatHistogram::stale());
    let chunk = chunk(&[hinted(Gauge, float(&[span(0, 1)], &[1.0])), stale]);
    let hints: Vec<_> = decode::<f64>(&chunk.finish())
        .into_iter()
        .map(|(_, h)| h.hint)
        .collect();
    assert_eq!(hints, [Gauge, Unknown]);
}

#[test]
fn the_first_hint_is_unknown_whatever_the_flag_says() {
    let histogram = int(&[span(0, 1)], &[1]);
    for flag in [Unknown, CounterReset, NotCounterReset] {
        let mut chunk = HistogramAppender::begin_with_flag(flag, 0, &histogram).unwrap();
        chunk.append(1, &mut histogram.clone()).unwrap();
        assert_eq!(chunk.flag(), flag);
        let data = chunk.finish();
        assert_eq!(header_flag(&data), Ok(flag));
        let hints: Vec<_> = decode::<i64>(&data).into_iter().map(|(_, h)| h.hint).collect();
        assert_eq!(hints, [Unknown, NotCounterReset]);
    }
}

#[test]
fn a_chunk_holds_65535_histograms() {
    let mut histogram = Histogram::default();
    let mut chunk = HistogramAppender::begin(0, &histogram).unwrap();
    for t in 1..65535 {
        assert_eq!(chunk.append(t, &mut histogram), Ok(Appended::Extended));
    }
    assert_eq!(chunk.append(0, &mut histogram), Err(AppendError::Full));
    assert_eq!(decode::<i64>(&chunk.finish()).len(), 65535);
}

#[test]
fn buckets_beyond_the_data_are_refused_before_anything_is_allocated() {
    let mut writer = crate::bits::BitWriter::new(vec![0, 1, 0]);
    layout::write_layout(&mut writer, &layout(&[span(0, u32::MAX), span(0, u32::MAX)]));
    let data = writer.finish();
    let mut samples = HistogramIter::<i64>::new(&data).unwrap();
    let error = samples.next().unwrap().unwrap_err();
    assert!(error.what.contains("8589934590 buckets announced"), "{error}");
    assert!(samples.next().is_none());
}
