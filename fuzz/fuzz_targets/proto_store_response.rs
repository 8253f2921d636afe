#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sabre_proto::fuzz::store_response(data));
