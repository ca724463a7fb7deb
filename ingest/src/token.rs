//! Play tokens: short-lived JWTs that a site's own backend signs, so that a player needs no lasting key. EdDSA (Ed25519)
//! and nothing else; which public key counts is said by the token's `kid` and the keys file. A token is a secret as long as
//! it lives: it is never logged.

use crate::grant::{Denied, Grant, Permit};
use crate::limits::{MAX_TOKEN_CHARS, MAX_VERIFIED_TOKENS, TOKEN_LEEWAY_MS, TOKEN_SHARDS};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use ring::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, UnparsedPublicKey};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

/// Who may issue play tokens, by `kid`, and the tokens that were verified. Made anew when the keys file changes, so that
/// everything a public key has signed goes when the key goes.
#[derive(Default)]
pub(crate) struct Issuers {
    by_kid: HashMap<String, Issuer>,
    verified: Verified,
}

struct Issuer {
    key: DecodingKey,
    validation: Validation,
    grant: Arc<Grant>,
}

/// A raw Ed25519 public key.
pub(crate) struct PublicKey([u8; ED25519_PUBLIC_KEY_LEN]);

/// What the tokens of an issuer must say when it is configured.
pub(crate) struct Expected {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
}

/// What we read of a token ourselves. Times are seconds since the epoch, perhaps with a fraction.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
    #[serde(default, deserialize_with = "there")]
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "there")]
    iat: Option<f64>,
    #[serde(default, deserialize_with = "there")]
    sub: Option<Arc<str>>,
}

impl PublicKey {
    /// The key out of base64url without padding.
    pub(crate) fn parse(text: &str) -> Option<PublicKey> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(PublicKey)
    }
}

impl Issuers {
    /// Adds an issuer; `false` when its `kid` is there already.
    pub(crate) fn add(&mut self, kid: String, key: PublicKey, expected: &Expected, grant: Arc<Grant>) -> bool {
        // Once per process; whoever was first stays.
        let _ = PROVIDER.install_default();
        let issuer = Issuer { key: DecodingKey::from_ed_der(&key.0), validation: expected.validation(), grant };
        self.by_kid.insert(kid, issuer).is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_kid.len()
    }

    pub(crate) fn grant(&self, kid: &str) -> Option<&Arc<Grant>> {
        self.by_kid.get(kid).map(|issuer| &issuer.grant)
    }

    pub(crate) fn grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        self.by_kid.values().map(|issuer| &issuer.grant)
    }

    /// What a token allows. A signature is verified once.
    pub(crate) fn permit(&self, token: &str, now_ms: i64) -> Result<Permit, Denied> {
        if self.by_kid.is_empty() || token.len() > MAX_TOKEN_CHARS || token.matches('.').count() != 2 {
            return Err(Denied::Unknown);
        }
        let digest = Sha256::digest(token).into();
        if let Some(permit) = self.verified.get(&digest, now_ms) {
            return Ok(permit);
        }
        let (grant, claims) = self.verify(token).ok_or(Denied::Unknown)?;
        let dies_at = claims.dies_at(now_ms).ok_or(Denied::NotNow)?;
        let permit = Permit { grant: grant.clone(), user_id: claims.sub };
        self.verified.put(digest, Entry { permit: permit.clone(), dies_at });
        Ok(permit)
    }

    /// The claims of a token that an issuer has signed, and the grant that goes with them.
    fn verify(&self, token: &str) -> Option<(&Arc<Grant>, Claims)> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        // Extensions that must be understood: we understand none.
        if header.crit.is_some() {
            return None;
        }
        let issuer = self.by_kid.get(header.kid.as_deref()?)?;
        let claims: Claims = jsonwebtoken::decode(token, &issuer.key, &issuer.validation).ok()?.claims;
        Some((&issuer.grant, claims))
    }
}

impl Expected {
    /// What `jsonwebtoken` checks for us; the times we check ourselves, by our own clock. A token for an audience is refused
    /// when none is configured: it was made for somebody else.
    fn validation(&self) -> Validation {
        let mut validation = Validation::new(Algorithm::EdDSA);
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        for (claim, text) in [("iss", &self.issuer), ("aud", &self.audience)] {
            if text.is_some() {
                validation.required_spec_claims.insert(claim.to_owned());
            }
        }
        validation.iss = self.issuer.clone().map(|issuer| [issuer].into());
        validation.aud = self.audience.clone().map(|audience| [audience].into());
        validation
    }
}

impl Claims {
    /// When the token ends, ms since the epoch; `None` when it does not hold now.
    fn dies_at(&self, now_ms: i64) -> Option<i64> {
        let ms = |seconds: f64| (seconds * 1_000.0) as i64; // saturates
        let dies_at = ms(self.exp).saturating_add(TOKEN_LEEWAY_MS);
        let begins = [self.nbf, self.iat].into_iter().flatten();
        let has_begun = begins.into_iter().all(|begin| ms(begin).saturating_sub(TOKEN_LEEWAY_MS) <= now_ms);
        (has_begun && now_ms < dies_at).then_some(dies_at)
    }
}

/// A claim that is `null` does not count as absent: a token whose `sub` got lost must not be good for everybody.
fn there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Tokens that were verified, by the SHA-256 of their text. In two generations: when the young one is full the old one is
/// forgotten, and what is used moves to the young one, so that nothing is ever searched for room.
struct Verified([Mutex<Shard>; TOKEN_SHARDS]);

type Hash = [u8; 32];

#[derive(Default)]
struct Shard {
    young: HashMap<Hash, Entry>,
    old: HashMap<Hash, Entry>,
}

#[derive(Clone)]
struct Entry {
    permit: Permit,
    dies_at: i64,
}

impl Default for Verified {
    fn default() -> Verified {
        Verified(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Verified {
    fn get(&self, hash: &Hash, now_ms: i64) -> Option<Permit> {
        let mut shard = self.shard(hash).lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match shard.young.get(hash) {
            Some(entry) => entry.clone(),
            None => {
                let entry = shard.old.remove(hash)?;
                shard.put(*hash, entry.clone());
                entry
            }
        };
        if now_ms >= entry.dies_at {
            shard.young.remove(hash);
            return None;
        }
        Some(entry.permit)
    }

    fn put(&self, hash: Hash, entry: Entry) {
        self.shard(&hash).lock().unwrap_or_else(PoisonError::into_inner).put(hash, entry);
    }

    fn shard(&self, hash: &Hash) -> &Mutex<Shard> {
        &self.0[usize::from(hash[0]) % TOKEN_SHARDS]
    }
}

impl Shard {
    fn put(&mut self, hash: Hash, entry: Entry) {
        if self.young.len() >= MAX_VERIFIED_TOKENS / TOKEN_SHARDS / 2 {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(hash, entry);
    }
}

/// Ed25519 by `ring`, which is there for TLS; `jsonwebtoken` would bring a library of its own. It signs nothing.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| match (algorithm, key.family()) {
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => {
            let key = key.try_get_as_bytes()?.to_vec();
            Ok(Box::new(Ed25519(UnparsedPublicKey::new(&ED25519, key))))
        }
        _ => Err(Error::from(ErrorKind::UnsupportedAlgorithm)),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct Ed25519(UnparsedPublicKey<Vec<u8>>);

impl Verifier<Vec<u8>> for Ed25519 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.0.verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Ed25519 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
pub(crate) mod tests;
