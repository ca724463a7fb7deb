//! What a sender may do: its site, its web origins and its rates. Who gets which grant is said by the keys file.

use crate::limits::{MAX_BODIES_IN_FLIGHT_BYTES, SITE_SHARE};
use crate::meters;
use crate::rate::{Bucket, Exhausted, UserRates};
use metrics::Counter;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

/// What a request may do.
#[derive(Debug, Clone)]
pub(crate) struct Permit {
    pub(crate) grant: Arc<Grant>,
    /// The only user whose reports it may carry; said by a play token, never by a key.
    pub(crate) user_id: Option<Arc<str>>,
}

/// Why a request may do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Its key or play token is not known.
    Unknown,
    /// Its play token is right, and holds at another time: no guess.
    NotNow,
}

impl From<Arc<Grant>> for Permit {
    fn from(grant: Arc<Grant>) -> Permit {
        Permit { grant, user_id: None }
    }
}

/// What a key, or the play tokens of a public key, allow.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) site: Arc<Site>,
    /// Web origins it may be used from; `None` is all.
    pub(crate) allowed_origins: Option<Vec<String>>,
    pub(crate) rate: Option<Mutex<Bucket>>,
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

impl Grant {
    /// Everything for a site.
    pub(crate) fn open(site: Arc<Site>) -> Grant {
        Grant { site, allowed_origins: None, rate: None, user_rates: None }
    }

    /// Whether a page of this origin may use the key.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        self.allowed_origins.as_ref().is_none_or(|allowed| allowed.iter().any(|allowed| allowed == origin))
    }

    /// Takes reports off the key's rate. Taking 0 reports only asks whether anything is left: so a noisy sender is refused at the
    /// cost of a head.
    pub(crate) fn take(&self, reports: usize, now_ms: i64) -> Result<(), Exhausted> {
        match &self.rate {
            None => Ok(()),
            Some(bucket) => bucket.lock().unwrap_or_else(PoisonError::into_inner).take(reports, now_ms),
        }
    }

    /// Whether it can go on in the place of another, with the state of its rates.
    pub(crate) fn allows_the_same(&self, other: &Grant) -> bool {
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

impl Site {
    /// The site that there is when no keys are configured, with all the room.
    pub(crate) fn alone(name: &str) -> Site {
        Site::new(name, MAX_BODIES_IN_FLIGHT_BYTES)
    }

    /// One of several sites.
    pub(crate) fn among_others(name: &str) -> Site {
        Site::new(name, MAX_BODIES_IN_FLIGHT_BYTES / SITE_SHARE)
    }

    fn new(name: &str, max_bodies_bytes: u64) -> Site {
        Site { name: name.to_owned(), bodies: AtomicU64::new(0), max_bodies_bytes, accepted: meters::accepted_of(name) }
    }
}
