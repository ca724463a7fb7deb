//! What the fuzzers found worth keeping, on every target, without a fuzzer.
#![allow(clippy::print_stdout)] // shown when it fails

use super::TARGETS;
use std::fs;
use std::path::Path;

#[test]
fn everything_in_the_corpora_keeps_the_promises() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let mut inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "there is nothing in {}", folder.display());
        for input in inputs {
            println!("{}", input.display());
            target(&fs::read(&input).unwrap());
        }
    }
}
