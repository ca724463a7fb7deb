//! An account on disk: for a check that comes later, or that needs the accounts of several processes.

use super::rows::Labels;
use super::{Account, Disposition};
use crate::names::Names;
use crate::settings::LoadError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What a file begins with; another version is another word.
const MAGIC: &[u8] = b"watchbeat account 1\n";

/// What one process did in a run, and what is needed to find it in the tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountFile {
    pub(crate) run: String,
    pub(crate) site: String,
    pub(crate) territories: Vec<String>,
    pub(crate) devices: Vec<String>,
    /// Whether everything that was sent was taken: otherwise nothing can be judged.
    pub(crate) is_whole: bool,
    /// Reports of tries whose outcome is unknown: each may stand on the log once more.
    pub(crate) uncertain: u64,
    /// What the ledger said before the run, when the database was known.
    pub(crate) before: Option<BTreeMap<String, i64>>,
    pub(crate) account: Account,
}

impl AccountFile {
    /// Writes it, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), LoadError> {
        let failed = |reason: String| LoadError::AccountFile { path: path.display().to_string(), reason };
        let bytes = postcard::to_extend(self, MAGIC.to_vec()).map_err(|error| failed(error.to_string()))?;
        let mut begun = path.as_os_str().to_owned();
        begun.push(".begun"); // after all of the name: run.1 and run.2 are written at the same time
        std::fs::write(&begun, bytes)
            .and_then(|()| std::fs::rename(&begun, path))
            .map_err(|error| failed(error.to_string()))
    }

    /// Reads one.
    pub fn read(path: &Path) -> Result<AccountFile, LoadError> {
        let failed = |reason: String| LoadError::AccountFile { path: path.display().to_string(), reason };
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let bytes = bytes.strip_prefix(MAGIC).ok_or_else(|| failed("it is no account of this version".to_owned()))?;
        postcard::from_bytes(bytes).map_err(|error| failed(error.to_string()))
    }

    /// One account of the parts of a run.
    pub fn union(files: Vec<AccountFile>) -> Result<AccountFile, LoadError> {
        let mut files = files.into_iter();
        let mut whole = files.next().ok_or(LoadError::NoAccount)?;
        for part in files {
            let (one, other) = (whole.identity(), part.identity());
            if one != other {
                return Err(LoadError::OtherRun { one: whole.run, other: part.run });
            }
            if part.account.sessions.keys().any(|session| whole.account.sessions.contains_key(session)) {
                return Err(LoadError::SamePart { run: whole.run });
            }
            whole.is_whole &= part.is_whole;
            whole.uncertain += part.uncertain;
            whole.before = None; // nobody asked before all of them began
            whole.account.merge(part.account);
        }
        Ok(whole)
    }

    pub(crate) fn labels(&self) -> Labels {
        Labels {
            site: self.site.clone(),
            names: Names::new(&self.run),
            territories: self.territories.clone(),
            devices: self.devices.clone(),
        }
    }

    /// Heartbeats by disposition.
    pub(crate) fn totals(&self) -> BTreeMap<Disposition, u64> {
        let mut totals = BTreeMap::new();
        for ((_, disposition), count) in &self.account.ledger {
            *totals.entry(*disposition).or_default() += count;
        }
        totals
    }

    fn identity(&self) -> (&str, &str, &[String], &[String], bool) {
        (&self.run, &self.site, &self.territories, &self.devices, self.account.knows_times)
    }
}
