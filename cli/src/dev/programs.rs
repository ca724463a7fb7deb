//! Where PostgreSQL's programs are on this machine, and which of several versions it must be: a cluster belongs to the one that made it.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with `postgres` and `initdb`.
struct Programs {
    folder: PathBuf,
    version: Version,
}

/// What clusters are told apart by: 16, or 9.6.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(Vec<u32>);

/// The folder of the programs for `cluster`: those of its version. If the cluster is still to be made: the first on the path,
/// else the newest where distributions put them.
pub(super) fn find(cluster: &Path) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<_> = std::env::split_paths(&path).filter_map(Programs::of).collect();
    let mut installed: Vec<_> = ["/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt"]
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Programs::of(entry.ok()?.path().join("bin")))
        .collect();
    installed.sort_by(|one, other| other.version.cmp(&one.version));
    found.extend(installed);
    match fs::read_to_string(cluster.join("PG_VERSION")) {
        Ok(text) => of_version(found, Version::of(&text).context("the cluster's PG_VERSION is no version")?),
        Err(_) => found.into_iter().next().map(|programs| programs.folder).context(
            "PostgreSQL's programs (postgres, initdb) are not on this machine. Install them (Debian: apt-get install postgresql; \
             Fedora: dnf install postgresql-server; macOS: brew install postgresql), put their folder on PATH, or name a running \
             database with --database-url",
        ),
    }
}

/// The first of this version.
fn of_version(found: Vec<Programs>, version: Version) -> Result<PathBuf> {
    let others: Vec<_> = found.iter().map(|programs| programs.version.to_string()).collect();
    let Some(programs) = found.into_iter().find(|programs| programs.version == version) else {
        bail!(
            "the data directory is of PostgreSQL {version}, whose programs are not on this machine (found: {}). Install that version, put \
             its folder on PATH, or take another --data-dir",
            if others.is_empty() { "none".to_owned() } else { others.join(", ") }
        );
    };
    Ok(programs.folder)
}

impl Programs {
    fn of(folder: PathBuf) -> Option<Programs> {
        let are_there = ["postgres", "initdb"].iter().all(|program| folder.join(program).is_file());
        let version = if are_there { version_of(folder.join("postgres").as_os_str())? } else { return None };
        Some(Programs { folder, version })
    }
}

/// What the program says: `postgres (PostgreSQL) 16.3 (Debian 16.3-1)`.
fn version_of(program: &OsStr) -> Option<Version> {
    let said = Command::new(program).arg("--version").output().ok()?;
    Version::of(std::str::from_utf8(&said.stdout).ok()?.split_once("(PostgreSQL) ")?.1)
}

impl Version {
    /// Of the number that a text begins with. Since 10 its first part says it all.
    fn of(text: &str) -> Option<Version> {
        let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
        let parts = text[..end].split('.').map(str::parse).collect::<Result<Vec<u32>, _>>().ok()?;
        let told_by = if parts[0] < 10 { 2 } else { 1 };
        Some(Version(parts.into_iter().take(told_by).collect()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::of(text).unwrap()
    }

    #[test]
    fn versions_are_numbers_and_since_10_the_first_one_tells_clusters_apart() {
        let cases = [("16.3 (Debian 16.3-1)", "16"), ("17beta1", "17"), ("9.6.24", "9.6"), ("15\n", "15")];
        for (text, expected) in cases {
            assert_eq!(version(text).to_string(), expected);
        }
        assert!(version("9.6") < version("15") && version("15") < version("16"));
        assert_eq!(Version::of("devel"), None);
    }

    #[test]
    fn a_cluster_gets_the_programs_of_its_version_or_a_line_that_says_which_are_missing() {
        let find = |wanted: &str| {
            let programs = |text: &str| Programs { folder: text.into(), version: version(text) };
            of_version(["17", "9.6", "15"].map(programs).into(), version(wanted)).map_err(|error| error.to_string())
        };
        assert_eq!(find("15"), Ok("15".into()));
        assert_eq!(find("9.6"), Ok("9.6".into()));
        let said = find("16").unwrap_err();
        assert!(
            said.starts_with(
                "the data directory is of PostgreSQL 16, whose programs are not on this machine (found: 17, 9.6, 15)."
            ),
            "{said}"
        );
    }
}
