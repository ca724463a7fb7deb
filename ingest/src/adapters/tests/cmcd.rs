//! CMCD lines.

use super::{Format, check, check_credit};
use expect_test::expect;

const FORMAT: Format = Format::Cmcd;

#[test]
fn a_player_that_plays() {
    check(
        FORMAT,
        fixture!("cmcd/playing.txt"),
        "user_id=u-1&territory=DE&device=tv",
        expect![[r#"
        ignored
        ignored
        6e2fb550-c457-11e9-bb97-0800200c9a66 2 u-1 film-1 at 900 pos 0 Playing DE tv
        6e2fb550-c457-11e9-bb97-0800200c9a66 3 u-1 film-1 at 30900 pos 30000 Playing DE tv
        6e2fb550-c457-11e9-bb97-0800200c9a66 4 u-1 film-1 at 60900 pos 60000 Playing DE tv
        6e2fb550-c457-11e9-bb97-0800200c9a66 5 u-1 film-1 at 70900 pos 70000 Playing rate 1500 DE tv
        6e2fb550-c457-11e9-bb97-0800200c9a66 6 u-1 film-1 at 90900 pos 100000 Playing rate 1500 DE tv
    "#]],
    );
}

#[test]
fn a_pause_and_a_seek() {
    check(
        FORMAT,
        fixture!("cmcd/pause_and_seek.txt"),
        "",
        expect![[r#"
        s-2 0 s-2 film-1 at 0 pos 0 Playing
        s-2 1 s-2 film-1 at 20000 pos 20000 Playing
        s-2 2 s-2 film-1 at 25000 pos 25000 Paused
        s-2 3 s-2 film-1 at 60000 pos 25000 Seeking
        s-2 4 s-2 film-1 at 65000 pos 60000 Playing
        s-2 5 s-2 film-1 at 70000 pos 65000 Buffering
        s-2 6 s-2 film-1 at 80000 pos 65000 Playing
        s-2 7 s-2 film-1 at 90000 pos 75000 Playing
    "#]],
    );
}

#[test]
fn ads_and_the_end() {
    check(
        FORMAT,
        fixture!("cmcd/ads_and_end.txt"),
        "",
        expect![[r#"
        s-3 0 s-3 film-1 at 0 pos 0 Playing
        s-3 1 s-3 film-1 at 10000 pos 10000 Paused
        s-3 2 s-3 film-1 at 10010 pos 10000 Paused
        s-3 3 s-3 film-1 at 25000 pos 10000 Paused
        s-3 4 s-3 film-1 at 25010 pos 10000 Paused
        s-3 5 s-3 film-1 at 40000 pos 10000 Paused
        s-3 6 s-3 film-1 at 40010 pos 10000 Playing
        s-3 7 s-3 film-1 at 60010 pos 30000 Ended
    "#]],
    );
}

#[test]
fn a_viewer_who_leaves() {
    check(
        FORMAT,
        fixture!("cmcd/quit.txt"),
        "",
        expect![[r#"
        s-4 8 s-4 film-1 at 0 pos 30000 Playing
        s-4 9 s-4 film-1 at 5000 pos 35000 Paused
    "#]],
    );
}

#[test]
fn lines_of_no_reporter() {
    check(
        FORMAT,
        fixture!("cmcd/hand_made.txt"),
        "",
        expect![[r#"
        session-id 1 session-id content-id at 0 pos 45000 Playing
        s-5:w2915 264645 s-5 10.5240:2FAB:20CD at 30000 pos 30000 Playing
        s-5:w2915 264691 s-5 10.5240:2FAB:20CD at 60000 pos 30000 Paused
    "#]],
    );
}

#[test]
fn what_is_missing_is_refused_by_name() {
    check(
        FORMAT,
        fixture!("cmcd/missing.txt"),
        "",
        expect![[r#"
        refused: session_id_missing
        refused: video_id_missing
        refused: event_time_missing
        refused: position_ms_missing
        refused: position_ms_invalid
        refused: video_id_missing
    "#]],
    );
}

#[test]
fn a_line_that_is_no_dictionary_costs_only_itself() {
    check(
        FORMAT,
        fixture!("cmcd/malformed.txt"),
        "",
        expect![[r#"
        unreadable: malformed_json: the line is no CMCD: expected start of key ('a'-'z' or '*') at index 0 (21 bytes)
        s-7 0 s-7 film-1 at 0 pos 30000 Playing
        unreadable: malformed_json: the line is no CMCD: unterminated string at index 24 (24 bytes)
    "#]],
    );
}

#[test]
fn what_is_credited_is_what_was_played() {
    check_credit(FORMAT, fixture!("cmcd/playing.txt"), 100_000);
    check_credit(FORMAT, fixture!("cmcd/pause_and_seek.txt"), 40_000);
    check_credit(FORMAT, fixture!("cmcd/ads_and_end.txt"), 30_000);
    check_credit(FORMAT, fixture!("cmcd/quit.txt"), 5_000);
}
