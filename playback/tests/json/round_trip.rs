//! Any valid heartbeat, written as JSON, is read back; and no text makes the parser fail.

use super::RECEIVED_AT;
use playback::heartbeat::{Ad, Heartbeat, Played, State};
use playback::json;
use proptest::prelude::*;
use std::borrow::Cow;

const ID: &str = "[A-Za-z0-9._:-]{1,64}";

fn any_ad() -> impl Strategy<Value = Ad<'static>> {
    let optional_id = proptest::option::of(ID);
    (ID, ID, optional_id, proptest::option::of(0u8..=4), proptest::option::of(0u32..=600_000)).prop_map(
        |(impression_id, line_id, creative_id, quartile, viewable_ms)| Ad {
            impression_id: impression_id.into(),
            line_id: line_id.into(),
            creative_id: creative_id.map(Cow::Owned),
            quartile,
            viewable_ms,
        },
    )
}

fn any_played() -> impl Strategy<Value = Played> {
    (0u32..=172_800_000, 1u32..=120_000).prop_map(|(from_ms, played_ms)| Played { from_ms, played_ms })
}

prop_compose! {
    fn any_heartbeat()(
        (session_id, user_id, video_id) in (ID, "[A-Za-z0-9._:-]{1,128}", "[A-Za-z0-9._:-]{1,128}"),
        (seq, position_ms) in (0u32..=1_000_000, 0u32..=172_800_000),
        event_time in RECEIVED_AT - 604_800_000..=RECEIVED_AT + 300_000,
        played in proptest::option::of(any_played()),
        state in 0usize..6,
        rate in 63u32..=16_000,
        duration_ms in proptest::option::of(1_000u32..=172_800_000),
        territory in proptest::option::of("[A-Z]{2}"),
        device in proptest::option::of("[ -~]{1,64}"),
        consent in any::<bool>(),
        ad in proptest::option::of(any_ad()),
    ) -> Heartbeat<'static> {
        let state = [State::Playing, State::Paused, State::Buffering, State::Seeking, State::Ended, State::Error][state];
        Heartbeat {
            session_id: session_id.into(), seq, user_id: user_id.into(), video_id: video_id.into(), event_time,
            device_time: event_time, received_at: RECEIVED_AT, position_ms, played, state, rate, duration_ms,
            territory: territory.map(Cow::Owned), device: device.map(Cow::Owned), consent, ad,
        }
    }
}

fn written(heartbeat: &Heartbeat<'_>) -> serde_json::Value {
    let state = ["playing", "paused", "buffering", "seeking", "ended", "error"][heartbeat.state as usize];
    serde_json::json!({
        "session_id": heartbeat.session_id,
        "seq": heartbeat.seq,
        "user_id": heartbeat.user_id,
        "video_id": heartbeat.video_id,
        "event_time": heartbeat.event_time,
        "position_ms": heartbeat.position_ms,
        "from_ms": heartbeat.played.map(|played| played.from_ms),
        "played_ms": heartbeat.played.map(|played| played.played_ms),
        "state": state,
        "rate": f64::from(heartbeat.rate) / 1_000.0,
        "duration_ms": heartbeat.duration_ms,
        "territory": heartbeat.territory,
        "device": heartbeat.device,
        "consent": (!heartbeat.consent).then_some(false),
        "ad": heartbeat.ad.as_ref().map(|ad| serde_json::json!({
            "impression_id": ad.impression_id,
            "line_id": ad.line_id,
            "creative_id": ad.creative_id,
            "quartile": ad.quartile,
            "viewable_ms": ad.viewable_ms,
        })),
    })
}

proptest! {
    #[test]
    fn a_valid_heartbeat_written_as_json_is_read_back(heartbeat in any_heartbeat()) {
        let value = written(&heartbeat);
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert_eq!(&json::heartbeat(&text, RECEIVED_AT).unwrap(), &heartbeat);
        }
    }

    #[test]
    fn no_text_makes_the_parser_fail(raw in ".{0,200}") {
        let _ = json::heartbeat(&raw, RECEIVED_AT);
    }
}
