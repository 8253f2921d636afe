#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sabre_runtime::fuzz::snappy_request(data));
