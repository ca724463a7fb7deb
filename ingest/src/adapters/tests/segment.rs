//! Segment calls.

use super::{Format, check, check_credit};
use expect_test::expect;

const FORMAT: Format = Format::Segment;

#[test]
fn one_call() {
    check(
        FORMAT,
        fixture!("segment/track.json"),
        "territory=DE",
        expect![[r#"
        12345:w2915 264615 u-1 0129370 at 7199850 pos 10000 Playing of 3600000 DE
    "#]],
    );
}

#[test]
fn a_player_that_plays() {
    check(
        FORMAT,
        fixture!("segment/playing.json"),
        "",
        expect![[r#"
        ignored
        12345:w2915 264602 u-1 0129370 at 7169500 pos 0 Playing of 3600000
        12345:w2915 264615 u-1 0129370 at 7179500 pos 10000 Playing of 3600000
        12345:w2915 264630 u-1 0129370 at 7189500 pos 20000 Playing of 3600000
        ignored
        12345:w2915 264645 u-1 0129370 at 7199500 pos 30000 Playing of 3600000
        ignored
    "#]],
    );
}

#[test]
fn a_pause_and_a_seek() {
    check(
        FORMAT,
        fixture!("segment/pause_and_seek.json"),
        "",
        expect![[r#"
        12345:w2915 264630 u-1 0129370 at 7130000 pos 20000 Playing of 3600000
        12345:w2915 264637 u-1 0129370 at 7135000 pos 25000 Paused
        12345:w2915 264676 u-1 0129370 at 7160000 pos 25000 Seeking
        12345:w2915 264677 u-1 0129370 at 7160300 pos 60000 Playing
        12345:w2915 264692 u-1 0129370 at 7170000 pos 60000 Playing
        12345:w2915 264690 u-1 0129370 at 7170010 pos 60000 Playing of 3600000
        12345:w2915 264705 u-1 0129370 at 7180010 pos 70000 Playing of 3600000
        12345:w2915 264709 u-1 0129370 at 7182000 pos 72000 Buffering
        12345:w2915 264713 u-1 0129370 at 7185000 pos 72000 Playing
        12345:w2915 264721 u-1 0129370 at 7190000 pos 77000 Paused
    "#]],
    );
}

#[test]
fn positions_that_include_ads_are_ignored() {
    check(
        FORMAT,
        fixture!("segment/pause_with_ads_seen.json"),
        "",
        expect![[r#"
        12345:w2915 264630 u-1 0129370 at 7130000 pos 20000 Playing of 3600000
        ignored
        ignored
    "#]],
    );
}

#[test]
fn unless_the_address_says_that_they_do_not() {
    check(
        FORMAT,
        fixture!("segment/pause_with_ads_seen.json"),
        "playback_position=content",
        expect![[r#"
        12345:w2915 264630 u-1 0129370 at 7130000 pos 20000 Playing of 3600000
        12345:w2915 264637 u-1 0129370 at 7135000 pos 46000 Paused
        ignored
    "#]],
    );
}

#[test]
fn ads_are_sessions_of_their_own() {
    check(
        FORMAT,
        fixture!("segment/ads.json"),
        "",
        expect![[r#"
        12345:w2915 264645 u-1 0129370 at 7100000 pos 30000 Playing of 3600000
        1fccadf2ce8a1603aa55332baeb96d8a 0 u-1 ad123 at 7105000 pos 0 Playing ad ad123 creative None quartile 0
        1fccadf2ce8a1603aa55332baeb96d8a 1 u-1 ad123 at 7115000 pos 0 Playing ad ad123 creative None quartile 1
        1fccadf2ce8a1603aa55332baeb96d8a 3 u-1 ad123 at 7121000 pos 0 Playing ad ad123 creative None quartile 3
        1fccadf2ce8a1603aa55332baeb96d8a 4 u-1 ad123 at 7126000 pos 0 Playing ad ad123 creative None quartile 4
        87e059999b884c9380e2987c217e2939 0 u-1 ad097 at 7126100 pos 0 Playing ad ad097 creative None quartile 0
        12345:w2915 264692 u-1 0129370 at 7130000 pos 35000 Playing of 3600000
        12345:w2915 264705 u-1 0129370 at 7140000 pos 45000 Playing of 3600000
    "#]],
    );
}

#[test]
fn the_end() {
    check(
        FORMAT,
        fixture!("segment/end.json"),
        "",
        expect![[r#"
        12345:w2915 269985 u-1 0129370 at 7190000 pos 3590000 Playing of 3600000
        12345:w2915 270001 u-1 0129370 at 7200000 pos 3600000 Ended of 3600000
        ignored
    "#]],
    );
}

#[test]
fn a_call_forwarded_by_segment_has_its_time_corrected_already() {
    check(
        FORMAT,
        fixture!("segment/forwarded.json"),
        "",
        expect![[r#"
        12345:w2915 264615 u-1 0129370 at 10000 pos 10000 Playing of 3600000
    "#]],
    );
}

#[test]
fn a_call_by_hand() {
    check(
        FORMAT,
        fixture!("segment/no_script.json"),
        "",
        expect![[r#"
        12345:w2915 264615 u-1 0129370 at 7199800 pos 10500 Playing DE ios
    "#]],
    );
}

#[test]
fn what_is_missing_is_refused_by_name() {
    check(
        FORMAT,
        fixture!("segment/missing.json"),
        "",
        expect![[r#"
        refused: session_id_missing
        refused: video_id_missing
        refused: position_ms_missing
        refused: event_time_missing
        refused: user_id_missing
        12345:w2915 264615 4d1c1a90-5a5e-4b43-a5f2-333333333333 0129370 at 7190000 pos 10000 Playing of 3600000
        refused: video_id_missing
        refused: session_id_missing
    "#]],
    );
}

#[test]
fn odd_values_cost_a_label_or_a_report() {
    check(
        FORMAT,
        fixture!("segment/odd_values.json"),
        "",
        expect![[r#"
        12345:w2915 264615 u-1 0129370 at 7190000 pos 10500 Playing
        refused: position_ms_missing
        refused: position_ms_invalid
        12345:w2915 264624 u-1 129370 at 7196000 pos 16000 Playing of 3600000
        refused: event_time_missing
        1fccadf2ce8a1603aa55332baeb96d8a 0 u-1 ad123 at 7199000 pos 0 Playing ad ad123 creative None quartile 0
        refused: sent_at_before_event_time
    "#]],
    );
}

#[test]
fn an_event_that_cannot_be_read_costs_only_itself() {
    check(
        FORMAT,
        fixture!("segment/malformed_event.json"),
        "",
        expect![[r#"
        12345:w2915 264615 u-1 0129370 at 7190000 pos 10000 Playing of 3600000
        unreadable: not_an_object: a call is a JSON object (1 bytes)
        ignored
    "#]],
    );
}

#[test]
fn what_is_credited_is_what_was_played() {
    check_credit(FORMAT, fixture!("segment/playing.json"), 30_000);
    check_credit(FORMAT, fixture!("segment/pause_and_seek.json"), 22_000);
    check_credit(FORMAT, fixture!("segment/ads.json"), 15_000);
    check_credit(FORMAT, fixture!("segment/end.json"), 10_000);
}

const CONSENTS: &str = r#"{"batch": [
    {"event": "Video Content Playing", "userId": "u-1", "timestamp": "2025-11-20T11:59:50Z",
     "context": {"consent": {"categoryPreferences": {"Analytics": true, "Advertising": false}}},
     "properties": {"session_id": "1", "asset_id": "f", "position": 1}},
    {"event": "Video Content Playing", "userId": "u-1", "timestamp": "2025-11-20T11:59:55Z",
     "context": {}, "properties": {"session_id": "1", "asset_id": "f", "position": 6}},
    7]}"#;

/// With this query nobody has agreed.
fn check_without_consent(query: &str) {
    check(
        FORMAT,
        CONSENTS,
        query,
        expect![[r#"
        1:w2915 275385 u-1 f at 7190000 pos 1000 Playing without consent
        1:w2915 275391 u-1 f at 7195000 pos 6000 Playing without consent
        unreadable: not_an_object: a call is a JSON object (withheld)
    "#]],
    );
}

#[test]
fn consent_is_what_the_address_says() {
    check(
        FORMAT,
        CONSENTS,
        "consent=true",
        expect![[r#"
        1:w2915 275385 u-1 f at 7190000 pos 1000 Playing
        1:w2915 275391 u-1 f at 7195000 pos 6000 Playing
        unreadable: not_an_object: a call is a JSON object (1 bytes)
    "#]],
    );
    for query in ["consent=false", "consent=", "consent=false&consent=true", "consent=false&consent_category=Analytics"]
    {
        check_without_consent(query);
    }
}

#[test]
fn consent_is_that_of_the_category_which_the_address_names() {
    check(
        FORMAT,
        CONSENTS,
        "consent_category=Analytics",
        expect![[r#"
        1:w2915 275385 u-1 f at 7190000 pos 1000 Playing
        1:w2915 275391 u-1 f at 7195000 pos 6000 Playing without consent
        unreadable: not_an_object: a call is a JSON object (withheld)
    "#]],
    );
    for query in ["consent_category=Advertising", "consent_category=Advertising&consent_category=Analytics"] {
        check_without_consent(query);
    }
}
