use proptest::prelude::*;

use super::*;

/// A reader of objects cut into windows of the given sizes.
fn reader(objects: &[Vec<u8>], sizes: &[usize]) -> WindowReader {
    let (sender, receiver) = mpsc::channel(1 << 12);
    let mut sizes = sizes.iter().cycle();
    for (object, bytes) in (0..).zip(objects) {
        let mut rest = Bytes::from(bytes.clone());
        let mut offset = 0;
        while !rest.is_empty() {
            let size = sizes.next().copied().unwrap_or(1).min(rest.len());
            let bytes = rest.split_to(size);
            let window = Window {
                object,
                offset,
                bytes,
            };
            offset += size as u64;
            sender.try_send(Ok(window)).unwrap();
        }
    }
    WindowReader::new(BlockId::default(), receiver)
}

#[test]
fn only_what_lies_across_a_border_is_copied() {
    let object: Vec<u8> = (0..100).collect();
    let mut reader = reader(&[object], &[50]);
    assert_eq!(reader.seek(0, 48).unwrap(), Place::Here);
    assert!(reader.gather(48, 5).unwrap());
    assert_eq!(reader.rest(48), [48, 49, 50, 51, 52]);
    // What was gathered ends within the second window, which is whole still.
    assert!(reader.gather(52, 6).unwrap());
    assert_eq!(reader.rest(52).len(), 48);
    assert_eq!(reader.read_bytes(), 100);
    assert_eq!(reader.seek(0, 10).unwrap(), Place::Behind);
}

#[test]
fn nothing_is_gathered_beyond_the_end_of_an_object() {
    let mut reader = reader(&[vec![1; 10], vec![2; 10]], &[7]);
    assert_eq!(reader.seek(0, 5).unwrap(), Place::Here);
    assert!(!reader.gather(5, 6).unwrap());
    assert_eq!(reader.rest(5), [1; 5]);
    assert!(reader.gather(5, 5).unwrap());
    assert_eq!(reader.seek(1, 0).unwrap(), Place::Here);
    assert!(reader.gather(0, 10).unwrap());
    assert_eq!(reader.rest(0), [2; 10]);
    assert_eq!(reader.seek(1, 10).unwrap(), Place::Beyond);
}

proptest! {
    #[test]
    fn what_is_gathered_is_what_the_object_has(
        sizes in proptest::collection::vec(1usize..40, 1..10),
        lens in proptest::collection::vec(0usize..300, 1..4),
        steps in proptest::collection::vec((0u64..20, 1u64..60), 1..60),
    ) {
        let objects: Vec<Vec<u8>> = lens.iter().map(|&len| (0..len).map(|i| (i * 7 % 251) as u8).collect()).collect();
        let mut reader = reader(&objects, &sizes);
        let mut steps = steps.into_iter();
        for (number, object) in (0..).zip(&objects) {
            let mut offset = 0;
            while offset < object.len() as u64 {
                let Some((step, needed)) = steps.next() else { return Ok(()) };
                prop_assert_eq!(reader.seek(number, offset).unwrap(), Place::Here);
                let rest = &object[offset as usize..];
                let is_whole = reader.gather(offset, needed).unwrap();
                prop_assert_eq!(is_whole, needed <= rest.len() as u64);
                let read = reader.rest(offset);
                prop_assert!(rest.starts_with(read));
                prop_assert!(read.len() as u64 >= needed.min(rest.len() as u64));
                offset += step;
            }
        }
    }
}
