//! Play tokens: whoever holds a site's private key may send for it, and for the user that the token names.
#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use support::{Gateway, now_ms, report};

const TEXT: (&str, &str) = ("Content-Type", "text/plain");

/// The backend of a site: signs tokens.
struct Backend {
    kid: &'static str,
    pair: Ed25519KeyPair,
}

impl Backend {
    fn new(kid: &'static str, seed: u8) -> Backend {
        Backend { kid, pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap() }
    }

    /// Its entry in the keys file.
    fn entry(&self, site: &str) -> Value {
        json!({"public_key": URL_SAFE_NO_PAD.encode(self.pair.public_key()), "kid": self.kid, "site": site})
    }

    /// A token with these claims that ends in so many seconds.
    fn token(&self, ends_in_s: i64, more: &Value) -> String {
        let mut claims = json!({"iat": now_ms() / 1_000, "exp": now_ms() / 1_000 + ends_in_s});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid});
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// A gateway of one site, and a token of its backend with these claims that ends in so many seconds.
async fn gateway_and_token(ends_in_s: i64, claims: &Value) -> (Gateway, String) {
    let backend = Backend::new("k", 1);
    let gateway = Gateway::start(Some(&json!([backend.entry("a")]).to_string())).await;
    (gateway, backend.token(ends_in_s, claims))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_wherever_a_key_is() {
    let (old, new) = (Backend::new("old", 1), Backend::new("new", 2));
    let keys = json!([{"key": "key-a", "site": "a"}, old.entry("b"), new.entry("c")]).to_string();
    let gateway = Gateway::start(Some(&keys)).await;
    let stranger = Backend::new("new", 3).token(60, &json!({}));
    for (token, status) in [
        ("key-a".to_owned(), 202),
        (old.token(60, &json!({})), 202),
        (new.token(60, &json!({"sub": "u"})), 202),
        (new.token(-60, &json!({})), 401),
        (new.token(60, &json!({"nbf": now_ms() / 1_000 + 60})), 401),
        (stranger, 401),
        ("a.b.c".to_owned(), 401),
    ] {
        let (bearer, path) = (format!("Bearer {token}"), format!("/v1/beacon?key={token}"));
        let body = report(0, "");
        for (path, header) in [
            ("/v1/heartbeats", ("Authorization", bearer.as_str())),
            ("/v1/heartbeats", ("X-Watchbeat-Key", token.as_str())),
            (path.as_str(), ("X-None", "none")),
        ] {
            let answer = gateway.post(path, &[TEXT, header], body.as_bytes()).await;
            assert_eq!(answer.status, status, "{path} {header:?}");
            assert_eq!(answer.code(), if status == 401 { "unknown_key" } else { "" });
        }
    }
    let mut sites: Vec<String> = gateway.records(9).await.into_iter().map(|record| record.site).collect();
    sites.sort();
    assert_eq!(sites.concat(), "aaabbbccc");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_behind_a_crowded_address_learns_that_its_token_has_ended() {
    let (gateway, ended) = gateway_and_token(-60, &json!({})).await;
    for _ in 0..1_001 {
        let answer = gateway.post("/v1/heartbeats", &[TEXT, ("X-Watchbeat-Key", &ended)], b"").await;
        assert_eq!((answer.status, answer.code()), (401, "unknown_key"));
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_user_is_good_for_the_events_of_other_formats_too() {
    let (gateway, token) = gateway_and_token(60, &json!({"sub": "viewer@example.com"})).await;
    let event = format!("cid=\"v\",e=t,pt=5000,sid=\"s\",sn=1,sta=p,ts={},v=2", now_ms());
    let headers = [("Content-Type", "application/cmcd"), ("X-Watchbeat-Key", token.as_str())];
    for query in ["", "?user_id=viewer@example.com"] {
        let path = format!("/v1/adapters/cmcd{query}");
        assert_eq!(gateway.post(&path, &headers, event.as_bytes()).await.status, 204);
    }
    assert!(gateway.records(2).await.iter().all(|record| record.user_id == "viewer:40example.com"));
    gateway.post("/v1/adapters/cmcd?user_id=somebody", &headers, event.as_bytes()).await;
    assert_eq!(gateway.dead_letters(1).await[0]["code"], json!("user_not_allowed"));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_nobody_is_good_for_nobody() {
    let (gateway, token) = gateway_and_token(60, &json!({"sub": ""})).await;
    let event = format!("cid=\"v\",e=t,pt=5000,sid=\"s\",sn=1,sta=p,ts={},v=2", now_ms());
    let headers = [("Content-Type", "application/cmcd"), ("X-Watchbeat-Key", token.as_str())];
    gateway.post("/v1/adapters/cmcd?user_id=somebody", &headers, event.as_bytes()).await;
    assert_eq!(gateway.dead_letters(1).await[0]["code"], json!("user_not_allowed"));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_user_carries_the_reports_of_nobody_else() {
    let (gateway, token) = gateway_and_token(60, &json!({"sub": "u"})).await;
    let other = report(1, "").replace("\"user_id\":\"u\"", "\"user_id\":\"somebody\"");
    let body = [report(0, ""), other, report(2, "")].join("\n");
    let answer = gateway.post("/v1/heartbeats", &[TEXT, ("X-Watchbeat-Key", &token)], body.as_bytes()).await;
    assert_eq!((answer.status, answer.body["accepted"].as_u64()), (202, Some(2)));
    assert_eq!((answer.code(), answer.body["rejected"][0]["index"].as_u64()), ("user_not_allowed", Some(1)));
    let seqs: Vec<u32> = gateway.records(2).await.iter().map(|record| record.seq).collect();
    assert_eq!(seqs, [0, 2]);
    let letters = gateway.dead_letters(1).await;
    assert_eq!(
        (&letters[0]["code"], &letters[0]["report"]["user_id"]),
        (&json!("user_not_allowed"), &json!("somebody"))
    );
    gateway.stop().await.unwrap();
}
