#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sabre_downsample::fuzz::aggregate_series(data));
