//! Who may send, and for which site: the keys file and its checks. A key is a secret: it is never logged, and errors name
//! the entry by its place. Keys are looked up by hash and not compared byte by byte, so how long that takes says nothing
//! about them.

use crate::grant::{Denied, Grant, Permit, Site};
use crate::limits::MAX_KEY_CHARS;
use crate::rate::{Bucket, UserRates};
use crate::token::{Expected, Issuers, PublicKey};
use arc_swap::ArcSwap;
use playback::validate::{SITE_CHARS, is_id};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The site that is open to everybody when no keys are configured.
const OPEN_SITE: &str = "default";

/// All keys of the gateway.
pub(crate) enum Keys {
    /// No keys file: everybody sends for one site.
    Open(Arc<Grant>),
    /// Only the senders that this file names, as it was when it was last valid.
    Closed { path: PathBuf, text: Mutex<Vec<u8>>, named: ArcSwap<Named> },
}

/// Whom a keys file names.
#[derive(Default)]
pub(crate) struct Named {
    keys: HashMap<String, Arc<Grant>>,
    issuers: Issuers,
}

/// One entry of the keys file: a key, or the public key of who issues play tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: Option<String>,
    public_key: Option<String>,
    kid: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    site: String,
    allowed_origins: Option<Vec<String>>,
    reports_per_second: Option<u32>,
    reports_per_second_per_user: Option<u32>,
}

/// Whom an entry names.
enum Sender {
    Key(String),
    Issuer { kid: String, public_key: PublicKey, expected: Expected },
}

