//! The codec takes what it has made, and refuses everything that would break the sink.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::partial::Ledger;

fn column(name: &str, role: Role, kind: Kind) -> Column {
    Column { name: name.into(), role: role as i32, kind: kind as i32, ..Column::default() }
}

/// Two rows with a key, a sum and a nullable replacement.
fn partial() -> Partial {
    let table = Table {
        name: "watch_sessions".into(),
        rows: 2,
        columns: vec![
            Column { texts: vec!["a".into(), "b".into()], ..column("site", Role::Key, Kind::Text) },
            Column { integers: vec![-1, i64::MAX], ..column("gross_ms", Role::Sum, Kind::Integer) },
            Column {
                texts: vec!["tv".into(), String::new()],
                nulls: vec![false, true],
                ..column("device", Role::Replace, Kind::Text)
            },
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
    assert_eq!(decode(&encode(&partial())).unwrap(), partial());
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
        ("counted on", |p| {
            let op = Column { booleans: vec![true, false], ..column("op", Role::Op, Kind::Boolean) };
            p.tables[0].columns.push(op);
        }),
    ];
    for (expected, breakage) in cases {
        let mut broken = partial();
        breakage(&mut broken);
        let message = decode(&encode(&broken)).unwrap_err().to_string();
        assert!(message.contains(expected), "expected {expected:?} in {message:?}");
    }
}

#[test]
fn bytes_that_are_no_partial_are_refused() {
    let whole = encode(&partial());
    for cut in 0..whole.len() {
        assert!(decode(&whole[..cut]).is_err(), "the first {cut} bytes were taken");
    }
    let bomb = zstd::bulk::compress(&vec![0; caps::DECOMPRESSED_BYTES as usize + 1], 1).unwrap();
    assert!(matches!(decode(&bomb), Err(CodecError::TooLarge)));
}
