//! Who may send, and for which site: the keys file, its checks, and the rate of each key. A key is a secret: it is never
//! logged, and errors name the entry by its place.

use crate::limits::{MAX_KEY_CHARS, MAX_SITE_CHARS};
use playback::validate::is_id;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The site that is open to everybody when no keys are configured.
const OPEN_SITE: &str = "default";

/// All keys of the gateway.
pub(crate) enum Keys {
    /// No keys file: everybody sends for one site.
    Open(Arc<Grant>),
    /// Only these keys.
    Closed(HashMap<String, Arc<Grant>>),
}

/// What a key allows.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) site: String,
    /// Web origins it may be used from; `None` is all.
    allowed_origins: Option<Vec<String>>,
    rate: Option<Mutex<Bucket>>,
}

/// One entry of the keys file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    site: String,
    allowed_origins: Option<Vec<String>>,
    reports_per_second: Option<u32>,
}

/// Why the keys file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("cannot read the keys file {path}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    #[error(
        "the keys file {path} is not an array of {{\"key\", \"site\", \"allowed_origins\"?, \"reports_per_second\"?}}: {place}"
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
            return Ok(Keys::Open(Arc::new(Grant { site: OPEN_SITE.to_owned(), allowed_origins: None, rate: None })));
        };
        let text = std::fs::read(path).map_err(|error| KeysError::Read { path: path.to_owned(), error })?;
        let keys = Keys::parse(&text, path)?;
        tracing::info!(keys = keys.len(), "keys loaded");
        Ok(keys)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Keys, KeysError> {
        // The decoder's own message could quote a key, so only the place is kept of it.
        let entries: Vec<Entry> = serde_json::from_slice(text).map_err(|error| KeysError::Parse {
            path: path.to_owned(),
            place: format!("line {}, column {}", error.line(), error.column()),
        })?;
        let mut grants = HashMap::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let refuse = |reason| KeysError::Entry { path: path.to_owned(), index, reason };
            if !(1..=MAX_KEY_CHARS).contains(&entry.key.len()) || !entry.key.bytes().all(|byte| byte.is_ascii_graphic())
            {
                return Err(refuse("a key is 1 to 128 printable ASCII characters without spaces"));
            }
            if !is_id(&entry.site, MAX_SITE_CHARS) {
                return Err(refuse("a site is 1 to 64 characters out of A-Z a-z 0-9 . _ : -"));
            }
            if entry.reports_per_second == Some(0) {
                return Err(refuse("reports_per_second is at least 1"));
            }
            let rate = entry.reports_per_second.map(|rate| Mutex::new(Bucket::new(rate)));
            let grant = Grant { site: entry.site, allowed_origins: entry.allowed_origins, rate };
            if grants.insert(entry.key, Arc::new(grant)).is_some() {
                return Err(refuse("its key is there already"));
            }
        }
        Ok(Keys::Closed(grants))
    }

    /// What the sender's key allows; `None` when it is not known.
    pub(crate) fn grant(&self, key: Option<&str>) -> Option<Arc<Grant>> {
        match self {
            Keys::Open(grant) => Some(grant.clone()),
            Keys::Closed(grants) => grants.get(key?).cloned(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Keys::Open(_) => 0,
            Keys::Closed(grants) => grants.len(),
        }
    }
}

impl Grant {
    /// Whether a page of this origin may use the key.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        self.allowed_origins.as_ref().is_none_or(|allowed| allowed.iter().any(|allowed| allowed == origin))
    }

    /// Takes reports off the key's rate, or says after how many seconds to try again.
    pub(crate) fn take(&self, reports: usize, now_ms: i64) -> Result<(), u64> {
        match &self.rate {
            None => Ok(()),
            Some(bucket) => bucket.lock().unwrap_or_else(PoisonError::into_inner).take(reports, now_ms),
        }
    }
}

/// A token bucket in thousandths of a report. It holds two seconds of its rate; a request may overdraw it once, so that
/// a large body is slowed down and not refused for ever.
struct Bucket {
    reports_per_second: i64,
    thousandths: i64,
    filled_at: i64,
}

impl Bucket {
    fn new(reports_per_second: u32) -> Bucket {
        let reports_per_second = i64::from(reports_per_second);
        Bucket { reports_per_second, thousandths: reports_per_second * 2_000, filled_at: 0 }
    }

    fn take(&mut self, reports: usize, now_ms: i64) -> Result<(), u64> {
        // A clock that was set back fills nothing and takes nothing; an hour fills any bucket.
        let elapsed_ms = (now_ms - self.filled_at).clamp(0, 3_600_000);
        self.filled_at = now_ms;
        let most = self.reports_per_second * 2_000;
        self.thousandths = (self.thousandths + elapsed_ms * self.reports_per_second).min(most);
        if self.thousandths <= 0 {
            let missing = 1 - self.thousandths;
            return Err((missing as u64).div_ceil(self.reports_per_second as u64 * 1_000));
        }
        self.thousandths -= reports as i64 * 1_000;
        Ok(())
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} reports/s", self.reports_per_second)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Keys, String> {
        Keys::parse(text.as_bytes(), Path::new("keys.json")).map_err(|error| error.to_string())
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
    fn a_rate_refuses_when_it_is_used_up_and_fills_again() {
        let keys = parse(r#"[{"key":"k","site":"a","reports_per_second":10}]"#).unwrap();
        let grant = keys.grant(Some("k")).unwrap();
        assert_eq!(grant.take(20, 1_000_000), Ok(()));
        assert_eq!(grant.take(1, 1_000_000), Err(1));
        assert_eq!(grant.take(1, 1_000_100), Ok(()));
        assert_eq!(grant.take(500, 1_000_200), Ok(()), "a large body overdraws once");
        assert_eq!(grant.take(1, 1_000_200), Err(50));
        assert_eq!(grant.take(1, 1_050_300), Ok(()));
    }
}
