//! What is torn or goes bad on the disk costs itself, and nothing else.

use super::*;

/// Power loss leaves any prefix of what was not synced, and may leave rubbish at the end; a bad disk changes a byte anywhere.
#[test]
fn what_is_torn_or_damaged_costs_only_itself() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), CAPACITY).unwrap();
    let mut lengths = Vec::new();
    for number in 0..20 {
        append(&spool, number..number + 1).unwrap();
        lengths.push(fs::metadata(newest(dir.path())).unwrap().len() as usize);
    }
    drop(spool);
    let whole = fs::read(newest(dir.path())).unwrap();
    let (first, last) = (lengths[9], lengths[19]);
    for cut in (first..=last).step_by(7) {
        let kept = lengths.iter().filter(|length| **length <= cut).count() as u64;
        for damage in [Damage::Cut, Damage::Zeros, Damage::Flipped] {
            let copy = TempDir::new().unwrap();
            copy_folder(dir.path(), copy.path());
            fs::write(newest(copy.path()), damage.of(&whole, cut)).unwrap();
            let spool = Spool::open(copy.path(), CAPACITY).unwrap();
            append(&spool, 20..21).unwrap();
            let behind = if matches!(damage, Damage::Flipped) { (kept + 1).min(20)..20 } else { 20..20 };
            let expected = [records(0..kept), records(behind), records(20..21)].concat();
            assert_eq!(spool.depth().records, expected.len() as u64);
            assert_eq!(drain(&spool), expected, "{damage:?} at {cut}");
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Cut,
    Zeros,
    Flipped,
}

impl Damage {
    fn of(self, whole: &[u8], at: usize) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        match self {
            Damage::Cut => bytes.truncate(at),
            Damage::Zeros => bytes[at..].fill(0),
            Damage::Flipped => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 0x55),
        }
        bytes
    }
}

#[test]
fn a_frame_without_records_is_passed_over_whatever_its_checksum_says() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), CAPACITY).unwrap();
    append(&spool, 0..1).unwrap();
    let path = newest(dir.path());
    let first = fs::read(&path).unwrap();
    append(&spool, 1..2).unwrap();
    drop(spool);
    let second = fs::read(&path).unwrap().split_off(first.len());
    let payload = b"no records";
    let len = (payload.len() as u32).to_le_bytes();
    let checksum = crc32fast::hash(&[&len[..], payload].concat()).to_le_bytes();
    fs::write(&path, [&first, &len[..], &checksum, payload, &second].concat()).unwrap();
    let spool = reopen(dir.path());
    append(&spool, 2..3).unwrap();
    assert_eq!(drain(&spool), records(0..3));
}

#[test]
fn what_goes_bad_while_the_spool_is_open_costs_only_itself_and_leaves_no_depth() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), CAPACITY).unwrap();
    let lengths = [0, 1, 2].map(|number| {
        append(&spool, number..number + 1).unwrap();
        fs::metadata(newest(dir.path())).unwrap().len() as usize
    });
    let mut bytes = fs::read(newest(dir.path())).unwrap();
    bytes[lengths[0] + 20] ^= 1;
    fs::write(newest(dir.path()), bytes).unwrap();
    let first = oldest(&spool, 1);
    assert_eq!(first.records, [record(0)]);
    remove(&spool, &first);
    assert_eq!(drain(&spool), [record(2)]);
    assert_eq!(spool.depth(), Depth { records: 0, bytes: 0 });

    append(&spool, 3..4).unwrap();
    fs::remove_file(newest(dir.path())).unwrap();
    let gone = oldest(&spool, 1);
    assert_eq!(gone.records, []);
    remove(&spool, &gone);
    assert_eq!(spool.depth(), Depth { records: 0, bytes: 0 });
    append(&spool, 4..5).unwrap();
    assert_eq!(drain(&spool), [record(4)]);
}
