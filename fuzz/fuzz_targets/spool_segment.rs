//! Segments of the spool.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ingest::fuzzing::target("spool_segment")(bytes));
