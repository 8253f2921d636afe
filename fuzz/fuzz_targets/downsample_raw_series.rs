#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sabre_downsample::fuzz::raw_series(data));
