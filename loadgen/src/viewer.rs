//! A device and whoever holds it, as a state machine in virtual time. It is pure: a seed decides everything, so a copy of it
//! is a preview of its future, and nothing that waits has to be stored.
//!
//! What it does and what it reports are returned side by side ([`Step`]); [`crate::account`] keeps account of what it does.

mod behaviour;
mod session;

pub use behaviour::Behaviour;

use crate::dice::Dice;
use crate::limits::MAX_BATCH;
use crate::report::{CORRECTED_TITLE, Deed, Report, Step, Who};
use crate::world::World;
use session::{Opening, Session};

const MINUTE_MS: u32 = 60_000;
const HOUR_MS: i32 = 3_600_000;
/// Reports that change places with each other: points wait for no more than sixteen later ones.
const MAX_SWAPPED: usize = 8;
/// Purposes of dice, so that the network decides nothing the viewer does.
const LIFE: u64 = 1 << 40;
const NETWORK: u64 = 2 << 40;

/// One device of one viewer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Viewer {
    pub(crate) who: Who,
    dice: Dice,
    /// Virtual time; ms since the run's first instant.
    now: u32,
    /// When it gets up and leaves.
    gone: u32,
    /// Without a network until then.
    offline_until: u32,
    /// By how much its clock is wrong, or its first session is old; ms.
    shift_ms: i32,
    opened: u32,
    impressions: u32,
    requests: u32,
    /// Title and position of the session before.
    last: Option<(u32, u32)>,
    session: Option<Session>,
}

/// What happens to a request on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    /// It is sent a second time.
    pub(crate) again: bool,
    /// The second time it says something else.
    pub(crate) altered: bool,
}

impl Viewer {
    /// A device of the account with this number.
    pub(crate) fn new(world: &World, number: u32, player: u8) -> Viewer {
        let mut account = Dice::new(world.seed, u64::from(number));
        let behaviour = world.behaviour(&mut account);
        let (territory, sits_down) = (world.territory(&mut account), world.sits_down(&mut account));
        let mut dice = Dice::new(world.seed, LIFE | u64::from(number) << 1 | u64::from(player));
        let arrives = sits_down + dice.below(10_000);
        Viewer {
            who: Who { number, player, behaviour, territory, device: world.device(&mut dice) },
            now: arrives,
            gone: sits_down.saturating_add(world.sitting_ms),
            offline_until: 0,
            shift_ms: shift_ms(behaviour, &mut dice),
            dice,
            opened: 0,
            impressions: 0,
            requests: 0,
            last: None,
            session: None,
        }
    }

    /// The devices of an account.
    pub(crate) fn devices(world: &World, number: u32) -> impl Iterator<Item = Viewer> + use<> {
        let first = Viewer::new(world, number, 0);
        let second = (first.who.behaviour == Behaviour::Household).then(|| Viewer::new(world, number, 1));
        std::iter::once(first).chain(second)
    }

    /// Lives on until the device sends a request; gives `each` what it reports meanwhile, and says when it sends: ms
    /// since the run's first instant. None: nothing comes any more.
    pub(crate) fn send(&mut self, world: &World, batch: usize, mut each: impl FnMut(Step)) -> Option<u32> {
        let habits = self.who.behaviour.habits();
        let more = self.dice.permille(30);
        let gather = if more { batch.max(2 + self.dice.below(3) as usize) } else { batch };
        let mut gathered = 0;
        while gathered < gather || self.now < self.offline_until {
            let Some(step) = self.step_in_time(world) else { break };
            each(step);
            gathered += 1;
            if gathered == MAX_BATCH {
                break;
            }
            if self.dice.permille(habits.offline) {
                self.offline_until = self.now + self.dice.below(habits.offline_ms);
            }
        }
        self.requests += 1;
        (gathered > 0).then(|| self.now.max(self.offline_until).min(world.span_ms))
    }

    /// A step, unless it would end after the viewer has left: then nothing happened.
    fn step_in_time(&mut self, world: &World) -> Option<Step> {
        let before = *self;
        let step = self.step(world);
        if self.now > self.gone.min(world.span_ms) {
            *self = before;
            return None;
        }
        Some(step)
    }

