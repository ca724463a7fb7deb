//! Who may send, and for which site: the keys file, its checks, and what each key allows. A key is a secret: it is never
//! logged, and errors name the entry by its place. Keys are looked up by hash and not compared byte by byte, so how long
//! that takes says nothing about them.

use crate::limits::{MAX_BODIES_IN_FLIGHT_BYTES, MAX_KEY_CHARS, MAX_SITE_CHARS, SITE_SHARE};
use crate::meter;
use crate::rate::{Bucket, UserRates};
use arc_swap::ArcSwap;
use metrics::Counter;
use playback::validate::is_id;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The site that is open to everybody when no keys are configured.
const OPEN_SITE: &str = "default";

/// All keys of the gateway.
pub(crate) enum Keys {
    /// No keys file: everybody sends for one site.
    Open(Arc<Grant>),
    /// Only the keys of this file, as it was when it was last right.
    Closed { path: PathBuf, text: Mutex<Vec<u8>>, grants: ArcSwap<Grants> },
}

type Grants = HashMap<String, Arc<Grant>>;

/// What a key allows.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) site: Arc<Site>,
    /// Web origins it may be used from; `None` is all.
    allowed_origins: Option<Vec<String>>,
    rate: Option<Mutex<Bucket>>,
    pub(crate) user_rates: Option<UserRates>,
}

/// What all keys of a site share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: String,
    /// Bytes of its bodies in memory, and how many it may have: a noisy site must leave room for the others.
    pub(crate) bodies: AtomicU64,
    pub(crate) max_bodies_bytes: u64,
    /// Its accepted reports.
    pub(crate) accepted: Counter,
}

/// One entry of the keys file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    site: String,
    allowed_origins: Option<Vec<String>>,
    reports_per_second: Option<u32>,
    reports_per_second_per_user: Option<u32>,
}

/// Why the keys file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("cannot read the keys file {path}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    #[error(
        "the keys file {path} is not an array of {{\"key\", \"site\", \"allowed_origins\"?, \"reports_per_second\"?, \"reports_per_second_per_user\"?}}: {place}"
    )]
    Parse { path: PathBuf, place: String },
    #[error("entry {index} of the keys file {path}: {reason}")]
    Entry { path: PathBuf, index: usize, reason: &'static str },
}

impl Keys {
    /// Reads the keys file; without one there is one open site, and a warning.
    pub(crate) fn load(path: Option<&Path>) -> Result<Keys, KeysError> {
        let Some(path) = path else {
            tracing::warn!(site = OPEN_SITE, "no keys are configured: everybody may send, set --keys to change that");
            let site = Arc::new(Site::new(OPEN_SITE.to_owned(), MAX_BODIES_IN_FLIGHT_BYTES));
            return Ok(Keys::Open(Arc::new(Grant { site, allowed_origins: None, rate: None, user_rates: None })));
        };
        let text = read(path)?;
        let grants = parse(&text, path, &Grants::new())?;
        tracing::info!(keys = grants.len(), "keys loaded");
        Ok(Keys::Closed { path: path.to_owned(), text: Mutex::new(text), grants: ArcSwap::from_pointee(grants) })
    }

    /// Takes up what is new in the keys file, looking `every` so often. A file that is not right is told once and changes
    /// nothing. Never ends.
    pub(crate) async fn keep_current(&self, every: Duration) {
        let mut told = None;
        loop {
            tokio::time::sleep(every).await;
            match self.look_again() {
                Ok(()) => told = None,
                Err(error) => {
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        tracing::warn!(error, "keeping the keys in use, the new ones cannot be used");
                    }
                    told = Some(error);
                }
            }
        }
    }

    fn look_again(&self) -> Result<(), KeysError> {
        let Keys::Closed { path, text, grants } = self else { return Ok(()) };
        let found = read(path)?;
        let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
        if *text != found {
            let new = parse(&found, path, &grants.load())?;
            tracing::info!(keys = new.len(), "using new keys");
            grants.store(Arc::new(new));
            *text = found;
        }
        Ok(())
    }

    /// What the sender's key allows; `None` when it is not known.
    pub(crate) fn grant(&self, key: Option<&str>) -> Option<Arc<Grant>> {
        match self {
            Keys::Open(grant) => Some(grant.clone()),
            Keys::Closed { grants, .. } => grants.load().get(key?).cloned(),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeysError> {
    std::fs::read(path).map_err(|error| KeysError::Read { path: path.to_owned(), error })
}

/// The grants of a keys file. What goes on unchanged keeps its state: its rate is not filled up by a new file.
fn parse(text: &[u8], path: &Path, before: &Grants) -> Result<Grants, KeysError> {
    // The decoder's own message could quote a key, so only the place is kept of it.
    let entries: Vec<Entry> = serde_json::from_slice(text).map_err(|error| KeysError::Parse {
        path: path.to_owned(),
        place: format!("line {}, column {}", error.line(), error.column()),
    })?;
    let mut sites: HashMap<String, Arc<Site>> =
        before.values().map(|grant| (grant.site.name.clone(), grant.site.clone())).collect();
    let mut grants = Grants::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let refuse = |reason| KeysError::Entry { path: path.to_owned(), index, reason };
        entry.check().map_err(refuse)?;
        let site = sites
            .entry(entry.site.clone())
            .or_insert_with(|| Arc::new(Site::new(entry.site.clone(), MAX_BODIES_IN_FLIGHT_BYTES / SITE_SHARE)));
        let (key, grant) = (entry.key.clone(), entry.grant(site.clone()));
        let grant = match before.get(&key) {
            Some(same) if same.allows_the_same(&grant) => same.clone(),
            _ => Arc::new(grant),
        };
        if grants.insert(key, grant).is_some() {
            return Err(refuse("its key is there already"));
        }
    }
    Ok(grants)
}

impl Entry {
    fn check(&self) -> Result<(), &'static str> {
        if !(1..=MAX_KEY_CHARS).contains(&self.key.len()) || !self.key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a key is 1 to 128 printable ASCII characters without spaces");
        }
        if !is_id(&self.site, MAX_SITE_CHARS) {
            return Err("a site is 1 to 64 characters out of A-Z a-z 0-9 . _ : -");
        }
        if self.reports_per_second == Some(0) {
            return Err("reports_per_second is at least 1");
        }
        if self.reports_per_second_per_user == Some(0) {
            return Err("reports_per_second_per_user is at least 1");
        }
        Ok(())
    }

    fn grant(self, site: Arc<Site>) -> Grant {
        Grant {
            site,
            allowed_origins: self.allowed_origins,
            rate: self.reports_per_second.map(|rate| Mutex::new(Bucket::new(rate))),
            user_rates: self.reports_per_second_per_user.map(UserRates::new),
        }
    }
}

