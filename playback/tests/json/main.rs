//! Which JSON reports are taken and which are refused, by code; and that what was written is what is read.
#![allow(clippy::unwrap_used)]

mod round_trip;
mod times;

use expect_test::{Expect, expect};
use playback::json;
use playback::record::{self, Record};
use playback::rejection::Code;
use playback::validate::is_ours;
use prost::Message;

const RECEIVED_AT: i64 = 1_750_000_000_000;

/// A valid report with `changes` on top: pairs of a field and its JSON text; empty text leaves the field out.
fn report(changes: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("session_id", "\"s-1\""),
        ("seq", "7"),
        ("user_id", "\"user-1\""),
        ("video_id", "\"v-1\""),
        ("event_time", "1750000000000"),
        ("position_ms", "60000"),
    ];
    for (name, text) in changes {
        fields.retain(|(kept, _)| kept != name);
        if !text.is_empty() {
            fields.push((name, text));
        }
    }
    let fields: Vec<String> = fields.iter().map(|(name, text)| format!("\"{name}\":{text}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// The code a report is refused with, or `ok`; what is taken must be a record of ours behind the log too.
fn verdict(raw: &str) -> &'static str {
    match json::heartbeat(raw, RECEIVED_AT) {
        Ok(heartbeat) => {
            let (bytes, key_bytes) = record::written("default", &heartbeat);
            assert!(is_ours(&Record::decode(&bytes[key_bytes..]).unwrap()), "{raw}");
            "ok"
        }
        Err(rejection) => {
            assert!(!rejection.detail.contains("user-1"), "a detail names the user: {}", rejection.detail);
            rejection.code.as_str()
        }
    }
}

/// One line per JSON text of a field: the text and the verdict on a report with it.
fn check(field: &str, texts: &[&str], expected: Expect) {
    let lines: String = texts.iter().map(|text| format!("{text} {}\n", verdict(&report(&[(field, text)])))).collect();
    expected.assert_eq(&lines);
}

/// A quoted string of `length` times the letter a.
fn letters(length: usize) -> String {
    format!("\"{}\"", "a".repeat(length))
}

#[test]
fn required_ids_are_short_strings_of_the_id_characters() {
    for (field, longest) in [("session_id", 64), ("user_id", 128), ("video_id", 128)] {
        let missing = format!("{field}_missing");
        let invalid = format!("{field}_invalid");
        for text in ["", "null"] {
            assert_eq!(verdict(&report(&[(field, text)])), missing, "{field}: {text}");
        }
        let too_long = letters(longest + 1);
        for text in
            ["1", "true", "[]", "{}", "\"\"", "\"a b\"", "\"ä\"", "\"a/b\"", "\"\\u0000\"", "\"\\ud800\"", &too_long]
        {
            assert_eq!(verdict(&report(&[(field, text)])), invalid, "{field}: {text}");
        }
        for text in ["\"a\"", "\"A.b_c:d-9\"", "\"\\u0061\"", &letters(longest)] {
            assert_eq!(verdict(&report(&[(field, text)])), "ok", "{field}: {text}");
        }
    }
}

#[test]
fn seq_is_an_integer_up_to_a_million() {
    check(
        "seq",
        &[
            "",
            "null",
            "0",
            "-0",
            "1000000",
            "1000001",
            "-1",
            "1.0",
            "1e3",
            "\"1\"",
            "true",
            "1e400",
            "9999999999999999999999999999999999999999",
        ],
        expect![[r#"
             seq_missing
            null seq_missing
            0 ok
            -0 ok
            1000000 ok
            1000001 seq_invalid
            -1 seq_invalid
            1.0 seq_invalid
            1e3 seq_invalid
            "1" seq_invalid
            true seq_invalid
            1e400 seq_invalid
            9999999999999999999999999999999999999999 seq_invalid
        "#]],
    );
}

#[test]
fn position_is_at_most_two_days_of_content() {
    check(
        "position_ms",
        &["", "null", "0", "172800000", "172800001", "-1", "0.5", "\"0\"", "[]"],
        expect![[r#"
             position_ms_missing
            null position_ms_missing
            0 ok
            172800000 ok
            172800001 position_ms_invalid
            -1 position_ms_invalid
            0.5 position_ms_invalid
            "0" position_ms_invalid
            [] position_ms_invalid
        "#]],
    );
}

#[test]
fn an_interval_has_both_ends_and_bounds() {
    let table: String = [
        ("0", "1"),
        ("172800000", "120000"),
        ("172800001", "5000"),
        ("-1", "5000"),
        ("1.0", "5000"),
        ("0", "0"),
        ("0", "120001"),
        ("0", "\"1\""),
        ("0", ""),
        ("", "5000"),
        ("null", "5000"),
        ("null", "null"),
    ]
    .iter()
    .map(|(from_ms, played_ms)| {
        format!("{from_ms},{played_ms} {}\n", verdict(&report(&[("from_ms", from_ms), ("played_ms", played_ms)])))
    })
    .collect();
    expect![[r#"
        0,1 ok
        172800000,120000 ok
        172800001,5000 from_ms_invalid
        -1,5000 from_ms_invalid
        1.0,5000 from_ms_invalid
        0,0 played_ms_invalid
        0,120001 played_ms_invalid
        0,"1" played_ms_invalid
        0, interval_incomplete
        ,5000 interval_incomplete
        null,5000 interval_incomplete
        null,null ok
    "#]]
    .assert_eq(&table);
}

#[test]
fn optional_fields_have_bounds_too() {
    check(
        "state",
        &["null", "\"playing\"", "\"error\"", "\"Playing\"", "\"\"", "0"],
        expect![[r#"
            null ok
            "playing" ok
            "error" ok
            "Playing" state_invalid
            "" state_invalid
            0 state_invalid
        "#]],
    );
    check(
        "duration_ms",
        &["null", "1000", "172800000", "999", "172800001", "1e6", "\"1000\""],
        expect![[r#"
            null ok
            1000 ok
            172800000 ok
            999 duration_ms_invalid
            172800001 duration_ms_invalid
            1e6 duration_ms_invalid
            "1000" duration_ms_invalid
        "#]],
    );
    check(
        "territory",
        &["null", "\"DE\"", "\"de\"", "\"DEU\"", "\"\"", "\"Ä\"", "49"],
        expect![[r#"
            null ok
            "DE" ok
            "de" territory_invalid
            "DEU" territory_invalid
            "" territory_invalid
            "Ä" territory_invalid
            49 territory_invalid
        "#]],
    );
    check(
        "device",
        &["null", "\"smart tv~\"", "\"\"", "\"a\\tb\"", "\"\\u007f\"", "\"é\"", "1", &letters(64), &letters(65)],
        expect![[r#"
            null ok
            "smart tv~" ok
            "" device_invalid
            "a\tb" device_invalid
            "\u007f" device_invalid
            "é" device_invalid
            1 device_invalid
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" ok
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" device_invalid
        "#]],
    );
}

#[test]
fn rate_is_kept_in_thousandths_rounded_half_to_even() {
    let rates = [
        "1",
        "1.0",
        "0.0625",
        "0.0624999",
        "16",
        "16.00001",
        "1.0005",
        "1.0015",
        "1.5e0",
        "2E0",
        "0.3335",
        "1e400",
        "-1",
        "0",
        "\"1\"",
        "true",
    ];
    let table: String = rates
        .iter()
        .map(|rate| match json::heartbeat(&report(&[("rate", rate)]), RECEIVED_AT) {
            Ok(heartbeat) => format!("{rate} {}\n", heartbeat.rate),
            Err(rejection) => format!("{rate} {rejection}\n"),
        })
        .collect();
    expect![[r#"
        1 1000
        1.0 1000
        0.0625 62
        0.0624999 rate_invalid: rate is a number from 0.0625 to 16 (in Protobuf rate_thousandths, 62 to 16000)
        16 16000
        16.00001 rate_invalid: rate is a number from 0.0625 to 16 (in Protobuf rate_thousandths, 62 to 16000)
        1.0005 1000
        1.0015 1002
        1.5e0 1500
        2E0 2000
        0.3335 334
        1e400 rate_invalid: rate is a number from 0.0625 to 16 (in Protobuf rate_thousandths, 62 to 16000)
        -1 rate_invalid: rate is a number from 0.0625 to 16 (in Protobuf rate_thousandths, 62 to 16000)
        0 rate_invalid: rate is a number from 0.0625 to 16 (in Protobuf rate_thousandths, 62 to 16000)
        "1" rate_invalid: rate is a number from 0.0625 to 16 (in Protobuf rate_thousandths, 62 to 16000)
        true rate_invalid: rate is a number from 0.0625 to 16 (in Protobuf rate_thousandths, 62 to 16000)
    "#]]
    .assert_eq(&table);
}

#[test]
fn an_ad_report_names_impression_and_line() {
    check(
        "ad",
        &[
            "null",
            "[]",
            "\"x\"",
            "{}",
            r#"{"impression_id":"i","line_id":"l"}"#,
            r#"{"impression_id":"i","line_id":"l","creative_id":"c","quartile":4,"viewable_ms":600000,"more":{}}"#,
            r#"{"impression_id":"i","line_id":"l","creative_id":null,"quartile":null,"viewable_ms":null}"#,
            r#"{"line_id":"l"}"#,
            r#"{"impression_id":"","line_id":"l"}"#,
            r#"{"impression_id":"i"}"#,
            r#"{"impression_id":"i","line_id":1}"#,
            r#"{"impression_id":"i","line_id":"l","creative_id":""}"#,
            r#"{"impression_id":"i","line_id":"l","quartile":5}"#,
            r#"{"impression_id":"i","line_id":"l","quartile":1.0}"#,
            r#"{"impression_id":"i","line_id":"l","viewable_ms":600001}"#,
            r#"{"impression_id":"i","line_id":"l","viewable_ms":-1}"#,
            r#"{"impression_id":"i","line_id":"l","line_id":"l"}"#,
        ],
        expect![[r#"
            null ok
            [] ad_invalid
            "x" ad_invalid
            {} ad_impression_id_missing
            {"impression_id":"i","line_id":"l"} ok
            {"impression_id":"i","line_id":"l","creative_id":"c","quartile":4,"viewable_ms":600000,"more":{}} ok
            {"impression_id":"i","line_id":"l","creative_id":null,"quartile":null,"viewable_ms":null} ok
            {"line_id":"l"} ad_impression_id_missing
            {"impression_id":"","line_id":"l"} ad_impression_id_invalid
            {"impression_id":"i"} ad_line_id_missing
            {"impression_id":"i","line_id":1} ad_line_id_invalid
            {"impression_id":"i","line_id":"l","creative_id":""} ad_creative_id_invalid
            {"impression_id":"i","line_id":"l","quartile":5} ad_quartile_invalid
            {"impression_id":"i","line_id":"l","quartile":1.0} ad_quartile_invalid
            {"impression_id":"i","line_id":"l","viewable_ms":600001} ad_viewable_ms_invalid
            {"impression_id":"i","line_id":"l","viewable_ms":-1} ad_viewable_ms_invalid
            {"impression_id":"i","line_id":"l","line_id":"l"} duplicate_field
        "#]],
    );
}

#[test]
fn what_is_no_object_or_no_json_is_told_apart() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (raw, code) in [
        ("[]", "not_an_object"),
        ("null", "not_an_object"),
        ("\"text\"", "not_an_object"),
        (nested.as_str(), "not_an_object"),
        ("", "malformed_json"),
        ("{", "malformed_json"),
        ("{}x", "malformed_json"),
        ("{} {}", "malformed_json"),
        ("{'seq':1}", "malformed_json"),
        ("{\"seq\":1,}", "malformed_json"),
        ("{\"seq\":NaN}", "malformed_json"),
        ("{\"seq\":01}", "malformed_json"),
        ("{\"seq\":1 /* one */}", "malformed_json"),
        ("\u{feff}{}", "malformed_json"),
        ("{}", "session_id_missing"),
        (r#"{"seq":1,"seq":1}"#, "duplicate_field"),
        (r#"{"seq":1,"s\u0065q":null}"#, "duplicate_field"),
    ] {
        assert_eq!(verdict(raw), code, "{}", &raw[..raw.len().min(40)]);
    }
    assert_eq!(verdict(&report(&[("unknown", &nested)])), "ok");
}

#[test]
fn codes_are_unique_and_written_alike() {
    let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert!(names.iter().all(|name| { name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') }));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Code::ALL.len());
}

#[test]
fn consent_is_a_boolean_and_given_unless_it_is_refused() {
    check(
        "consent",
        &["", "true", "false", "null", "\"false\"", "0", "{}", "[]", "fals"],
        expect![[r#"
             ok
            true ok
            false ok
            null ok
            "false" consent_invalid
            0 consent_invalid
            {} consent_invalid
            [] consent_invalid
            fals malformed_json
        "#]],
    );
    // The second form is not plain, since its session has an escape.
    for session_id in ["\"s-1\"", "\"s\\u002d1\""] {
        for (text, consent) in [("", true), ("null", true), ("true", true), ("false", false)] {
            let raw = report(&[("session_id", session_id), ("consent", text)]);
            assert_eq!(json::heartbeat(&raw, RECEIVED_AT).unwrap().consent, consent, "{raw}");
        }
    }
}

#[test]
fn the_fields_are_those_that_are_read() {
    let code = |report: String| json::heartbeat(&report, RECEIVED_AT).unwrap_err().code.as_str();
    for name in json::FIELDS {
        assert_eq!(code(format!(r#"{{"{name}":null,"{name}":null}}"#)), "duplicate_field", "{name}");
    }
    for name in json::AD_FIELDS {
        assert_eq!(code(format!(r#"{{"ad":{{"{name}":null,"{name}":null}}}}"#)), "duplicate_field", "{name}");
    }
    assert_ne!(code(r#"{"name":null,"name":null}"#.to_owned()), "duplicate_field");
}
