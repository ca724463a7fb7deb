//! Pseudonyms: what stands in the log instead of a user id once a pepper is set. Nobody keeps a table of who is who.

use arc_swap::{ArcSwap, Guard};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The peppers in use, from a file that is looked at again and again.
pub(crate) struct PepperFile {
    path: PathBuf,
    peppers: ArcSwap<Peppers>,
}

/// Bytes of the HMAC that are kept: 160 bits cannot collide by chance, and the id stays short.
const KEPT_BYTES: usize = 20;
/// Bytes of a pepper: the output length of the hash, more adds nothing.
const PEPPER_BYTES: usize = 32;

/// The peppers of all epochs, oldest first, never empty. No `Debug`: it would print secrets.
pub(crate) struct Peppers(Vec<Epoch>);

struct Epoch {
    number: u32,
    from: i64,
    keyed: Hmac<Sha256>,
}

/// Why a pepper file is refused; never says a pepper.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PepperError {
    #[error("cannot read the pepper file: {0}")]
    Read(String),
    #[error("the pepper file is not of the form {{\"epochs\":[{{\"epoch\",\"pepper\",\"from\"}}]}}, see line {0}")]
    Form(usize),
    #[error("the pepper file has no epoch, add one")]
    Empty,
    #[error("the pepper of epoch {0} is not base64 of 32 bytes, write it with `openssl rand -base64 32`")]
    Pepper(u32),
    #[error("epoch {0} does not come after the one before it, number and from must both grow")]
    Order(u32),
}

impl PepperFile {
    pub(crate) fn load(path: &Path) -> Result<PepperFile, PepperError> {
        Ok(PepperFile { path: path.to_owned(), peppers: ArcSwap::from_pointee(read(path)?) })
    }

    pub(crate) fn current(&self) -> Guard<Arc<Peppers>> {
        self.peppers.load()
    }

    /// Takes up what is new in the file. Nothing changes when it is not right.
    pub(crate) fn take_up(&self) -> Result<(), PepperError> {
        self.peppers.store(Arc::new(read(&self.path)?));
        Ok(())
    }
}

fn read(path: &Path) -> Result<Peppers, PepperError> {
    let text = std::fs::read_to_string(path).map_err(|error| PepperError::Read(error.to_string()))?;
    Peppers::parse(&text)
}

impl Peppers {
    /// Parses the content of a pepper file.
    pub(crate) fn parse(text: &str) -> Result<Self, PepperError> {
        // Only the line is kept: the parser's own message may quote a value, hence a pepper.
        let file: File = serde_json::from_str(text).map_err(|e| PepperError::Form(e.line()))?;
        let mut epochs: Vec<Epoch> = Vec::with_capacity(file.epochs.len());
        for line in file.epochs {
            if epochs.last().is_some_and(|last| last.number >= line.epoch || last.from >= line.from) {
                return Err(PepperError::Order(line.epoch));
            }
            let pepper = STANDARD.decode(&line.pepper).ok().filter(|bytes| bytes.len() == PEPPER_BYTES);
            let pepper = pepper.ok_or(PepperError::Pepper(line.epoch))?;
            let keyed = Hmac::new_from_slice(&pepper).expect("HMAC takes a key of any length");
            epochs.push(Epoch { number: line.epoch, from: line.from, keyed });
        }
        if epochs.is_empty() { Err(PepperError::Empty) } else { Ok(Self(epochs)) }
    }

    /// The pseudonym of a user in the epoch of a time (ms since the epoch); before the first epoch, the first holds.
    /// `device_time` is the time that the device gave its report: a report that is sent again keeps it, but neither the time of
    /// its receipt nor a time corrected by that. A refused report may have none; for the dead letters its receipt serves.
    pub(crate) fn pseudonym(&self, site: &str, user_id: &str, device_time: i64) -> String {
        let after = self.0.partition_point(|epoch| epoch.from <= device_time);
        let epoch = &self.0[after.saturating_sub(1)];
        let mut mac = epoch.keyed.clone();
        mac.update(site.as_bytes());
        mac.update(&[0]);
        mac.update(user_id.as_bytes());
        let digest = mac.finalize().into_bytes();
        format!("{}.{}", epoch.number, URL_SAFE_NO_PAD.encode(&digest[..KEPT_BYTES]))
    }

    /// The user id of a session whose viewer has not agreed to be recognised. Of the first epoch whatever the time, so that no
    /// session is cut in two when peppers are added; ids hold no zero byte, so it is never the pseudonym of a user.
    pub(crate) fn of_session(peppers: Option<&Peppers>, site: &str, user_id: &str, session_id: &str) -> String {
        let parts = [site.as_bytes(), &[0], user_id.as_bytes(), &[0], session_id.as_bytes()];
        let digest = match peppers {
            Some(Peppers(epochs)) => {
                let mut mac = epochs[0].keyed.clone();
                parts.iter().for_each(|part| mac.update(part));
                mac.finalize().into_bytes()
            }
            None => {
                let mut hash = Sha256::new();
                parts.iter().for_each(|part| hash.update(part));
                hash.finalize()
            }
        };
        format!("s.{}", URL_SAFE_NO_PAD.encode(&digest[..KEPT_BYTES]))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    epochs: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    epoch: u32,
    pepper: String,
    from: i64,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const FILE: &str = r#"{"epochs":[
        {"epoch":1,"pepper":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","from":0},
        {"epoch":2,"pepper":"ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=","from":1000}]}"#;

    #[test]
    fn pseudonyms_equal_those_computed_with_python() {
        let peppers = Peppers::parse(FILE).unwrap();
        for (received_at, expected) in [
            (-5, "1.pahtAZLzg9ut45OH4sLK-lb4jZw"),
            (0, "1.pahtAZLzg9ut45OH4sLK-lb4jZw"),
            (999, "1.pahtAZLzg9ut45OH4sLK-lb4jZw"),
            (1000, "2.RqWvvQuwnPoPEPCfiYAKmJOd2_I"),
        ] {
            assert_eq!(peppers.pseudonym("default", "alice", received_at), expected);
        }
    }

    #[test]
    fn a_broken_file_is_refused_without_naming_a_pepper() {
        let swapped = FILE.replace("\"from\":0", "\"from\":1000");
        for (text, expected) in [
            (r#"{"epochs":[]}"#, PepperError::Empty),
            (r#"{"epochs":[{"epoch":1,"pepper":"c2hvcnQ=","from":0}]}"#, PepperError::Pepper(1)),
            (swapped.as_str(), PepperError::Order(2)),
            ("{\n\"epochs\":\"secret\"}", PepperError::Form(2)),
        ] {
            let refused = Peppers::parse(text).err().unwrap();
            assert!(!refused.to_string().contains("secret"));
            assert_eq!(refused, expected);
        }
    }
}
