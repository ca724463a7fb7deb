//! Compressed bodies.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ingest::fuzzing::target("decompress")(bytes));
