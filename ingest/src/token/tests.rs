//! Which play tokens hold, and for how long.

use super::*;
use crate::grant::Site;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// In the middle of the life of a usual token: 2025-06-15T15:06:40Z.
const NOW_S: i64 = 1_750_000_000;
const NOW_MS: i64 = NOW_S * 1_000;

/// Made with Python's `cryptography`: seed 00 01 … 1f, `iat` 1750000000, `exp` 1750000300.
const GOLDEN: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6IjIwMjYtYSJ9.eyJpc3MiOiJodHRwczovL2ZpbG1zLmV4YW1wbGUiLCJzdWIiOiJhbGljZSIsImF1ZCI6IndhdGNoYmVhdCIsImlhdCI6MTc1MDAwMDAwMCwiZXhwIjoxNzUwMDAwMzAwfQ.KlgGg5UxPIsBWMGMsGRW8EE6R4Z64Ry8DS7KR_DA13vHw7x3cmrK4-hEsLvjRtAhR1YeYlp_9duY7DbxSeRDCQ";
/// The public key of that seed.
const GOLDEN_KEY: &str = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg";

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn public_key(seed: u8) -> PublicKey {
    PublicKey(pair(seed).public_key().as_ref().try_into().unwrap())
}

/// The public key of a seed as it stands in a keys file.
pub(crate) fn public_key_text(seed: u8) -> String {
    URL_SAFE_NO_PAD.encode(public_key(seed).0)
}

fn grant(site: &str) -> Arc<Grant> {
    Arc::new(Grant::open(Arc::new(Site::among_others(site))))
}

/// The key of seed 1 as `k`, with what its tokens must say.
fn issuers(issuer: Option<&str>, audience: Option<&str>) -> Issuers {
    let mut issuers = Issuers::default();
    let expected = Expected { issuer: issuer.map(str::to_owned), audience: audience.map(str::to_owned) };
    assert!(issuers.add("k".to_owned(), public_key(1), &expected, grant("films")));
    issuers
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token signed by the key of a seed, whatever its header says.
pub(crate) fn signed(seed: u8, header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(pair(seed).sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "JWT", "kid": "k"})
}

/// Whether a token with these claims holds for an issuer.
fn holds(issuers: &Issuers, claims: &Value) -> bool {
    issuers.permit(&signed(1, &header(), claims), NOW_MS).is_ok()
}

#[test]
fn a_token_made_with_python_names_site_and_user() {
    let mut issuers = Issuers::default();
    let expected =
        Expected { issuer: Some("https://films.example".to_owned()), audience: Some("watchbeat".to_owned()) };
    issuers.add("2026-a".to_owned(), PublicKey::parse(GOLDEN_KEY).unwrap(), &expected, grant("films"));
    for _ in 0..2 {
        let permit = issuers.permit(GOLDEN, NOW_MS).unwrap();
        assert_eq!((permit.grant.site.name.as_str(), permit.user_id.as_deref()), ("films", Some("alice")));
    }
    let forged = GOLDEN.replace("KlgGg5", "LlgGg5");
    assert_eq!(issuers.permit(&forged, NOW_MS).unwrap_err(), Denied::Unknown, "another signature");
    let (message, signature) = GOLDEN.rsplit_once('.').unwrap();
    let other = format!("{}.{signature}", message.replace("eyJpc3Mi", "eyJpc3Nj"));
    assert!(issuers.permit(&other, NOW_MS).is_err(), "other claims");
}

#[test]
fn only_ed25519_by_the_named_key_is_believed() {
    let issuers = issuers(None, None);
    let claims = json!({"exp": NOW_S + 60});
    for (header, is_right) in [
        (header(), true),
        (json!({"alg": "EdDSA", "kid": "k"}), true),
        (json!({"alg": "EdDSA"}), false),
        (json!({"alg": "EdDSA", "kid": "other"}), false),
        (json!({"alg": "none", "kid": "k"}), false),
        (json!({"alg": "HS256", "kid": "k"}), false),
        (json!({"alg": "ES256", "kid": "k"}), false),
        (json!({"alg": "RS256", "kid": "k"}), false),
        (json!({"kid": "k"}), false),
        (json!({"alg": "EdDSA", "kid": "k", "crit": ["exp"]}), false),
    ] {
        assert_eq!(issuers.permit(&signed(1, &header, &claims), NOW_MS).is_ok(), is_right, "{header}");
    }
    assert!(issuers.permit(&signed(2, &header(), &claims), NOW_MS).is_err(), "another key");
}

