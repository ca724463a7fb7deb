//! Viewers without any server: what they know, and what the crediting model makes of their reports.

use super::{Behaviour, Viewer};
use crate::account::{Account, Labels, Rows};
use crate::crowd::{Crowd, Keeping, Part, Sent};
use crate::names::Names;
use crate::profile::Profile;
use crate::stored::Records;
use crate::world::World;
use bytes::BytesMut;
use playback::credit::Disposition;
use playback::model::{self, Logged, Parameters};
use playback::record::Record;
use playback::tables::{SHAPES, Tables, differences};
use prost::Message;

const START: i64 = 1_763_683_200_000;
const HOUR_MS: u32 = 3_600_000;

fn world(profile: &Profile, seed: u64) -> World {
    World::new(profile, seed, START, 3 * HOUR_MS)
}

fn only(behaviour: Behaviour) -> Profile {
    Profile { behaviours: [(behaviour, 1)].into(), ..Profile::default() }
}

fn labels(profile: &Profile) -> Labels {
    Labels {
        site: "default".to_owned(),
        names: Names::new("r1"),
        territories: profile.territories.keys().cloned().collect(),
        devices: profile.devices.keys().cloned().collect(),
    }
}

/// What viewers report as it stands on the log, and their account of what they did.
fn watch(profile: &Profile, seed: u64, viewers: u32, batch: usize, part: Part) -> (Vec<Logged>, Account) {
    let world = world(profile, seed);
    let mut crowd = Crowd::new(world.clone(), viewers, batch, part, Keeping::AccountWithTimes);
    let labels = labels(profile);
    let mut records = Records::new(labels.site, labels.names, labels.territories, labels.devices);
    let (mut sent, mut log) = (Sent::empty(&world), Vec::new());
    while crowd.take(&mut sent) {
        let logged_at = START + i64::from(sent.due_ms);
        let mut put = |sent: &Sent| {
            for report in &sent.reports {
                let mut bytes = BytesMut::new();
                records.put(&mut bytes, sent.who, report, logged_at);
                log.push(Logged { record: Record::decode(bytes).unwrap(), logged_at });
            }
        };
        put(&sent);
        if sent.way.again {
            sent.alter();
            put(&sent);
            crowd.taken_again(&sent);
        }
        crowd.wait(sent.device);
    }
    let mut account = crowd.account.unwrap();
    account.close_all();
    (log, account)
}

/// The account as tables.
fn tables(account: &Account, labels: &Labels) -> Tables {
    let rows = Rows::new(account, labels);
    let mut tables = Tables::default();
    for shape in SHAPES {
        let before = tables.rows(shape.name).map_or(0, |rows| rows.len());
        rows.all(shape.name).for_each(|(key, row)| {
            assert_eq!(rows.row(shape.name, &key).as_ref(), Some(&row), "{} {key:?}", shape.name);
            tables.insert(shape.name, key, row);
        });
        let after = tables.rows(shape.name).map_or(0, |rows| rows.len());
        assert_eq!(after - before, rows.count(shape.name), "{}", shape.name);
    }
    tables
}

fn assert_judged(profile: &Profile, seed: u64, viewers: u32, batch: usize) -> Tables {
    let (log, account) = watch(profile, seed, viewers, batch, Part::WHOLE);
    let known = tables(&account, &labels(profile));
    let found = differences(&known, &model::run(&log, Parameters::default()));
    assert!(found.is_empty(), "seed {seed}, batch {batch}: {found:#?}");
    known
}

#[test]
fn what_viewers_know_they_did_is_what_the_model_credits() {
    for (seed, batch) in (0..12).zip([1, 3, 12, 100].into_iter().cycle()) {
        assert_judged(&Profile::default(), seed, 24, batch);
    }
}

#[test]
fn every_behaviour_is_judged_right_by_itself_and_fills_the_tables() {
    for behaviour in Behaviour::ALL {
        let known = assert_judged(&only(behaviour), 3, 12, 2);
        let is_watched = known.rows("watch_segments").is_some();
        assert_eq!(is_watched, behaviour != Behaviour::Bot, "{behaviour:?}");
    }
}

#[test]
fn viewers_do_everything_that_the_ledger_tells_apart() {
    let (_, account) = watch(&Profile::default(), 6, 60, 1, Part::WHOLE);
    let known = tables(&account, &labels(&Profile::default())).ledger_totals();
    for disposition in Disposition::ALL.map(Disposition::as_str) {
        assert!(known.contains_key(&("default".to_owned(), disposition.to_owned())), "{disposition}: {known:?}");
    }
}

