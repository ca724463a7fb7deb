//! A viewer and its player as a state machine in virtual time, and what it knows it played. Pure: a seed decides all.
//!
//! Its own account is kept from what the viewer does, never from what it reports, and without the crediting rules.
//! Stretches are multiples of 4 ms, so that content and wall time are whole milliseconds at every speed used.

mod session;

use playback::model::Random;
use playback::record::{Record, RecordAd};
use session::Session;

const TERRITORIES: [&str; 5] = ["DE", "FR", "US", "BR", ""];
const DEVICES: [&str; 4] = ["tv", "phone", "web", ""];
/// Titles of a run.
const VIDEOS: u64 = 12;
const LINES: u64 = 4;

/// One viewer, who opens one session after the other.
pub(crate) struct Viewer {
    seed: u64,
    random: Random,
    run: String,
    user_id: String,
    territory: &'static str,
    device: &'static str,
    now: i64,
    opened: u32,
    impressions: u32,
    session: Option<Session>,
    /// Whether its account is kept.
    keep: bool,
    played: Vec<Played>,
}

/// What a viewer knows of one of its sessions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Played {
    pub(crate) user_id: String,
    pub(crate) session_id: String,
    pub(crate) video_id: String,
    /// Content it saw, in the order in which it saw it; ms.
    pub(crate) stretches: Vec<(u32, u32)>,
    /// How long that took; ms.
    pub(crate) wall_ms: i64,
    pub(crate) reports: i64,
}

impl Viewer {
    /// The viewer with a number in a run, who starts within ten seconds of `first_ms`.
    pub(crate) fn new(seed: u64, run: &str, number: u32, first_ms: i64, keep: bool) -> Viewer {
        let seed = Random::new(seed ^ u64::from(number) << 32).below(u64::MAX);
        let mut random = Random::new(seed);
        Viewer {
            seed,
            run: run.to_owned(),
            user_id: format!("{run}-u{number}"),
            territory: random.pick(&TERRITORIES),
            device: random.pick(&DEVICES),
            now: first_ms + random.below(10_000) as i64,
            random,
            opened: 0,
            impressions: 0,
            session: None,
            keep,
            played: Vec::new(),
        }
    }

    /// The seed of this viewer alone.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Virtual time of its last report; ms since the epoch.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// Lives on until its player reports. The event time is when.
    pub(crate) fn next_report(&mut self) -> Record {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.open(),
        };
        let mut record = session.step(&mut self.random);
        if session.wants_ad_break() {
            session.start_ad_break(self.ad());
        }
        self.now += session.passed_ms();
        record.event_time = self.now;
        if session.is_over() {
            self.close(session);
        } else {
            self.session = Some(session);
        }
        record
    }

    /// Its account of all sessions, the open one too.
    pub(crate) fn finish(mut self) -> Vec<Played> {
        if let Some(session) = self.session.take() {
            self.close(session);
        }
        self.played
    }

    fn open(&mut self) -> Session {
        self.now += self.random.below(20_000) as i64;
        let video = self.random.below(VIDEOS);
        let template = Record {
            user_id: self.user_id.clone(),
            session_id: format!("{}-s{}", self.user_id, self.opened),
            video_id: format!("{}-v{video}", self.run),
            duration_ms: if video == 0 { 0 } else { 60_000 * (1 + video as u32 * video as u32) },
            territory: self.territory.to_owned(),
            device: self.device.to_owned(),
            ..Record::default()
        };
        self.opened += 1;
        Session::new(template, &mut self.random)
    }

    fn close(&mut self, session: Session) {
        if self.keep {
            self.played.push(session.played());
        }
    }

    fn ad(&mut self) -> RecordAd {
        self.impressions += 1;
        RecordAd {
            impression_id: format!("{}-i{}", self.user_id, self.impressions),
            line_id: format!("{}-l{}", self.run, self.random.below(LINES)),
            ..RecordAd::default()
        }
    }
}

impl Played {
    /// All it saw, again and again; ms.
    pub(crate) fn gross_ms(&self) -> i64 {
        self.stretches.iter().map(|(from, to)| i64::from(to - from)).sum()
    }

    /// The content seen at least once, found by counting who is inside at each border.
    pub(crate) fn segments(&self) -> Vec<(i64, i64)> {
        let mut borders: Vec<(u32, i32)> = Vec::new();
        for (from, to) in &self.stretches {
            borders.extend([(*from, -1), (*to, 1)]); // at a border one enters before the other leaves
        }
        borders.sort_unstable();
        let (mut inside, mut since, mut segments) = (0, 0, Vec::new());
        for (at, leaving) in borders {
            if inside == 0 {
                since = at;
            }
            inside -= leaving;
            if inside == 0 {
                segments.push((i64::from(since), i64::from(at)));
            }
        }
        segments
    }
}

#[cfg(test)]
mod tests;
