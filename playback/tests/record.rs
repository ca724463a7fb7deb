//! A record's bytes never change: what an older gateway wrote must be read for ever.
#![allow(clippy::unwrap_used)]

use playback::heartbeat::{Ad, Heartbeat, Played, State};
use playback::record::{self, Record};
use prost::Message;

fn full() -> Heartbeat<'static> {
    Heartbeat {
        session_id: "s-1".into(),
        seq: 7,
        user_id: "user-1".into(),
        video_id: "v-1".into(),
        event_time: 1_750_000_000_000,
        device_time: 1_750_000_000_000,
        received_at: 1_750_000_000_008,
        position_ms: 60_000,
        played: Some(Played { from_ms: 55_000, played_ms: 5_040 }),
        state: State::Paused,
        rate: 1_500,
        duration_ms: Some(600_000),
        territory: Some("DE".into()),
        device: Some("tv".into()),
        consent: true,
        ad: Some(Ad {
            impression_id: "i".into(),
            line_id: "l".into(),
            creative_id: Some("c".into()),
            quartile: Some(2),
            viewable_ms: Some(2_000),
        }),
    }
}

/// The value on the log, behind the key that it must have.
fn written(heartbeat: &Heartbeat<'_>) -> Vec<u8> {
    let (mut bytes, key_bytes) = record::written("shop", heartbeat);
    let value = bytes.split_off(key_bytes);
    assert_eq!(bytes, record::key("shop", &heartbeat.user_id));
    value
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_a_full_record_are_golden() {
    assert_eq!(
        hex(&written(&full())),
        "0a0473686f701206757365722d311a03732d312203762d3128073080b883a1f7323888b883a1f73240e0d40348d8ad0350b027580160dc0b68c0cf24720244457a02747682010e0a016912016c1a0163200228d00f"
    );
}

#[test]
fn the_bytes_of_the_least_record_are_golden() {
    let least = Heartbeat {
        played: None,
        state: State::Playing,
        rate: 1_000,
        duration_ms: None,
        territory: None,
        device: None,
        ad: None,
        ..full()
    };
    assert_eq!(
        hex(&written(&least)),
        "0a0473686f701206757365722d311a03732d312203762d3128073080b883a1f7323888b883a1f73240e0d403"
    );
}

#[test]
fn what_a_record_says_is_read_back() {
    for heartbeat in [
        full(),
        Heartbeat { played: Some(Played { from_ms: 0, played_ms: 1 }), ..full() },
        Heartbeat { played: None, rate: 62, state: State::Playing, ad: None, ..full() },
        Heartbeat { rate: 1_000, event_time: -1, ..full() },
    ] {
        let bytes = written(&heartbeat);
        let read = Record::decode(bytes.as_slice()).unwrap();
        assert_eq!(hex(&read.encode_to_vec()), hex(&bytes), "as the library writes it");
        assert_eq!((read.rate(), read.played()), (heartbeat.rate, heartbeat.played));
        assert_eq!(read.is_playing(), heartbeat.state == State::Playing);
        assert_eq!((read.event_time, read.received_at), (heartbeat.event_time, heartbeat.received_at));
    }
}

#[test]
fn no_site_and_user_share_a_key_with_others() {
    assert_eq!(record::key("a", "bc"), b"a\0bc");
    assert_ne!(record::key("a", "bc"), record::key("ab", "c"));
}
