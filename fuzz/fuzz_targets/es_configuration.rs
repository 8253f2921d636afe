#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sabre_es_retention::fuzz::configuration(data));
