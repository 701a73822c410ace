//! The blobs of the consumer group protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dispatcher::fuzzing::consumer_protocol(data));
