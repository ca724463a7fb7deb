//! What operators are told to look at is there: every metric that documents, alerts and dashboards name is one of the program's.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const NAMED_IN: [&str; 5] = [
    "docs/api.md",
    "docs/gateway.md",
    "docs/operations.md",
    "k8s/dashboards/gateway.json",
    "k8s/monitoring/rules.yaml",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every word of a text that begins as the names of our metrics do.
fn names(text: &str) -> BTreeSet<String> {
    let is_of_name = |character: char| character.is_ascii_lowercase() || character == '_';
    text.match_indices("watchbeat_")
        .map(|(start, _)| text[start..].chars().take_while(|character| is_of_name(*character)).collect())
        .collect()
}

fn sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(names(&std::fs::read_to_string(path).unwrap()));
        }
    }
}

#[test]
fn every_metric_that_is_named_is_there() {
    let mut known = BTreeSet::new();
    ["ingest", "processor", "sink", "report", "service"]
        .iter()
        .for_each(|part| sources(&root().join(part).join("src"), &mut known));
    for file in NAMED_IN {
        for name in names(&std::fs::read_to_string(root().join(file)).unwrap()) {
            // What Prometheus makes of a histogram.
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            assert!(known.contains(base.unwrap_or(&name)), "{file} names {name}, which is no metric");
        }
    }
}
