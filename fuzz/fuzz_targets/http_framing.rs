//! Connections, from the PROXY header to the last answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ingest::fuzzing::target("http_framing")(bytes));
