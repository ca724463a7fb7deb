//! The architecture as a test: who may depend on whom, where heavy dependencies live, and that files and documents keep
//! their form. It judges the folder tree and `cargo metadata`, never what the code does.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What everybody may use, and what depends on nothing of ours.
const GROUND: [&str; 4] = ["playback", "topic", "sql", "service"];

/// What runs, and meets the others only in bytes on a topic or rows in a table.
const RUNNABLE: [&str; 5] = ["ingest", "processor", "sink", "report", "loadgen"];

/// Heavy dependencies and the crates that may have them.
const HOMES: [(&str, &[&str]); 11] = [
    ("rdkafka", &["topic"]),
    ("fjall", &["topic"]),
    ("datafusion", &["processor"]),
    ("arrow", &["processor"]),
    ("deadpool-postgres", &["sql"]),
    ("tokio-postgres-rustls", &["sql"]),
    ("axum", &["report", "service"]),
    ("clap", &["watchbeat"]),
    ("anyhow", &["watchbeat", "benches"]),
    ("criterion", &[]), // for benchmarks only
    ("tokio-postgres", &["sql", "sink", "report", "loadgen", "watchbeat", "benches"]),
];

/// Documents, alerts and dashboards that name metrics.
const METRICS_NAMED_IN: [&str; 5] = [
    "docs/api.md",
    "docs/gateway.md",
    "docs/operations.md",
    "k8s/dashboards/gateway.json",
    "k8s/monitoring/rules.yaml",
];

/// No file is longer than a sitting.
const MAX_LINES: usize = 450;

#[test]
fn crates_depend_only_in_the_allowed_directions() {
    let dependencies = dependencies();
    let ours: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    let mut wrong = Vec::new();
    for (krate, uses) in &dependencies {
        for used in uses.iter().filter(|used| ours.contains(used.as_str())) {
            let ground = GROUND.contains(&used.as_str());
            let allowed = match krate.as_str() {
                krate if GROUND.contains(&krate) => false,
                krate if RUNNABLE.contains(&krate) => ground,
                "benches" => used != "watchbeat",
                "watchbeat" => ground || RUNNABLE.contains(&used.as_str()),
                _ => false,
            };
            if !allowed {
                wrong.push(format!("{krate} depends on {used}"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn heavy_dependencies_live_only_in_their_homes() {
    let mut wrong = Vec::new();
    for (krate, uses) in dependencies() {
        for (heavy, homes) in HOMES {
            match (uses.contains(heavy), homes.contains(&krate.as_str())) {
                (true, false) => wrong.push(format!("{krate} depends on {heavy}, whose home is {}", homes.join(", "))),
                (false, true) => wrong.push(format!("{krate} does not depend on {heavy}, take it off the list")),
                _ => {}
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let opens = |path: &PathBuf| fs::read_to_string(path).unwrap().starts_with("//!");
    let wrong: Vec<_> = rust_files().iter().filter(|path| !opens(path)).map(|path| relative(path)).collect();
    assert_none(&wrong);
}

#[test]
fn no_file_is_longer_than_a_sitting() {
    let mut wrong = Vec::new();
    for path in rust_files() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{} has {lines} lines, {MAX_LINES} is the limit", relative(&path)));
        }
    }
    assert_none(&wrong);
}

#[test]
fn paths_in_the_documents_exist() {
    let mut wrong = Vec::new();
    let pages = files(&root().join("docs"), ".md").iter().map(|path| relative(path)).collect::<Vec<_>>();
    for document in pages.iter().map(String::as_str).chain(["README.md", "ARCHITECTURE.md", "k8s/README.md"]) {
        for path in documented_paths(&fs::read_to_string(root().join(document)).unwrap()) {
            if !root().join(&path).exists() {
                wrong.push(format!("{document} names `{path}`"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_map_has_every_crate() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let crates = dependencies().into_keys().map(|krate| if krate == "watchbeat" { "cli".to_owned() } else { krate });
    let wrong: Vec<_> = crates.map(|krate| format!("| `{krate}` |")).filter(|row| !map.contains(row)).collect();
    assert_none(&wrong);
}

/// What operators are told to look at is there.
#[test]
fn every_metric_that_is_named_is_one_of_the_programs() {
    let sources =
        RUNNABLE.iter().chain(&GROUND).chain(&["cli"]).flat_map(|part| files(&root().join(part).join("src"), ".rs"));
    let known: BTreeSet<String> =
        sources.flat_map(|file| metric_names(&fs::read_to_string(file).unwrap(), "\"watchbeat_")).collect();
    let mut wrong = Vec::new();
    for file in METRICS_NAMED_IN {
        for name in metric_names(&fs::read_to_string(root().join(file)).unwrap(), "watchbeat_") {
            // What Prometheus makes of a histogram.
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            if !known.contains(base.unwrap_or(&name)) {
                wrong.push(format!("{file} names {name}, which is no metric"));
            }
        }
    }
    assert_none(&wrong);
}

/// Every word of a text that begins as the names of our metrics do; where it is declared, behind a quotation mark.
fn metric_names(text: &str, beginning: &str) -> BTreeSet<String> {
    let is_of_name = |character: &char| character.is_ascii_lowercase() || *character == '_';
    let words = text.match_indices(beginning).map(|(start, _)| text[start..].trim_start_matches('"'));
    words.map(|word| word.chars().take_while(is_of_name).collect()).collect()
}

/// What stands in backticks on one line, begins with a folder of the repository and is no pattern: `sql/views/`.
fn documented_paths(text: &str) -> BTreeSet<String> {
    let folders: BTreeSet<String> = folder_names();
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted
        .filter(|path| path.split_once('/').is_some_and(|(first, _)| folders.contains(first)))
        .filter(|path| path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)))
        .map(str::to_owned)
        .collect()
}

fn folder_names() -> BTreeSet<String> {
    let entries = fs::read_dir(root()).unwrap().map(Result::unwrap);
    let known = GROUND.iter().chain(&RUNNABLE).chain(&["cli", "benches", "k8s", "docs"]).map(ToString::to_string);
    entries
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "target" && name != ".git")
        .chain(known)
        .collect()
}

/// The direct dependencies of each crate of ours, without those of its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let of_package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        dependencies.filter(|dependency| dependency["kind"] != "dev").map(name).collect()
    };
    metadata["packages"].as_array().unwrap().iter().map(|package| (name(package), of_package(package))).collect()
}

fn rust_files() -> Vec<PathBuf> {
    files(&root(), ".rs")
}

/// The files under a folder whose names have this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                files.push(path);
            }
        }
    }
    assert!(!files.is_empty(), "the walk found no file");
    files.sort();
    files
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
