//! Snowplow batches.

use super::{Format, check, check_credit};
use expect_test::expect;

const FORMAT: Format = Format::Snowplow;

#[test]
fn a_player_that_plays() {
    check(
        FORMAT,
        fixture!("snowplow/playing.json"),
        "user_id=not-asked&territory=DE&device=not-asked",
        expect![[r#"
        ignored
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 0 viewer:40example.com film-1 at 7138805 pos 0 Paused of 3600120 DE web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 32 viewer:40example.com film-1 at 7139800 pos 0 Playing of 3600120 DE web
        ignored
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 930 viewer:40example.com film-1 at 7169800 pos 30012 Playing of 3600120 DE web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 930 viewer:40example.com film-1 at 7169800 pos 30012 Playing of 3600120 DE web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 1232 viewer:40example.com film-1 at 7179800 pos 40010 Playing rate 2000 of 3600120 DE web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 1830 viewer:40example.com film-1 at 7199800 pos 80010 Playing rate 2000 of 3600120 DE web
    "#]],
    );
}

#[test]
fn a_pause_and_a_seek() {
    check(
        FORMAT,
        fixture!("snowplow/pause_and_seek.json"),
        "",
        expect![[r#"
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 32 viewer:40example.com film-1 at 7139800 pos 0 Playing of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 331 viewer:40example.com film-1 at 7149800 pos 10000 Paused of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 930 viewer:40example.com film-1 at 7169800 pos 10000 Paused of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 1201 viewer:40example.com film-1 at 7178800 pos 10000 Seeking of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 1202 viewer:40example.com film-1 at 7178850 pos 50000 Paused of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 1232 viewer:40example.com film-1 at 7179800 pos 50000 Playing of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 1531 viewer:40example.com film-1 at 7189800 pos 60000 Buffering of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 1682 viewer:40example.com film-1 at 7194800 pos 60000 Playing of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 1830 viewer:40example.com film-1 at 7199800 pos 65000 Playing of 3600120 web
    "#]],
    );
}

#[test]
fn ads_are_sessions_of_their_own() {
    check(
        FORMAT,
        fixture!("snowplow/ads.json"),
        "",
        expect![[r#"
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 2 viewer:40example.com film-1 at 7109800 pos 0 Playing of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 301 viewer:40example.com film-1 at 7119800 pos 10000 Paused of 3600120 web
        0973c005bc6cb11f183171391f1a2766 0 viewer:40example.com ad-1 at 7119801 pos 0 Playing web ad ad-1 creative Some("creative-1") quartile 0
        0973c005bc6cb11f183171391f1a2766 1 viewer:40example.com ad-1 at 7123550 pos 0 Playing web ad ad-1 creative Some("creative-1") quartile 1
        0973c005bc6cb11f183171391f1a2766 2 viewer:40example.com ad-1 at 7127300 pos 0 Playing web ad ad-1 creative Some("creative-1") quartile 2
        0973c005bc6cb11f183171391f1a2766 2 viewer:40example.com ad-1 at 7127800 pos 0 Playing web ad ad-1 creative Some("creative-1") quartile 2
        0973c005bc6cb11f183171391f1a2766 3 viewer:40example.com ad-1 at 7131050 pos 0 Playing web ad ad-1 creative Some("creative-1") quartile 3
        0973c005bc6cb11f183171391f1a2766 4 viewer:40example.com ad-1 at 7134800 pos 0 Playing web ad ad-1 creative Some("creative-1") quartile 4
        3478f6954809c37cc22a8994a9b08e4d 0 viewer:40example.com ad-2 at 7134801 pos 0 Playing web ad ad-2 creative Some("creative-2") quartile 0
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 900 viewer:40example.com film-1 at 7139800 pos 10000 Paused of 3600120 web
        3478f6954809c37cc22a8994a9b08e4d 1 viewer:40example.com ad-2 at 7140300 pos 0 Playing web ad ad-2 creative Some("creative-2") quartile 1
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 917 viewer:40example.com film-1 at 7140301 pos 10000 Playing of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 1800 viewer:40example.com film-1 at 7169800 pos 39500 Playing of 3600120 web
        b2bc237574f25f0662d4201911d8a2c4 0 viewer:40example.com ad-3 at 7170800 pos 0 Playing web ad ad-3 creative Some("creative-3") quartile 0
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 2700 viewer:40example.com film-1 at 7199800 pos 69500 Playing of 3600120 web
    "#]],
    );
}

#[test]
fn the_end() {
    check(
        FORMAT,
        fixture!("snowplow/end.json"),
        "",
        expect![[r#"
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 107100 viewer:40example.com film-1 at 7169799 pos 3570100 Playing of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 108001 viewer:40example.com film-1 at 7199799 pos 3600120 Paused of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 108001 viewer:40example.com film-1 at 7199800 pos 3600120 Ended of 3600120 web
    "#]],
    );
}

#[test]
fn base64_and_a_label_that_is_no_id() {
    check(
        FORMAT,
        fixture!("snowplow/base64.json"),
        "",
        expect![[r#"
            5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 900 viewer:40example.com Gr:C3:B6:C3:9Fer:20als:20:E2:80:9Esieben:E2:80:9C:3E:3E:3E:3E:3E:3F:3F:3F:3F:3F at 7169800 pos 30012 Playing of 3600120 web
            5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 1800 viewer:40example.com Gr:C3:B6:C3:9Fer:20als:20:E2:80:9Esieben:E2:80:9C:3E:3E:3E:3E:3E:3F:3F:3F:3F:3F at 7199800 pos 60012 Playing of 3600120 web
        "#]],
    );
}

#[test]
fn a_session_longer_than_seq_has_room_for_goes_on_as_another() {
    check(
        FORMAT,
        fixture!("snowplow/long_session.json"),
        "",
        expect![[r#"
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 999099 viewer:40example.com film-1 at 7139800 pos 4000 Playing web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01:p1 0 viewer:40example.com film-1 at 7169800 pos 34000 Playing web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01:p1 900 viewer:40example.com film-1 at 7199800 pos 64000 Playing web
    "#]],
    );
}

#[test]
fn what_is_missing_is_refused_by_name() {
    check(
        FORMAT,
        fixture!("snowplow/missing.json"),
        "",
        expect![[r#"
        refused: session_id_missing
        refused: video_id_missing
        refused: video_id_missing
        refused: event_time_missing
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 30 5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 film-1 at 7199800 pos 1000 Playing of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01:w2915 264600 viewer:40example.com film-1 at 7199800 pos 1000 Playing of 3600120 web
        refused: session_id_missing
        refused: video_id_missing
        ignored
    "#]],
    );
}

#[test]
fn an_anonymous_viewer_is_who_the_address_says() {
    check(
        FORMAT,
        fixture!("snowplow/missing.json"),
        "user_id=a%40b.example",
        expect![[r#"
        refused: session_id_missing
        refused: video_id_missing
        refused: video_id_missing
        refused: event_time_missing
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 30 a:40b.example film-1 at 7199800 pos 1000 Playing of 3600120 web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01:w2915 264600 viewer:40example.com film-1 at 7199800 pos 1000 Playing of 3600120 web
        refused: session_id_missing
        refused: video_id_missing
        ignored
    "#]],
    );
}

#[test]
fn odd_values_cost_a_label_or_a_report() {
    check(
        FORMAT,
        fixture!("snowplow/odd_values.json"),
        "",
        expect![[r#"
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 30 viewer:40example.com film-1 at 7194800 pos 1000 Playing web
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 60 viewer:40example.com film-1 at 7195800 pos 1000 Playing web
        refused: position_ms_missing
        refused: position_ms_invalid
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 150 viewer:40example.com film-1 at 5000 pos 5000 Playing of 3600120 web
        refused: user_id_invalid
        refused: seq_invalid
    "#]],
    );
}

#[test]
fn an_event_that_cannot_be_read_costs_only_itself() {
    check(
        FORMAT,
        fixture!("snowplow/malformed_event.json"),
        "",
        expect![[r#"
        5a3c1d52-6a0f-4f7a-9d53-0d9a1a6b7c01 30 viewer:40example.com film-1 at 7199800 pos 1000 Playing of 3600120 web
        unreadable: malformed_json: the event's ue_pr is no JSON (1296 bytes)
        unreadable: malformed_json: the event's cx is no base64 (829 bytes)
        unreadable: not_an_object: an event is a JSON object (6 bytes)
    "#]],
    );
}

#[test]
fn a_body_that_cannot_be_read_is_a_dead_letter() {
    check(
        FORMAT,
        fixture!("snowplow/malformed_body.json"),
        "",
        expect![[r#"
        unreadable: malformed_json: the body is no Snowplow payload_data: EOF while parsing an object at line 2 column 0 (96 bytes)
    "#]],
    );
}

#[test]
fn what_is_credited_is_what_was_played() {
    check_credit(FORMAT, fixture!("snowplow/playing.json"), 80_010);
    check_credit(FORMAT, fixture!("snowplow/pause_and_seek.json"), 25_000);
    check_credit(FORMAT, fixture!("snowplow/ads.json"), 69_500);
    check_credit(FORMAT, fixture!("snowplow/end.json"), 30_020);
    check_credit(FORMAT, fixture!("snowplow/long_session.json"), 30_000);
}
