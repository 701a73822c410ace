//! What a reader does with lz4 from outside, and a writer with its own.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dispatcher::fuzzing::lz4(data));
