//! One session of a viewer: a title played once, with everything people do to a player meanwhile.
//!
//! Stretches are multiples of 4 ms, so that content and wall time are whole milliseconds at every speed used.

use super::behaviour::Habits;
use crate::dice::Dice;
use crate::report::{AdPart, Deed, Report, Shown, Step};
use playback::heartbeat::State;

/// Where a live title ends for everybody; ms.
const LIVE_MS: u32 = 14_400_000;
const RATES: [u16; 6] = [1_000, 1_000, 1_250, 1_500, 2_000, 500];
/// Nobody plays as fast; thousandths.
const BOT_RATE: u16 = 16_000;
/// Time in view that makes an impression viewable; ms.
const VIEWABLE_MS: u32 = 2_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Starting,
    Playing,
    Paused,
    Buffering,
    Seeking,
    /// The report before was content in state playing; the ads begin.
    BreakWanted,
    Ads(Showing),
    AfterAds,
    Over,
}

/// An ad that is on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Showing {
    part: AdPart,
    /// When its first report was; 0 before that.
    since_ms: i64,
}

/// A title being played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Session {
    number: u32,
    title: u32,
    duration_ms: u32,
    end_ms: u32,
    beat_ms: u32,
    seq: u32,
    pub(super) position_ms: u32,
    passed_ms: u32,
    rate: u16,
    /// Reports bare positions instead of intervals.
    points: bool,
    is_bot: bool,
    phase: Phase,
}

/// What is to be played, and where from.
pub(super) struct Opening {
    pub(super) number: u32,
    pub(super) title: u32,
    pub(super) duration_ms: u32,
    pub(super) position_ms: u32,
    pub(super) is_bot: bool,
}

