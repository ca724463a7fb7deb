//! The codec takes what it has made, and refuses everything that would break the sink.

use expect_test::expect;
use prost::Message;

use super::{CodecError, Encoder, decode, limits};
use crate::partial::{Kind, Ledger, Role};
use crate::spelt::{Column, Partial, Table};

/// Two rows with a key, a sum and a nullable replacement.
fn partial() -> Partial {
    let table = Table {
        name: "watch_sessions".into(),
        rows: 2,
        columns: vec![
            Column::texts("site", Role::Key, vec!["a", "b"]),
            Column::integers("gross_ms", Role::Sum, Kind::Integer, vec![-1, i64::MAX]),
            Column { nulls: vec![false, true], ..Column::texts("device", Role::Replace, vec!["tv", ""]) },
        ],
    };
    Partial {
        pipeline: "default".into(),
        partition: 3,
        from: 10,
        to: 12,
        clock: 1_700_000_000_000,
        fingerprint: "f".into(),
        ledger: Some(Ledger { credited: 12, ..Ledger::default() }),
        tables: vec![table],
    }
}

#[test]
fn a_partial_comes_back_as_it_was() {
    assert_eq!(Partial::from(&decode(&partial().encode()).unwrap()), partial());
}

/// Sinks of another build read what is on the topic already.
#[test]
fn a_partial_has_the_bytes_it_always_had() {
    let bytes = partial().pack().encode_to_vec();
    let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    expect!["0a0764656661756c741003180a200c2880d095ffbc313201663a02180c42720a0e77617463685f73657373696f6e7310021a120a04736974651802220808021801220200011a260a0867726f73735f6d73100122180802100118082210000000000000000000000000000000801a220a0664657669636510051802220a080210041801220200012a0808021801220200014a120a0461627476120a08041801220401010200"].assert_eq(&hex);
}

#[test]
fn what_breaks_a_rule_is_refused() {
    type Breakage = fn(&mut Partial);
    let cases: &[(&str, Breakage)] = &[
        ("holds nothing", |p| p.to = p.from),
        ("no ledger", |p| p.ledger = None),
        ("plain identifier", |p| p.tables[0].name = "a;drop".into()),
        ("comes twice", |p| p.tables.push(p.tables[0].clone())),
        ("no key column", |p| {
            p.tables[0].columns.remove(0);
        }),
        ("or comes twice", |p| p.tables[0].columns[1].name = "site".into()),
        ("unknown role", |p| p.tables[0].columns[0].role = 99),
        ("unknown kind", |p| p.tables[0].columns[0].kind = 99),
        ("not as many as the rows", |p| p.tables[0].rows = 3),
        ("not as many as the rows", |p| p.tables[0].columns[2].nulls = vec![true]),
        ("may not have", |p| p.tables[0].columns[0].nulls = vec![false, true]),
        ("more than", |p| p.tables[0].rows = u32::MAX),
        ("does not suit", |p| p.tables[0].columns[2].role = Role::Sum as i32),
        ("NUL character", |p| p.tables[0].columns[0].texts[0] = "a\0".into()),
        ("a text of more than 65536 bytes", |p| p.tables[0].columns[0].texts[0] = "a".repeat(65_537)),
        ("counted on", |p| {
            p.tables[0].columns.push(Column::booleans("op", Role::Op, vec![true, false]));
        }),
    ];
    for (expected, breakage) in cases {
        let mut broken = partial();
        breakage(&mut broken);
        let message = decode(&broken.encode()).unwrap_err().to_string();
        assert!(message.contains(expected), "expected {expected:?} in {message:?}");
    }
}

#[test]
fn what_the_topic_would_not_take_is_not_encoded() {
    let mut state = 1_u64;
    let mut by_chance = || {
        // Knuth's MMIX generator: no zstd makes less of it.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.cast_signed()
    };
    let mut large = partial();
    large.tables[0].rows = (limits::MESSAGE_BYTES / 8) + 1;
    let numbers = (0..large.tables[0].rows).map(|_| by_chance()).collect();
    large.tables[0].columns = vec![Column::integers("number", Role::Key, Kind::Integer, numbers)];
    let refused = Encoder::new().encode(&large.pack()).unwrap_err();
    assert!(matches!(refused, CodecError::TooLong { bytes } if bytes > limits::MESSAGE_BYTES as usize), "{refused}");
}

#[test]
fn numbers_of_nothing_are_refused() {
    use crate::numbers::Numbers;
    use crate::partial::Partial as Packed;
    type Breakage = fn(&mut Packed);
    let cases: &[(&str, Breakage)] = &[
        ("the number of no text", |p| p.tables[0].columns[0].values = Numbers::pack(&[0, 4])),
        ("the number of no text", |p| p.tables[0].columns[0].values = Numbers::pack(&[-1, 0])),
        ("a boolean that is neither", |p| p.tables[0].columns[2].nulls = Some(Numbers::pack(&[0, 2]))),
        ("a boolean that is neither", |p| {
            p.tables[0].columns[1].role = Role::Or as i32;
            p.tables[0].columns[1].kind = Kind::Boolean as i32;
        }),
        ("their lengths", |p| p.texts.lengths = Numbers::pack(&[1, 1, 100, 0])),
        ("their lengths", |p| p.texts.lengths = Numbers::pack(&[1, -1, 1, 1])),
        ("their lengths", |p| p.texts = crate::partial::Texts { all: "ä".repeat(4), lengths: Numbers::pack(&[1; 4]) }),
    ];
    for (expected, breakage) in cases {
        let mut broken = partial().pack();
        breakage(&mut broken);
        let message = decode(&Encoder::new().bytes(&broken)).unwrap_err().to_string();
        assert!(message.contains(expected), "expected {expected:?} in {message:?}");
    }
    // A null's number need not be that of a text.
    let mut nulls = partial().pack();
    nulls.tables[0].columns[2].values = Numbers::pack(&[2, 99]);
    decode(&Encoder::new().bytes(&nulls)).unwrap();
}

#[test]
fn bytes_that_are_no_partial_are_refused() {
    let whole = partial().encode();
    for cut in 0..whole.len() {
        assert!(decode(&whole[..cut]).is_err(), "the first {cut} bytes were taken");
    }
    let bomb = zstd::bulk::compress(&vec![0; limits::DECOMPRESSED_BYTES as usize + 1], 1).unwrap();
    assert!(matches!(decode(&bomb), Err(CodecError::TooLarge)));
    let plain = zstd::stream::decode_all(&whole[..]).unwrap();
    let of_unknown_size = zstd::stream::encode_all(&plain[..], 1).unwrap();
    assert!(matches!(decode(&of_unknown_size), Err(CodecError::NoSize)));
}