/// Why the keys file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("cannot read the keys file {path}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    #[error(
        "the keys file {path} is not an array of {{\"key\" (or \"public_key\", \"kid\", \"issuer\"?, \"audience\"?), \"site\", \"allowed_origins\"?, \"reports_per_second\"?, \"reports_per_second_per_user\"?}}: {place}"
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
            return Ok(Keys::Open(Arc::new(Grant::open(Arc::new(Site::alone(OPEN_SITE))))));
        };
        let text = read(path)?;
        let named = parse(&text, path, &Named::default())?;
        tracing::info!(keys = named.keys.len(), issuers = named.issuers.len(), "keys loaded");
        Ok(Keys::Closed { path: path.to_owned(), text: Mutex::new(text), named: ArcSwap::from_pointee(named) })
    }

    /// Takes up what is new in the keys file. Nothing changes when it is not right.
    pub(crate) fn take_up(&self) -> Result<(), KeysError> {
        let Keys::Closed { path, text, named } = self else { return Ok(()) };
        let found = read(path)?;
        let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
        if *text != found {
            let new = parse(&found, path, &named.load())?;
            tracing::info!(keys = new.keys.len(), issuers = new.issuers.len(), "using new keys");
            named.store(Arc::new(new));
            *text = found;
        }
        Ok(())
    }

    /// What the sender's key or play token allows. Only what is no key is looked at as a token.
    pub(crate) fn permit(&self, key: Option<&str>, now_ms: impl FnOnce() -> i64) -> Result<Permit, Denied> {
        match self {
            Keys::Open(grant) => Ok(grant.clone().into()),
            Keys::Closed { named, .. } => {
                let (key, named) = (key.ok_or(Denied::Unknown)?, named.load());
                match named.keys.get(key) {
                    Some(grant) => Ok(grant.clone().into()),
                    None => named.issuers.permit(key, now_ms()),
                }
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeysError> {
    std::fs::read(path).map_err(|error| KeysError::Read { path: path.to_owned(), error })
}

/// Whom a keys file names. What goes on unchanged keeps its state: its rate is not filled up by a new file. Play tokens are
/// verified anew.
fn parse(text: &[u8], path: &Path, before: &Named) -> Result<Named, KeysError> {
    // The decoder's own message could quote a key, so only the place is kept of it.
    let entries: Vec<Entry> = serde_json::from_slice(text).map_err(|error| KeysError::Parse {
        path: path.to_owned(),
        place: format!("line {}, column {}", error.line(), error.column()),
    })?;
    let grants_before = before.keys.values().chain(before.issuers.grants());
    let mut sites: HashMap<String, Arc<Site>> =
        grants_before.map(|grant| (grant.site.name.clone(), grant.site.clone())).collect();
    let mut named = Named::default();
    for (index, entry) in entries.into_iter().enumerate() {
        let refuse = |reason| KeysError::Entry { path: path.to_owned(), index, reason };
        let sender = entry.sender().map_err(refuse)?;
        let site = sites.entry(entry.site.clone()).or_insert_with(|| Arc::new(Site::among_others(&entry.site))).clone();
        named.add(sender, entry.grant(site), before).map_err(refuse)?;
    }
    Ok(named)
}

impl Named {
    fn add(&mut self, sender: Sender, grant: Grant, before: &Named) -> Result<(), &'static str> {
        let same_before = match &sender {
            Sender::Key(key) => before.keys.get(key),
            Sender::Issuer { kid, .. } => before.issuers.grant(kid),
        };
        let grant = match same_before {
            Some(same) if same.allows_the_same(&grant) => same.clone(),
            _ => Arc::new(grant),
        };
        let is_new = match sender {
            Sender::Key(key) => self.keys.insert(key, grant).is_none(),
            Sender::Issuer { kid, public_key, expected } => self.issuers.add(kid, public_key, &expected, grant),
        };
        if is_new { Ok(()) } else { Err("its key or kid is there already") }
    }
}

impl Entry {
    /// Whom the entry names, when everything in it is right.
    fn sender(&self) -> Result<Sender, &'static str> {
        if !is_id(&self.site, SITE_CHARS) {
            return Err("a site is 1 to 64 characters out of A-Z a-z 0-9 . _ : -");
        }
        if self.reports_per_second == Some(0) {
            return Err("reports_per_second is at least 1");
        }
        if self.reports_per_second_per_user == Some(0) {
            return Err("reports_per_second_per_user is at least 1");
        }
        match (&self.key, &self.public_key, &self.kid) {
            (Some(_), None, None) if self.issuer.is_some() || self.audience.is_some() => {
                Err("issuer and audience belong to a public_key")
            }
            (Some(key), None, None) if is_printable(key) => Ok(Sender::Key(key.clone())),
            (Some(_), None, None) => Err("a key is 1 to 128 printable ASCII characters without spaces"),
            (None, Some(public_key), Some(kid)) if is_printable(kid) => {
                let public_key = PublicKey::parse(public_key)
                    .ok_or("a public_key is the 32 bytes of an Ed25519 key in base64url without padding")?;
                let expected = Expected { issuer: self.issuer.clone(), audience: self.audience.clone() };
                Ok(Sender::Issuer { kid: kid.clone(), public_key, expected })
            }
            (None, Some(_), Some(_)) => Err("a kid is 1 to 128 printable ASCII characters without spaces"),
            _ => Err("it has either a key or a public_key with its kid"),
        }
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

fn is_printable(text: &str) -> bool {
    (1..=MAX_KEY_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::tests::{public_key_text as public_key, signed};
    use serde_json::json;

    /// Any public key.
    const PUBLIC_KEY: &str = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg";
    const NOW_MS: i64 = 0;

    fn parse(text: &str) -> Result<Named, String> {
        super::parse(text.as_bytes(), Path::new("keys.json"), &Named::default()).map_err(|error| error.to_string())
    }

    fn grant(keys: &Keys, key: &str) -> Option<Arc<Grant>> {
        keys.permit(Some(key), || NOW_MS).ok().map(|permit| permit.grant)
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
            (r#"[{"key":"secret","site":"a","issuer":"b"}]"#, "belong to a public_key"),
            (r#"[{"site":"a"}]"#, "either a key or"),
            (r#"[{"key":"secret","kid":"k","site":"a"}]"#, "either a key or"),
            (r#"[{"public_key":"secret","site":"a"}]"#, "either a key or"),
            (r#"[{"public_key":"secret","kid":"k","site":"a"}]"#, "32 bytes"),
            (r#"[{"public_key":"secret","kid":"k k","site":"a"}]"#, "a kid is"),
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
        assert_eq!(grant(&keys, "old").unwrap().take(20, 1_000_000), Ok(()));
        write(r#"[{"key":"old","site":"a","reports_per_second":10},{"key":"new","site":"a"}]"#);
        keys.take_up().unwrap();
        assert!(grant(&keys, "old").unwrap().take(1, 1_000_000).is_err(), "a new file fills no rate");
        let (old, new) = (grant(&keys, "old").unwrap(), grant(&keys, "new").unwrap());
        assert!(Arc::ptr_eq(&old.site, &new.site), "the keys of a site share it");
        assert!(grant(&keys, "other").is_none());
        write(r#"[{"key":"secret"}]"#);
        let error = keys.take_up().unwrap_err().to_string();
        assert!(!error.contains("secret"));
        assert!(grant(&keys, "new").is_some(), "the keys in use stay");
    }

    #[test]
    fn two_public_keys_stand_side_by_side_by_their_kid() {
        let entry = |kid: &str| format!(r#"{{"public_key":"{PUBLIC_KEY}","kid":"{kid}","site":"a"}}"#);
        let named = parse(&format!("[{},{}]", entry("old"), entry("new"))).unwrap();
        assert_eq!(named.issuers.len(), 2);
        let twice = parse(&format!("[{},{}]", entry("old"), entry("old"))).err().unwrap();
        assert!(twice.contains("entry 1") && twice.contains("there already"), "{twice}");
    }

    #[test]
    fn tokens_of_a_public_key_end_with_it_and_those_of_another_go_on() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("keys.json");
        let entry = |seed: u8, kid: &str| {
            let public_key = public_key(seed);
            format!(r#"{{"public_key":"{public_key}","kid":"{kid}","site":"a","reports_per_second":10}}"#)
        };
        let write = |entries: &[String]| std::fs::write(&path, format!("[{}]", entries.join(","))).unwrap();
        let token = |seed: u8, kid: &str| signed(seed, &json!({"alg":"EdDSA","kid":kid}), &json!({"exp":60,"sub":"u"}));
        let (old, new) = (token(1, "old"), token(2, "new"));
        write(&[entry(1, "old")]);
        let keys = Keys::load(Some(&path)).unwrap();
        let permit = keys.permit(Some(&old), || 0).unwrap();
        assert_eq!((permit.grant.site.name.as_str(), permit.user_id.as_deref()), ("a", Some("u")));
        assert_eq!(permit.grant.take(20, 1_000_000), Ok(()));
        assert!(keys.permit(Some(&new), || 0).is_err());
        write(&[entry(1, "old"), entry(2, "new")]);
        keys.take_up().unwrap();
        assert!(grant(&keys, &old).unwrap().take(1, 1_000_000).is_err(), "a new file fills no rate");
        assert!(grant(&keys, &new).is_some());
        write(&[entry(2, "new")]);
        keys.take_up().unwrap();
        assert!(grant(&keys, &old).is_none(), "what was verified is forgotten");
        assert!(grant(&keys, &new).is_some());
        write(&[entry(3, "new")]);
        keys.take_up().unwrap();
        assert!(grant(&keys, &new).is_none(), "another key has the name");
    }
}