#[test]
fn a_seed_decides_what_viewers_do() {
    let of = |seed| watch(&Profile::default(), seed, 10, 3, Part::WHOLE);
    assert_eq!(of(7), of(7));
    assert_ne!(of(7).0, of(8).0);
}

#[test]
fn the_parts_of_a_run_are_disjoint_and_add_up_to_the_whole() {
    let profile = Profile::default();
    let (mut whole_log, whole) = watch(&profile, 9, 40, 2, Part::WHOLE);
    let (mut union_log, mut union) = (Vec::new(), Account::new(0, true));
    for number in 1..=4 {
        let (log, account) = watch(&profile, 9, 40, 2, Part { number, of: 4 });
        assert!(account.sessions.keys().all(|session| !union.sessions.contains_key(session)));
        union_log.extend(log);
        union.merge(account);
    }
    let place = |logged: &Logged| {
        let record = &logged.record;
        (logged.logged_at, record.session_id.clone(), record.seq, record.position_ms)
    };
    whole_log.sort_by_key(place);
    union_log.sort_by_key(place);
    assert_eq!(whole_log, union_log);
    assert_eq!(tables(&whole, &labels(&profile)), tables(&union, &labels(&profile)));
}

#[test]
fn a_wrong_row_and_a_missing_duplicate_are_found() {
    let profile = Profile::default();
    let (log, account) = watch(&profile, 11, 24, 1, Part::WHOLE);
    let known = tables(&account, &labels(&profile));
    let without = |position: usize| {
        let mut log = log.clone();
        log.remove(position);
        differences(&known, &model::run(&log, Parameters::default()))
    };
    let is_credited = |logged: &Logged| logged.record.played_ms == 5_000 && logged.record.rate() == 1_000;
    assert!(!without(log.iter().position(is_credited).unwrap()).is_empty());
    let mut seen = std::collections::BTreeSet::new();
    let is_copy = |logged: &Logged| !seen.insert((logged.record.session_id.clone(), logged.record.seq));
    let difference = without(log.iter().position(is_copy).unwrap());
    assert!(difference[0].starts_with("ledger_minutes") && difference[0].contains("duplicate"), "{difference:?}");
}

#[test]
fn a_viewer_takes_little_memory() {
    assert!(size_of::<Viewer>() <= 192, "{}", size_of::<Viewer>());
}

/// Requests by hour of a profile with fewer viewers, scaled up.
fn heartbeats_by_hour(profile: &Profile, fewer: u32) -> [u64; 24] {
    let world = World::new(profile, 1, START, 24 * HOUR_MS);
    let mut crowd = Crowd::new(world.clone(), profile.viewers / fewer, 1, Part::WHOLE, Keeping::Nothing);
    let (mut sent, mut hours) = (Sent::empty(&world), [0; 24]);
    while crowd.take(&mut sent) {
        let reports = sent.reports.len() as u64 * if sent.way.again { 2 } else { 1 };
        hours[(sent.due_ms / HOUR_MS).min(23) as usize] += reports * u64::from(fewer);
        crowd.wait(sent.device);
    }
    hours
}

#[test]
fn the_shipped_day_has_300_million_heartbeats_and_a_peak_of_20_000_a_second() {
    let hours = heartbeats_by_hour(&Profile::shipped("day").unwrap(), 500);
    let (all, peak) = (hours.iter().sum::<u64>(), hours.iter().max().unwrap() / 3_600);
    assert!((285_000_000..=315_000_000).contains(&all), "{all} heartbeats: {hours:?}");
    assert!((17_500..=20_500).contains(&peak), "{peak} a second: {hours:?}");
}

#[test]
fn shipped_profiles_are_read_and_wrong_ones_refused_by_name() {
    assert!(Profile::shipped_names().all(|name| Profile::shipped(name).is_some()));
    for behaviour in Behaviour::ALL {
        let profile = Profile::parse("one", &format!("[behaviours]\n{} = 1", behaviour.name())).unwrap();
        assert_eq!(profile.behaviours, [(behaviour, 1)].into());
    }
    for (wrong, named) in [
        ("viewrs = 1", "viewrs"),
        ("[behaviours]\nwatching = 1", "watching"),
        ("hours = [1]", "24"),
        ("batch = 0", "batch"),
    ] {
        let message = Profile::parse("mine.toml", wrong).unwrap_err().to_string();
        assert!(message.contains("mine.toml") && message.contains(named), "{message}");
    }
}
