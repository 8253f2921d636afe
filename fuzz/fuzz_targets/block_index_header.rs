#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sabre_block::fuzz::index_header(data));