impl Site {
    fn new(name: String, max_bodies_bytes: u64) -> Site {
        let accepted = meter::accepted_of(&name);
        Site { name, bodies: AtomicU64::new(0), max_bodies_bytes, accepted }
    }
}

impl Grant {
    /// Whether a page of this origin may use the key.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        self.allowed_origins.as_ref().is_none_or(|allowed| allowed.iter().any(|allowed| allowed == origin))
    }

    /// Takes reports off the key's rate, or says after how many seconds to try again. None at all asks whether there is
    /// anything left: a noisy sender is refused at the cost of a head.
    pub(crate) fn take(&self, reports: usize, now_ms: i64) -> Result<(), u64> {
        match &self.rate {
            None => Ok(()),
            Some(bucket) => bucket.lock().unwrap_or_else(PoisonError::into_inner).take(reports, now_ms),
        }
    }

    fn allows_the_same(&self, other: &Grant) -> bool {
        let rate = |grant: &Grant| {
            grant.rate.as_ref().map(|bucket| bucket.lock().unwrap_or_else(PoisonError::into_inner).reports_per_second())
        };
        let user_rate = |grant: &Grant| grant.user_rates.as_ref().map(UserRates::reports_per_second);
        self.site.name == other.site.name
            && self.allowed_origins == other.allowed_origins
            && rate(self) == rate(other)
            && user_rate(self) == user_rate(other)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Grants, String> {
        super::parse(text.as_bytes(), Path::new("keys.json"), &Grants::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn wrong_keys_files_are_refused_without_naming_a_key() {
        for (text, reason) in [
            ("{}", "is not an array"),
            (r#"[{"key":"secret"}]"#, "is not an array"),
            (r#"[{"key":"secret","site":"a","origins":[]}]"#, "is not an array"),
            (r#"["secret"]"#, "is not an array"),
            (r#"[{"key":"","site":"a"}]"#, "entry 0"),
            (r#"[{"key":"secret secret","site":"a"}]"#, "entry 0"),
            (r#"[{"key":"secret","site":"a b"}]"#, "a site is"),
            (r#"[{"key":"secret","site":"a","reports_per_second":0}]"#, "reports_per_second"),
            (r#"[{"key":"secret","site":"a"},{"key":"secret","site":"b"}]"#, "entry 1"),
        ] {
            let message = parse(text).err().unwrap();
            assert!(message.contains(reason) && !message.contains("secret"), "{text}: {message}");
        }
    }

    #[test]
    fn a_new_file_is_taken_up_and_a_wrong_one_is_not() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("keys.json");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write(r#"[{"key":"old","site":"a","reports_per_second":10},{"key":"other","site":"b"}]"#);
        let keys = Keys::load(Some(&path)).unwrap();
        assert_eq!(keys.grant(Some("old")).unwrap().take(20, 1_000_000), Ok(()));
        write(r#"[{"key":"old","site":"a","reports_per_second":10},{"key":"new","site":"a"}]"#);
        keys.look_again().unwrap();
        assert!(keys.grant(Some("old")).unwrap().take(1, 1_000_000).is_err(), "a new file fills no rate");
        let (old, new) = (keys.grant(Some("old")).unwrap(), keys.grant(Some("new")).unwrap());
        assert!(Arc::ptr_eq(&old.site, &new.site), "the keys of a site share it");
        assert!(keys.grant(Some("other")).is_none());
        write(r#"[{"key":"secret"}]"#);
        let error = keys.look_again().unwrap_err().to_string();
        assert!(!error.contains("secret"));
        assert!(keys.grant(Some("new")).is_some(), "the keys in use stay");
    }
}
