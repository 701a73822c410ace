//! Record batches, with their own checksums and with right ones.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dispatcher::fuzzing::record_batches(data));
