//! libFuzzer's entry to `checks::codec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| circus_fuzz::within_budget(
    data,
    circus_fuzz::checks::codec::check
));
