#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sabre_objstore::fuzz::server_text(data));
