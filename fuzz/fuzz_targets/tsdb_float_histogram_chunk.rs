#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sabre_tsdb::fuzz::float_histogram_chunk(data));
