//! One random player: its reports in order of their sequence, honest ones and others.

use crate::heartbeat::State;
use crate::model::HOUR_MS;
use crate::random::Random;
use crate::record::{Record, RecordAd};

const SITES: [&str; 2] = ["north", "south"];
const USERS: u64 = 6;
/// Lengths of the titles; 0 is live.
const DURATIONS_MS: [u32; 6] = [0, 20_000, 45_000, 90_000, 7_200_000, 60_001];
/// A playhead that got this far starts again.
const FURTHEST_MS: u32 = 100_000_000;

/// A report and when it comes in; ms since the epoch.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) record: Record,
    pub(super) at: i64,
}

/// How a player reports.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Intervals,
    Points,
    Both,
}

pub(super) struct Player {
    /// What all its reports say.
    template: Record,
    manner: Manner,
    /// Time between reports; ms.
    beat_ms: u64,
    duration_ms: u32,
    territories: Vec<&'static str>,
    device: &'static str,
    now: i64,
    last: i64,
    position_ms: u32,
}

impl Player {
    /// The player of a session by number. Two sessions share a name and differ by title, so that it takes the whole
    /// session key to tell them apart.
    pub(super) fn new(random: &mut Random, prefix: &str, number: u64, start: i64) -> Player {
        let video = 2 * random.below(DURATIONS_MS.len() as u64 / 2) + number % 2;
        let site = random.pick(&SITES);
        let template = Record {
            site: site.to_owned(),
            user_id: format!("u{}", random.below(USERS)),
            session_id: format!("{prefix}{}", number / 2),
            video_id: format!("v{video}"),
            ..Record::default()
        };
        Player {
            template,
            manner: random.pick(&[Manner::Intervals, Manner::Points, Manner::Both]),
            beat_ms: random.pick(&[5_000, 5_000, 5_000, 1_000, 20_000, 61_000]),
            duration_ms: DURATIONS_MS[video as usize],
            territories: random.pick(&[vec!["DE"], vec!["FR", ""], vec![""], vec!["DE", "AT", "ZZ"]]),
            device: random.pick(&["tv", "phone", "web", ""]),
            now: start + random.below(HOUR_MS as u64) as i64,
            last: start + 3 * HOUR_MS,
            position_ms: random.pick(&[0, 0, 7_000, 30_000]),
        }
    }

    /// Its reports.
    pub(super) fn play(mut self, random: &mut Random, most: usize) -> Vec<Sent> {
        let (mut sent, mut seq) = (Vec::new(), random.pick(&[0, 0, 0, 1, 40]));
        let count = 1 + random.below(most as u64);
        for _ in 0..count {
            let record = Record { seq, ..self.report(random) };
            if self.now >= self.last {
                break;
            }
            sent.push(Sent { record, at: self.now });
            seq += 1;
        }
        sent
    }

    fn report(&mut self, random: &mut Random) -> Record {
        let mut record = self.template.clone();
        record.territory = random.pick(&self.territories).to_owned();
        if random.chance(60) {
            record.device = self.device.to_owned();
        }
        if random.chance(70) {
            record.duration_ms = self.duration_ms;
        } else if random.chance(4) {
            record.duration_ms = 30_000 + random.below(60_000) as u32;
        }
        if random.chance(10) {
            self.now += 1 + random.below(15_000) as i64;
            record.ad = Some(ad(random));
        } else {
            self.content(random, &mut record);
        }
        record.position_ms = self.position_ms;
        record.event_time = self.now;
        if random.chance(3) {
            record.event_time -= random.below(8_000) as i64; // a device whose clock was set back
        }
        record
    }

    fn content(&mut self, random: &mut Random, record: &mut Record) {
        if random.chance(8) || self.position_ms > FURTHEST_MS {
            self.position_ms = random.below(120_000) as u32; // a seek, or a rewind to watch again
        }
        let rate = random.pick(&[1_000, 1_000, 1_000, 1_000, 1_250, 500, 2_000, 1_333, 63, 4_000, 4_001, 16_000]);
        record.rate_thousandths = if rate == 1_000 { 0 } else { rate };
        let wall = 1 + self.beat_ms / 2 + random.below(self.beat_ms);
        self.now += wall as i64;
        let from_ms = self.position_ms;
        self.position_ms += content_ms(random, wall, rate);
        let interval = self.manner == Manner::Intervals || self.manner == Manner::Both && random.chance(50);
        if interval {
            record.from_ms = Some(from_ms);
            record.played_ms = wall as u32;
            if random.chance(3) {
                record.from_ms = Some(self.position_ms + random.below(2) as u32); // nothing, or backwards
            }
        }
        let state = match random.below(20) {
            0 => State::Paused,
            1 => State::Buffering,
            2 => State::Seeking,
            3 => State::Ended,
            4 => State::Error,
            _ => State::Playing,
        };
        record.state = state as i32;
    }
}

/// How far the playhead went: as fast as it may, at the edge of what is credited, or further than anybody plays.
fn content_ms(random: &mut Random, wall: u64, rate: u32) -> u32 {
    let honest = wall * u64::from(rate) / 1_000;
    let content = match random.below(20) {
        0 => 0,
        1 => wall * u64::from(rate) * 110 / 100_000 + 1_000,
        2 => wall * u64::from(rate) * 110 / 100_000 + 1_001,
        3 => honest + 1_000,
        4 => honest + 1_001,
        5 => honest * 3 + 20_000, // forged
        6 | 7 => honest / 2,
        _ => honest,
    };
    content as u32
}

fn ad(random: &mut Random) -> RecordAd {
    RecordAd {
        impression_id: format!("i{}", random.below(30)),
        line_id: format!("l{}", random.below(4)),
        creative_id: random.pick(&["", "c1"]).to_owned(),
        quartile: random.below(5) as u32,
        viewable_ms: random.pick(&[None, Some(0), Some(1_999), Some(2_000), Some(15_000)]),
    }
}