impl Session {
    pub(super) fn new(opening: &Opening, habits: &Habits, dice: &mut Dice) -> Session {
        let end_ms = if opening.duration_ms == 0 { LIVE_MS } else { opening.duration_ms };
        Session {
            number: opening.number,
            title: opening.title,
            duration_ms: opening.duration_ms,
            end_ms,
            beat_ms: dice.pick(habits.beats_ms),
            seq: 0,
            position_ms: opening.position_ms.min(end_ms - 1),
            passed_ms: 0,
            rate: 1_000,
            points: dice.permille(habits.points),
            is_bot: opening.is_bot,
            phase: Phase::Starting,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) fn title(&self) -> u32 {
        self.title
    }

    pub(super) fn wants_ad_break(&self) -> bool {
        self.phase == Phase::BreakWanted
    }

    /// Begins an ad, or goes on without one.
    pub(super) fn start_ad_break(&mut self, ad: Option<(u32, u16)>) {
        self.phase = match ad {
            Some((impression, line)) => {
                Phase::Ads(Showing { part: AdPart { impression, line, quartile: 0, viewable_ms: None }, since_ms: 0 })
            }
            None => Phase::Playing,
        };
    }

    /// Goes on until the next report, given the time of the last one; says how long that took, in ms.
    pub(super) fn step(&mut self, at_ms: i64, habits: &Habits, dice: &mut Dice) -> (Step, u32) {
        let mut step = match std::mem::replace(&mut self.phase, Phase::Playing) {
            Phase::Starting => self.stand(1, State::Playing),
            Phase::Playing if self.is_bot => self.claim_fast(),
            Phase::Playing => self.play_on(habits, dice),
            Phase::Paused => {
                let resume = dice.permille(600);
                self.phase = if resume { Phase::Playing } else { Phase::Paused };
                self.stand(1 + dice.below(30_000), if resume { State::Playing } else { State::Paused })
            }
            Phase::Buffering => self.stand(1 + dice.below(9_000), State::Playing),
            Phase::Seeking => self.seek(dice),
            Phase::BreakWanted | Phase::AfterAds => self.stand(200, State::Playing),
            Phase::Ads(ad) => self.show(ad, at_ms, dice),
            Phase::Over => unreachable!("a session that is over is not stepped"),
        };
        step.report.at_ms = at_ms + i64::from(self.passed_ms);
        (step, self.passed_ms)
    }

    /// Plays for a beat, or until the viewer does something.
    fn play_on(&mut self, habits: &Habits, dice: &mut Dice) -> Step {
        if dice.permille(habits.forge) {
            return self.forge();
        }
        if dice.permille(habits.freeze) {
            return self.freeze(dice);
        }
        if !dice.permille(habits.act) {
            return self.play(self.beat_ms, self.rate, State::Playing);
        }
        let wall = 4 * (1 + dice.below(self.beat_ms / 4));
        let (phase, state) = match dice.below(7) {
            _ if dice.permille(habits.leave) => (Phase::Over, dice.pick(&[State::Ended, State::Ended, State::Error])),
            0 => (Phase::Paused, State::Paused),
            1 => (Phase::Buffering, State::Buffering),
            2 | 3 => (Phase::Seeking, State::Seeking),
            4 | 5 => (Phase::BreakWanted, State::Playing),
            _ => (Phase::Playing, State::Playing),
        };
        self.phase = phase;
        let next_rate = if phase == Phase::Playing { dice.pick(&RATES) } else { self.rate };
        self.play(wall, next_rate, state)
    }

    /// Mostly near where it was, so that things are watched again.
    fn seek(&mut self, dice: &mut Dice) -> Step {
        let reach = if dice.permille(700) { self.end_ms.min(self.position_ms + 60_000) } else { self.end_ms };
        let back = if dice.permille(500) { self.position_ms.saturating_sub(60_000) } else { 0 };
        self.position_ms = back + dice.below(reach - back);
        self.stand(1 + dice.below(2_000), State::Playing)
    }

    /// Content moves for `wall` ms, less when the title ends before; then the speed changes.
    fn play(&mut self, wall: u32, next_rate: u16, state: State) -> Step {
        let left = self.left_ms();
        let (wall, state) = if wall < left { (wall, state) } else { (left, State::Ended) };
        if state == State::Ended {
            self.phase = Phase::Over;
        }
        if wall == 0 {
            return self.stand(1, state);
        }
        let from_ms = self.position_ms;
        self.position_ms += wall * (u32::from(self.rate) / 10) / 100;
        // An interval was played at the speed of its report; a point says the speed from here on.
        let rate = if self.points { next_rate } else { self.rate };
        self.rate = next_rate;
        Step { report: self.content(from_ms, wall, rate, state), deed: Deed::Played { from_ms, wall_ms: wall } }
    }

    /// Plays on for more than a minute without a report. That is more than a point report can prove.
    fn freeze(&mut self, dice: &mut Dice) -> Step {
        let wall = 4 * (17_500 + dice.below(12_500));
        if wall >= self.left_ms() {
            return self.play(self.beat_ms, self.rate, State::Playing);
        }
        let step = self.play(wall, self.rate, State::Playing);
        if self.points { Step { deed: Deed::Unproven, ..step } } else { step }
    }

    /// Wall time until the title ends; ms.
    fn left_ms(&self) -> u32 {
        let left = u64::from(self.end_ms.saturating_sub(self.position_ms)) * 1_000 / u64::from(self.rate);
        u32::try_from(left / 4 * 4).unwrap_or(u32::MAX)
    }

    /// Time passes, content does not move.
    fn stand(&mut self, wall: u32, state: State) -> Step {
        Step { report: self.content(self.position_ms, wall, self.rate, state), deed: Deed::Stood }
    }

    /// Claims ten minutes for one second; the viewer knows that it saw nothing.
    fn forge(&mut self) -> Step {
        let mut report = self.content(self.position_ms, 1_000, self.rate, State::Playing);
        report.position_ms += 600_000;
        Step { report, deed: Deed::Claimed }
    }

    /// A bot says that it played; nobody saw anything.
    fn claim_fast(&mut self) -> Step {
        let content = self.beat_ms * u32::from(BOT_RATE) / 1_000;
        if self.position_ms + content > self.end_ms {
            self.position_ms = 0;
        }
        let from_ms = self.position_ms;
        self.position_ms += content;
        Step { report: self.content(from_ms, self.beat_ms, BOT_RATE, State::Playing), deed: Deed::Claimed }
    }

    fn show(&mut self, mut ad: Showing, at_ms: i64, dice: &mut Dice) -> Step {
        self.passed_ms = 3_000 + dice.below(4_000);
        let now_ms = at_ms + i64::from(self.passed_ms);
        let before = ad.part.viewable_ms;
        if dice.permille(700) {
            ad.part.viewable_ms = Some(before.unwrap_or(0) + dice.below(3_000));
        }
        let is_viewable = |ms: Option<u32>| ms.is_some_and(|ms| ms >= VIEWABLE_MS);
        let is_first = ad.part.quartile == 0;
        if is_first {
            ad.since_ms = now_ms;
        }
        let shown = Shown {
            since_ms: ad.since_ms,
            is_first,
            measurable: before.is_none() && ad.part.viewable_ms.is_some(),
            viewable: !is_viewable(before) && is_viewable(ad.part.viewable_ms),
        };
        let skipped = dice.permille(100);
        let next = Showing { part: AdPart { quartile: ad.part.quartile + 1, ..ad.part }, ..ad };
        self.phase = if ad.part.quartile == 4 || skipped { Phase::AfterAds } else { Phase::Ads(next) };
        let passed_ms = self.passed_ms;
        let content = self.content(self.position_ms, passed_ms, 1_000, State::Playing);
        Step { report: Report { ad: Some(ad.part), from_ms: 0, played_ms: 0, ..content }, deed: Deed::Shown(shown) }
    }

    /// The next report, which still lacks its time.
    fn content(&mut self, from_ms: u32, wall: u32, rate: u16, state: State) -> Report {
        self.seq += 1;
        self.passed_ms = wall;
        Report {
            at_ms: 0,
            session: self.number,
            seq: self.seq - 1,
            title: self.title,
            duration_ms: self.duration_ms,
            position_ms: self.position_ms,
            from_ms: if self.points { 0 } else { from_ms },
            played_ms: if self.points { 0 } else { wall },
            rate,
            state,
            ad: None,
        }
    }
}
