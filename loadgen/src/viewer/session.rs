//! One session of a viewer: a title played once, with everything people do to a player meanwhile.

use super::Played;
use playback::heartbeat::State;
use playback::model::Random;
use playback::record::{Record, RecordAd};

/// Where a live title ends for everybody; ms.
const LIVE_MS: u32 = 14_400_000;
const RATES: [u32; 6] = [1_000, 1_000, 1_250, 1_500, 2_000, 500];

enum Phase {
    Starting,
    Playing,
    Paused,
    Buffering,
    Seeking,
    /// The report before was content in state playing; the ads begin.
    BreakWanted,
    Ads(RecordAd),
    AfterAds,
    Over,
}

pub(super) struct Session {
    template: Record,
    /// Reports bare positions instead of intervals.
    points: bool,
    beat_ms: u32,
    end_ms: u32,
    seq: u32,
    phase: Phase,
    position_ms: u32,
    rate: u32,
    passed_ms: i64,
    played: Played,
}

impl Session {
    pub(super) fn new(template: Record, random: &mut Random) -> Session {
        let end_ms = if template.duration_ms == 0 { LIVE_MS } else { template.duration_ms };
        let played = Played {
            user_id: template.user_id.clone(),
            session_id: template.session_id.clone(),
            video_id: template.video_id.clone(),
            stretches: Vec::new(),
            wall_ms: 0,
            reports: 0,
        };
        Session {
            template,
            points: random.chance(40),
            beat_ms: random.pick(&[5_000, 5_000, 5_000, 10_000, 60_000]),
            end_ms,
            seq: 0,
            phase: Phase::Starting,
            position_ms: if random.chance(60) { 0 } else { random.below(u64::from(end_ms)) as u32 },
            rate: 1_000,
            passed_ms: 0,
            played,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    pub(super) fn wants_ad_break(&self) -> bool {
        matches!(self.phase, Phase::BreakWanted)
    }

    pub(super) fn start_ad_break(&mut self, ad: RecordAd) {
        self.phase = Phase::Ads(ad);
    }

    /// Time between the last report and the one before it; ms.
    pub(super) fn passed_ms(&self) -> i64 {
        self.passed_ms
    }

    pub(super) fn played(self) -> Played {
        self.played
    }

    /// Goes on until the next report, which still lacks its time.
    pub(super) fn step(&mut self, random: &mut Random) -> Record {
        self.played.reports += 1;
        match std::mem::replace(&mut self.phase, Phase::Playing) {
            Phase::Starting => self.stand(1, State::Playing),
            Phase::Playing => self.play_on(random),
            Phase::Paused => {
                let resume = random.chance(60);
                self.phase = if resume { Phase::Playing } else { Phase::Paused };
                self.stand(1 + random.below(30_000) as u32, if resume { State::Playing } else { State::Paused })
            }
            Phase::Buffering => self.stand(1 + random.below(9_000) as u32, State::Playing),
            Phase::Seeking => {
                // Mostly near where it was, so that things are watched again.
                let reach = if random.chance(70) { self.end_ms.min(self.position_ms + 60_000) } else { self.end_ms };
                let back = if random.chance(50) { self.position_ms.saturating_sub(60_000) } else { 0 };
                self.position_ms = back + random.below(u64::from(reach - back)) as u32;
                self.stand(1 + random.below(2_000) as u32, State::Playing)
            }
            Phase::BreakWanted | Phase::AfterAds => self.stand(200, State::Playing),
            Phase::Ads(ad) => self.show(ad, random),
            Phase::Over => unreachable!("a session that is over is not stepped"),
        }
    }

    /// Plays for a beat, or until the viewer does something.
    fn play_on(&mut self, random: &mut Random) -> Record {
        if !self.points && random.chance(1) {
            return self.forge();
        }
        if random.chance(80) {
            return self.play(self.beat_ms, self.rate, State::Playing);
        }
        let wall = 4 * (1 + random.below(u64::from(self.beat_ms) / 4) as u32);
        let (phase, state) = match random.below(7) {
            0 => (Phase::Paused, State::Paused),
            1 => (Phase::Buffering, State::Buffering),
            2 | 3 => (Phase::Seeking, State::Seeking),
            4 => (Phase::BreakWanted, State::Playing),
            5 => (Phase::Playing, State::Playing),
            _ if random.chance(20) => (Phase::Over, State::Ended),
            _ => (Phase::Playing, State::Playing),
        };
        let changed = matches!(phase, Phase::Playing);
        self.phase = phase;
        let next_rate = if changed { random.pick(&RATES) } else { self.rate };
        self.play(wall, next_rate, state)
    }

    /// Content moves for `wall` ms, less when the title ends before; then the speed changes.
    fn play(&mut self, wall: u32, next_rate: u32, state: State) -> Record {
        let left = u64::from(self.end_ms - self.position_ms) * 1_000 / u64::from(self.rate);
        let left = u32::try_from(left / 4 * 4).unwrap_or(u32::MAX);
        let (wall, state) = if wall < left { (wall, state) } else { (left, State::Ended) };
        if state == State::Ended {
            self.phase = Phase::Over;
        }
        if wall == 0 {
            return self.stand(1, state);
        }
        let from_ms = self.position_ms;
        self.position_ms += wall * (self.rate / 10) / 100;
        self.played.stretches.push((from_ms, self.position_ms));
        self.played.wall_ms += i64::from(wall);
        // An interval was played at the speed of its report; a point says the speed from here on.
        let rate = if self.points { next_rate } else { self.rate };
        self.rate = next_rate;
        self.passed_ms = i64::from(wall);
        self.content(from_ms, self.position_ms, wall, rate, state)
    }

    /// Time passes, content does not move.
    fn stand(&mut self, wall: u32, state: State) -> Record {
        self.passed_ms = i64::from(wall);
        self.content(self.position_ms, self.position_ms, wall, self.rate, state)
    }

    /// Claims ten minutes for one second; the viewer knows that it saw nothing.
    fn forge(&mut self) -> Record {
        self.passed_ms = 1_000;
        self.content(self.position_ms, self.position_ms + 600_000, 1_000, self.rate, State::Playing)
    }

    fn content(&mut self, from_ms: u32, to_ms: u32, wall: u32, rate: u32, state: State) -> Record {
        let record = self.report(to_ms);
        Record {
            from_ms: (!self.points).then_some(from_ms),
            played_ms: if self.points { 0 } else { wall },
            rate_thousandths: if rate == 1_000 { 0 } else { rate },
            state: state as i32,
            ..record
        }
    }

    fn show(&mut self, mut ad: RecordAd, random: &mut Random) -> Record {
        self.passed_ms = 3_000 + random.below(4_000) as i64;
        if random.chance(70) {
            ad.viewable_ms = Some(ad.viewable_ms.unwrap_or(0) + random.below(3_000) as u32);
        }
        let skipped = random.chance(10);
        let mut next = ad.clone();
        next.quartile += 1;
        self.phase = if ad.quartile == 4 || skipped { Phase::AfterAds } else { Phase::Ads(next) };
        Record { ad: Some(ad), ..self.report(self.position_ms) }
    }

    fn report(&mut self, position_ms: u32) -> Record {
        self.seq += 1;
        Record { seq: self.seq - 1, position_ms, ..self.template.clone() }
    }
}
