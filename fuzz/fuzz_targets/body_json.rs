//! Bodies of JSON, JSON lines and text.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ingest::fuzzing::target("body_json")(bytes));
