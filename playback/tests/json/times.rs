//! The two times of a report: when the device says it was, and when it says it sent it.

use super::{RECEIVED_AT, check, report, verdict};
use expect_test::expect;
use playback::json;

#[test]
fn event_time_is_at_most_seven_days_old_and_five_minutes_ahead() {
    check(
        "event_time",
        &[
            "",
            "1749395200000",
            "1749395199999",
            "1750000300000",
            "1750000300001",
            "-9223372036854775808",
            "9223372036854775807",
            "9223372036854775808",
            "1.75e12",
            "\"1750000000000\"",
        ],
        expect![[r#"
             event_time_missing
            1749395200000 ok
            1749395199999 event_time_too_old
            1750000300000 ok
            1750000300001 event_time_in_future
            -9223372036854775808 event_time_too_old
            9223372036854775807 event_time_in_future
            9223372036854775808 event_time_invalid
            1.75e12 event_time_invalid
            "1750000000000" event_time_invalid
        "#]],
    );
}

#[test]
fn sent_at_lies_between_event_time_and_seven_days_later() {
    check(
        "sent_at",
        &[
            "null",
            "1750000000000",
            "1749999999999",
            "1750604800000",
            "1750604800001",
            "9223372036854775807",
            "-9223372036854775808",
            "\"x\"",
            "1.5",
        ],
        expect![[r#"
            null ok
            1750000000000 ok
            1749999999999 sent_at_before_event_time
            1750604800000 ok
            1750604800001 sent_at_too_late
            9223372036854775807 sent_at_too_late
            -9223372036854775808 sent_at_before_event_time
            "x" sent_at_invalid
            1.5 sent_at_invalid
        "#]],
    );
    // Further apart than an i64 can say.
    let raw = report(&[("event_time", "-9223372036854775808"), ("sent_at", "9223372036854775807")]);
    assert_eq!(verdict(&raw), "sent_at_too_late");
}

#[test]
fn sent_at_moves_the_event_time_to_the_gateways_clock() {
    for (device_time, sent_at, corrected) in [
        ("5000", "7500", RECEIVED_AT - 2_500),
        ("-5000", "-5000", RECEIVED_AT),
        ("9223372036854775806", "9223372036854775807", RECEIVED_AT - 1),
    ] {
        let report = report(&[("event_time", device_time), ("sent_at", sent_at)]);
        let heartbeat = json::heartbeat(&report, RECEIVED_AT).unwrap();
        assert_eq!((heartbeat.event_time, heartbeat.received_at), (corrected, RECEIVED_AT));
    }
}
