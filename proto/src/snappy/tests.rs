use super::*;
use std::io::Write;
use tonic::Code;

fn compress(plain: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).expect("write");
    encoder.into_inner().expect("flush")
}

fn message(flag: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![flag];
    out.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
    out.extend(payload);
    out
}

#[test]
fn compressed_and_stored_messages_come_out_stored() {
    let plain = vec![7u8; 100_000];
    let body = [
        message(1, &compress(&plain)),
        message(0, b"as it is"),
        message(1, b""),
    ]
    .concat();
    let expected = [message(0, &plain), message(0, b"as it is"), message(0, b"")].concat();
    assert_eq!(
        decompress_messages(body.into(), 200_000).expect("valid"),
        expected
    );
}

#[test]
fn a_bomb_is_refused() {
    let body = message(1, &compress(&vec![0u8; 1 << 20]));
    let status = decompress_messages(body.into(), 1000).expect_err("too long");
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[test]
fn damaged_requests_are_invalid_arguments() {
    let whole = message(1, &compress(b"some text that is long enough"));
    for end in 1..whole.len() {
        let status = decompress_messages(whole[..end].to_vec().into(), 1000).expect_err("cut");
        assert_eq!(status.code(), Code::InvalidArgument, "{end}");
    }
    for bad in [message(2, b"x"), message(1, b"no snappy")] {
        let status = decompress_messages(bad.into(), 1000).expect_err("bad");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}
