//! What a reader does with zstd from outside, and a writer with its own.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dispatcher::fuzzing::zstd(data));
