use proptest::prelude::*;

use super::*;

fn finished(write: impl FnOnce(&mut BitWriter)) -> Vec<u8> {
    let mut writer = BitWriter::new(Vec::new());
    write(&mut writer);
    let length = writer.len_bytes();
    let bytes = writer.finish();
    assert_eq!(bytes.len(), length);
    bytes
}

fn low(value: u64, width: u32) -> u64 {
    value & (u64::MAX >> (64 - width))
}

#[test]
fn the_last_byte_is_filled_with_zeros() {
    assert_eq!(finished(|writer| writer.write(0b101, 3)), [0b1010_0000]);
    assert_eq!(finished(|_| ()), [0u8; 0]);
    assert_eq!(finished(|writer| writer.write(u64::MAX, 64)), [0xff; 8]);
}

#[test]
fn signed_ranges_are_asymmetric() {
    assert_eq!(signed_from(0b1000, 4), 8, "the top bit alone is positive");
    assert_eq!(signed_from(0b1001, 4), -7);
    assert_eq!(signed_from(0b1111, 4), -1);
    assert_eq!(signed_from(0, 4), 0);
    assert!(fits_signed(8, 4) && fits_signed(-7, 4));
    assert!(!fits_signed(9, 4) && !fits_signed(-8, 4));
}

#[test]
fn varbit_widths_end_where_the_format_says() {
    for (value, bits) in [
        (0i64, 1),
        (1, 5),
        (4, 5),
        (-3, 5),
        (5, 9),
        (-4, 9),
        (32, 9),
        (33, 13),
        (-31, 9),
    ] {
        let mut writer = BitWriter::new(Vec::new());
        write_varbit_int(&mut writer, value);
        assert_eq!(writer.len_bytes(), (bits as usize).div_ceil(8), "{value}");
    }
    assert_eq!(finished(|writer| write_varbit_int(writer, 4)), [0b1010_0000]);
    assert_eq!(finished(|writer| write_varbit_uint(writer, 7)), [0b1011_1000]);
    assert_eq!(finished(|writer| write_varbit_int(writer, 1 << 55))[0], 0xfe);
    assert_eq!(finished(|writer| write_varbit_int(writer, -(1 << 55)))[0], 0xff);
    assert_eq!(finished(|writer| write_varbit_uint(writer, 1 << 56))[0], 0xff);
}

#[test]
fn behind_the_end_there_are_zeros_and_an_error() {
    for length in 0..20usize {
        let data = vec![0xff; length];
        let mut reader = BitReader::new("test", &data, 0);
        for i in 0..length * 8 + 130 {
            assert!(
                reader.check().is_ok() == (i <= length * 8),
                "{i} bits of {length} bytes"
            );
            assert_eq!(reader.bit(), i < length * 8);
        }
        assert_eq!(reader.check().unwrap_err().offset, length as u64);
    }
}

#[test]
fn a_window_of_more_than_64_bits_is_refused() {
    let data = finished(|writer| {
        writer.write(0b11, 2);
        writer.write(31, 5);
        writer.write(34, 6);
        writer.write(1, 64);
    });
    let mut field = XorField::starting_at(0);
    assert!(field.read_next(&mut BitReader::new("test", &data, 0)).is_err());
}

#[test]
fn a_uvarint_of_more_than_64_bits_is_refused() {
    assert!(BitReader::new("test", &[0xff; 12], 0).uvarint().is_err());
    assert!(
        BitReader::new("test", &[0x80, 0x80], 0).uvarint().is_err(),
        "ends early"
    );
}

fn widths_and_values() -> impl Strategy<Value = Vec<(u32, u64)>> {
    proptest::collection::vec((1u32..=64, any::<u64>()), 0..60)
}

proptest! {
    #[test]
    fn bits_round_trip(values in widths_and_values(), start in 0usize..3) {
        let mut writer = BitWriter::new(vec![7; start]);
        for &(width, value) in &values {
            writer.write(low(value, width), width);
        }
        let data = writer.finish();
        let mut reader = BitReader::new("test", &data, start);
        for &(width, value) in &values {
            prop_assert_eq!(reader.read(width), low(value, width));
        }
        prop_assert!(reader.check().is_ok());
        prop_assert!(reader.remaining() < 8);
    }

    #[test]
    fn numbers_round_trip(values in proptest::collection::vec((any::<i64>(), 0u32..64), 0..60)) {
        let data = finished(|writer| for &(value, shift) in &values {
            write_varbit_int(writer, value >> shift);
            write_varbit_uint(writer, value.cast_unsigned() >> shift);
            writer.varint(value >> shift);
            writer.uvarint(value.cast_unsigned() >> shift);
        });
        let mut reader = BitReader::new("test", &data, 0);
        for &(value, shift) in &values {
            prop_assert_eq!(read_varbit_int(&mut reader), value >> shift);
            prop_assert_eq!(read_varbit_uint(&mut reader), value.cast_unsigned() >> shift);
            prop_assert_eq!(reader.varint(), Ok(value >> shift));
            prop_assert_eq!(reader.uvarint(), Ok(value.cast_unsigned() >> shift));
        }
    }

    #[test]
    fn many_numbers_are_read_as_one_by_one(
        values in proptest::collection::vec((any::<i64>(), prop_oneof![0u32..64, 58u32..64]), 0..80),
        start in 0u32..8,
        cut in 0usize..40,
    ) {
        let mut data = finished(|writer| {
            (0..start).for_each(|_| writer.bit(true));
            values.iter().for_each(|&(value, shift)| write_varbit_int(writer, value >> shift));
        });
        let mut places = vec![0; values.len()];
        for cut in [0, cut] {
            data.truncate(data.len().saturating_sub(cut));
            let (mut one_by_one, mut at_once) = (BitReader::new("test", &data, 0), BitReader::new("test", &data, 0));
            one_by_one.skip(start);
            at_once.skip(start);
            varbit::read_varbit_ints(&mut at_once, &mut places, |place, value| *place = value);
            for (place, (value, shift)) in places.iter().zip(&values) {
                prop_assert_eq!(*place, read_varbit_int(&mut one_by_one));
                prop_assert!(cut > 0 || *place == value >> shift);
            }
            prop_assert_eq!(at_once.position(), one_by_one.position());
        }
    }

    #[test]
    fn floats_round_trip(bits in proptest::collection::vec((any::<u64>(), 0u32..64), 1..60)) {
        let values: Vec<f64> = bits.iter().map(|&(bits, shift)| f64::from_bits(bits >> shift)).collect();
        let data = finished(|writer| {
            let mut field = XorField::write_first(writer, values[0]);
            values[1..].iter().for_each(|&value| field.write_next(writer, value));
        });
        let mut reader = BitReader::new("test", &data, 0);
        let mut field = XorField::read_first(&mut reader);
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                field.read_next(&mut reader).unwrap();
            }
            prop_assert_eq!(field.value().to_bits(), value.to_bits());
        }
        prop_assert!(reader.check().is_ok());
    }
}
