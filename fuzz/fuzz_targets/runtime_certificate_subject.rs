#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sabre_runtime::fuzz::certificate_subject(data));
