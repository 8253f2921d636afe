#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sabre_proto::fuzz::remote_read_stream(data));
