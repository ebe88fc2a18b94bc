//! libFuzzer's entry to `checks::ini`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| circus_fuzz::within_budget(data, circus_fuzz::checks::ini::check));