#[test]
fn a_token_without_a_signature_or_with_the_public_key_as_a_secret_is_refused() {
    let issuers = issuers(None, None);
    let claims = json!({"exp": NOW_S + 60});
    let unsigned = format!("{}.{}.", part(&json!({"alg": "none", "kid": "k"})), part(&claims));
    let unsigned_still = format!("{}.{}.", part(&header()), part(&claims));
    let message = format!("{}.{}", part(&json!({"alg": "HS256", "kid": "k"})), part(&claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public_key(1).0), message.as_bytes());
    let confused = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
    let right = signed(1, &header(), &claims);
    let padded = format!("{right}==");
    for token in [unsigned, unsigned_still, confused, padded, format!("{right}.a"), "a.b.c".into(), "..".into()] {
        assert!(issuers.permit(&token, NOW_MS).is_err(), "{token}");
    }
    let long = signed(1, &header(), &json!({"exp": NOW_S + 60, "more": "a".repeat(MAX_TOKEN_CHARS)}));
    assert!(issuers.permit(&long, NOW_MS).is_err(), "too long");
}

#[test]
fn a_token_holds_only_in_its_time() {
    let issuers = issuers(None, None);
    for (claims, is_right) in [
        (json!({"exp": NOW_S + 1}), true),
        (json!({"exp": NOW_S as f64 + 0.5}), true),
        (json!({"exp": NOW_S - 29}), true),
        (json!({"exp": NOW_S - 30}), false),
        (json!({"exp": -1}), false),
        (json!({"exp": 1e18}), true),
        (json!({"exp": 1e300}), false),
        (json!({"exp": (NOW_S + 60).to_string()}), false),
        (json!({"exp": null}), false),
        (json!({"iat": NOW_S}), false),
        (json!({}), false),
        (json!({"exp": NOW_S + 60, "nbf": NOW_S + 30, "iat": NOW_S + 30}), true),
        (json!({"exp": NOW_S + 60, "nbf": NOW_S + 31}), false),
        (json!({"exp": NOW_S + 60, "iat": NOW_S + 31}), false),
        (json!({"exp": NOW_S + 60, "nbf": "now"}), false),
        (json!({"exp": NOW_S + 60, "sub": null}), false),
        (json!({"exp": NOW_S + 60, "sub": 7}), false),
    ] {
        assert_eq!(holds(&issuers, &claims), is_right, "{claims}");
    }
}

#[test]
fn issuer_and_audience_must_be_those_that_are_configured() {
    let free = issuers(None, None);
    let bound = issuers(Some("films"), Some("watchbeat"));
    let exp = NOW_S + 60;
    for (claims, of_free, of_bound) in [
        (json!({"exp": exp}), true, false),
        (json!({"exp": exp, "iss": "anybody"}), true, false),
        (json!({"exp": exp, "aud": "watchbeat"}), false, false),
        (json!({"exp": exp, "iss": "films"}), true, false),
        (json!({"exp": exp, "iss": "films", "aud": "watchbeat"}), false, true),
        (json!({"exp": exp, "iss": "films", "aud": ["other", "watchbeat"]}), false, true),
        (json!({"exp": exp, "iss": "films", "aud": ["other"]}), false, false),
        (json!({"exp": exp, "iss": "songs", "aud": "watchbeat"}), false, false),
    ] {
        assert_eq!((holds(&free, &claims), holds(&bound, &claims)), (of_free, of_bound), "{claims}");
    }
}

#[test]
fn a_token_that_was_verified_dies_in_its_time() {
    let issuers = issuers(None, None);
    let token = signed(1, &header(), &json!({"exp": NOW_S + 60}));
    let dies_at = NOW_MS + 60_000 + TOKEN_LEEWAY_MS;
    for now_ms in [NOW_MS, dies_at - 1] {
        assert!(issuers.permit(&token, now_ms).is_ok());
    }
    assert_eq!(remembered(&issuers), 1);
    assert_eq!(issuers.permit(&token, dies_at).unwrap_err(), Denied::NotNow);
    assert_eq!(remembered(&issuers), 0, "it is forgotten");
}

#[test]
fn no_more_tokens_are_remembered_than_there_is_room_for() {
    let verified = Verified::default();
    let entry = Entry { permit: grant("films").into(), dies_at: NOW_MS + 1 };
    let hash_of = |number: usize| -> Hash { Sha256::digest(number.to_le_bytes()).into() };
    verified.put(hash_of(0), entry.clone());
    for number in 1..2 * MAX_VERIFIED_TOKENS {
        verified.put(hash_of(number), entry.clone());
        if number % 1_000 == 0 {
            assert!(verified.get(&hash_of(0), NOW_MS).is_some(), "what is used stays");
        }
    }
    let held: usize = verified.0.iter().map(|shard| held(&shard.lock().unwrap())).sum();
    assert!((MAX_VERIFIED_TOKENS / 2..=MAX_VERIFIED_TOKENS).contains(&held), "{held}");
    assert!(verified.get(&hash_of(1), NOW_MS).is_none());
}

fn remembered(issuers: &Issuers) -> usize {
    issuers.verified.0.iter().map(|shard| held(&shard.lock().unwrap())).sum()
}

fn held(shard: &Shard) -> usize {
    shard.young.len() + shard.old.len()
}