    /// What happens to the request that was just sent.
    pub(crate) fn way(&self, world: &World) -> Way {
        let mut dice = self.network(world);
        let again = dice.permille(self.who.behaviour.habits().again);
        Way { again, altered: again && self.who.behaviour == Behaviour::Forger }
    }

    /// Lets reports of the request that was just sent change places.
    pub(crate) fn swap(&self, world: &World, reports: &mut [Report]) {
        let mut dice = self.network(world);
        dice.throw();
        if reports.len() > 1 && dice.permille(self.who.behaviour.habits().swap) {
            reports.chunks_mut(MAX_SWAPPED).for_each(|group| dice.shuffle(group));
        }
    }

    fn network(&self, world: &World) -> Dice {
        let device = u64::from(self.who.number) << 1 | u64::from(self.who.player);
        Dice::new(world.seed ^ u64::from(self.requests).rotate_left(43), NETWORK | device)
    }

    /// Lives on until its player reports.
    fn step(&mut self, world: &World) -> Step {
        let habits = self.who.behaviour.habits();
        if self.dice.permille(habits.kill) {
            self.close(); // what was played since the last report, nobody will ever know
        }
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.open(world),
        };
        let is_old = self.who.behaviour == Behaviour::Forgotten && self.opened == 1;
        let shift_ms = if self.who.behaviour == Behaviour::Forgotten && !is_old { 0 } else { self.shift_ms };
        let device_ms = world.first_ms + i64::from(self.now) + i64::from(shift_ms);
        let (mut step, passed_ms) = session.step(device_ms, habits, &mut self.dice);
        if session.wants_ad_break() {
            session.start_ad_break(self.ad(world));
        }
        if is_old {
            step.deed = Deed::Old;
        }
        self.now += passed_ms;
        self.session = Some(session);
        if session.is_over() {
            self.close();
        }
        step
    }

    fn open(&mut self, world: &World) -> Session {
        self.now += self.dice.below(20_000);
        let is_corrected = self.who.behaviour == Behaviour::CorrectedClock;
        let (title, position_ms) = match self.last {
            // The app was killed, or the viewer goes on: where it was.
            Some(last) if self.dice.permille(if self.who.behaviour == Behaviour::Crasher { 900 } else { 150 }) => last,
            _ => {
                let title = world.title(&mut self.dice);
                let duration_ms = world.duration_ms(title);
                let is_anywhere = duration_ms == 0 || self.dice.permille(150);
                let reach = if duration_ms == 0 { 2 * HOUR_MS as u32 } else { duration_ms };
                let position_ms = if is_anywhere { self.dice.below(reach) } else { 0 };
                (if is_corrected { title | CORRECTED_TITLE } else { title }, position_ms)
            }
        };
        self.opened += 1;
        let opening = Opening {
            number: self.opened - 1,
            title,
            duration_ms: world.duration_ms(title),
            position_ms,
            is_bot: self.who.behaviour == Behaviour::Bot,
        };
        Session::new(&opening, self.who.behaviour.habits(), &mut self.dice)
    }

    fn close(&mut self) {
        if let Some(session) = self.session.take() {
            let is_done = session.is_over();
            self.last = Some((session.title(), if is_done { 0 } else { session.position_ms }));
        }
    }

    /// Impression and line of the next ad; none where the hour is unknown, since ads cannot be judged by the hour there.
    fn ad(&mut self, world: &World) -> Option<(u32, u16)> {
        if self.who.behaviour == Behaviour::CorrectedClock {
            return None;
        }
        self.impressions += 1;
        Some((self.impressions - 1, self.dice.below(world.lines) as u16))
    }
}

/// How wrong a device's clock is, or how old its first session.
fn shift_ms(behaviour: Behaviour, dice: &mut Dice) -> i32 {
    match behaviour {
        Behaviour::WrongClock => dice.below(34 * MINUTE_MS) as i32 - 30 * MINUTE_MS as i32,
        Behaviour::Forgotten => -26 * HOUR_MS - dice.below(90 * HOUR_MS as u32) as i32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
