//! The Protobuf form has the field numbers of `heartbeats.proto` and the bounds of the JSON form.
#![allow(clippy::unwrap_used)]

use playback::heartbeat::State;
use playback::message::{self, Ad, Heartbeat, Heartbeats};
use prost::Message;

const RECEIVED_AT: i64 = 1_750_000_000_000;

fn report() -> Heartbeat {
    Heartbeat {
        session_id: Some("s-1".into()),
        seq: Some(7),
        user_id: Some("user-1".into()),
        video_id: Some("v-1".into()),
        event_time: Some(RECEIVED_AT),
        position_ms: Some(60_000),
        ..Heartbeat::default()
    }
}

fn verdict(change: impl FnOnce(&mut Heartbeat)) -> &'static str {
    let mut report = report();
    change(&mut report);
    message::heartbeat(&report, RECEIVED_AT).map_or_else(|rejection| rejection.code.as_str(), |_| "ok")
}

#[test]
fn bounds_are_those_of_the_json_form() {
    assert_eq!(verdict(|_| {}), "ok");
    assert_eq!(verdict(|report| report.session_id = None), "session_id_missing");
    assert_eq!(verdict(|report| report.session_id = Some(String::new())), "session_id_invalid");
    assert_eq!(verdict(|report| report.seq = Some(-1)), "seq_invalid");
    assert_eq!(verdict(|report| report.user_id = Some("a b".into())), "user_id_invalid");
    assert_eq!(verdict(|report| report.event_time = Some(i64::MIN)), "event_time_too_old");
    assert_eq!(verdict(|report| report.sent_at = Some(i64::MAX)), "sent_at_too_late");
    assert_eq!(verdict(|report| report.position_ms = Some(i64::MAX)), "position_ms_invalid");
    assert_eq!(verdict(|report| report.from_ms = Some(0)), "interval_incomplete");
    assert_eq!(verdict(|report| report.state = Some(6)), "state_invalid");
    assert_eq!(verdict(|report| report.state = Some(-1)), "state_invalid");
    assert_eq!(verdict(|report| report.rate_thousandths = Some(62)), "ok");
    assert_eq!(verdict(|report| report.rate_thousandths = Some(61)), "rate_invalid");
    assert_eq!(verdict(|report| report.rate_thousandths = Some(16_001)), "rate_invalid");
    assert_eq!(verdict(|report| report.device = Some(String::new())), "device_invalid");
    assert_eq!(verdict(|report| report.ad = Some(Ad::default())), "ad_impression_id_missing");
}

#[test]
fn every_field_number_is_the_protos() {
    // Field by field as a player in another language writes it, in the order of the .proto.
    let golden = "0a51 0a03732d31 1007 1a06757365722d31 2203762d31 2880b883a1f732 30e0d403 3888b883a1f732 40d8ad03 \
                  48b027 5001 58dc0b 60c0cf24 6a024445 72027476 7a0e0a016912016c1a0163200228d00f 800100";
    let bytes = bytes_of(golden);
    let body = Heartbeats::decode(bytes.as_slice()).unwrap();
    assert_eq!(body.heartbeats.len(), 1);
    let heartbeat = message::heartbeat(&body.heartbeats[0], RECEIVED_AT).unwrap();
    assert_eq!((&*heartbeat.session_id, heartbeat.seq), ("s-1", 7));
    assert_eq!((&*heartbeat.user_id, &*heartbeat.video_id), ("user-1", "v-1"));
    assert_eq!((heartbeat.event_time, heartbeat.position_ms), (RECEIVED_AT - 8, 60_000));
    assert_eq!(heartbeat.played.map(|played| (played.from_ms, played.played_ms)), Some((55_000, 5_040)));
    assert_eq!((heartbeat.state, heartbeat.rate, heartbeat.duration_ms), (State::Paused, 1_500, Some(600_000)));
    assert_eq!((heartbeat.territory.as_deref(), heartbeat.device.as_deref()), (Some("DE"), Some("tv")));
    assert!(!heartbeat.consent);
    let ad = heartbeat.ad.unwrap();
    assert_eq!((&*ad.impression_id, &*ad.line_id, ad.creative_id.as_deref()), ("i", "l", Some("c")));
    assert_eq!((ad.quartile, ad.viewable_ms), (Some(2), Some(2_000)));
    assert_eq!(body.encode_to_vec(), bytes);
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
