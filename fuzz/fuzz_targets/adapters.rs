//! Bodies in the formats of others.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ingest::fuzzing::target("adapters")(bytes));
