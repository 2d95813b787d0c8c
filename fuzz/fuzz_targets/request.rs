//! Feeds `request` of the crate `hostile`. Decides nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::run("request", bytes));
