//! What every stranger's bytes go through, as pure functions over bytes that panic when a promise is broken. The fuzzers in
//! `fuzz/` call them with bytes of their own making, and a test with all the bytes that were worth keeping. Compiled for
//! nothing else.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

mod bodies;
mod compression;
mod connections;
mod storage;
#[cfg(test)]
mod tests;
mod verdicts;

/// One thing to fuzz.
pub type Target = fn(&[u8]);

/// All of them, with the names of their corpora.
pub const TARGETS: [(&str, Target); 7] = [
    ("body_json", bodies::json),
    ("body_protobuf", bodies::protobuf),
    ("decompress", compression::decompress),
    ("http_framing", connections::http_framing),
    ("adapters", bodies::adapters),
    ("record", storage::record),
    ("spool_segment", storage::spool_segment),
];

/// The target of a name.
pub fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no target is called {name}")).1
}

/// A folder of its own for files that need not survive anything, in memory where the system has such a place.
fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("fuzzing").tempdir_in(place).unwrap()
}
