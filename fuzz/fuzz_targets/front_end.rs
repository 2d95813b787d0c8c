//! Feeds `front_end` of the crate `hostile`. Decides nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::run("front_end", bytes));
