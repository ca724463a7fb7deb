//! All viewers of a process in the order in which they send: who is next, what it sends, and the account of what it did.
//! It works in virtual time, and does not know when that is in real time or where the requests go.

use crate::account::Account;
use crate::report::{Deed, Report, Who};
use crate::viewer::{Viewer, Way};
use crate::wheel::Wheel;
use crate::world::World;

/// Which of several processes this is; together they have all viewers, each one of them once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

impl Part {
    /// All viewers.
    pub const WHOLE: Part = Part { number: 1, of: 1 };

    /// Its share of what all parts come to together.
    pub fn share(self, whole: u32) -> u32 {
        let of = self.of.max(1); // a part of nothing is refused when the run begins
        whole / of + u32::from(self.number <= whole % of)
    }

    fn has(self, account: u32) -> bool {
        account % self.of == self.number - 1
    }
}

/// The viewers of a process.
pub(crate) struct Crowd {
    pub(crate) world: World,
    batch: usize,
    devices: Vec<Viewer>,
    wheel: Wheel,
    /// What they really did; when somebody wants to know.
    pub(crate) account: Option<Account>,
}

/// A request that a device sends.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) device: u32,
    /// When, in ms since the run's first instant.
    pub(crate) due_ms: u32,
    pub(crate) who: Who,
    pub(crate) reports: Vec<Report>,
    /// What was done, in the order in which it was; the reports may have changed places.
    pub(crate) deeds: Vec<Deed>,
    pub(crate) way: Way,
}

/// How the account is kept, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    Nothing,
    /// The gateway corrects clocks.
    Account,
    /// The time of every report is known.
    AccountWithTimes,
}

impl Crowd {
    /// The part of so many viewers.
    pub(crate) fn new(world: World, viewers: u32, batch: usize, part: Part, keeping: Keeping) -> Crowd {
        // Some have two.
        let mut devices = Vec::with_capacity((viewers / part.of + viewers / part.of / 16) as usize);
        let numbers = (0..viewers).filter(|number| part.has(*number));
        numbers.for_each(|number| devices.extend(Viewer::devices(&world, number)));
        let account = match keeping {
            Keeping::Nothing => None,
            Keeping::Account => Some(Account::new(devices.len(), false)),
            Keeping::AccountWithTimes => Some(Account::new(devices.len(), true)),
        };
        let count = devices.len() as u32;
        let mut crowd = Crowd { world, batch, devices, wheel: Wheel::new(), account };
        (0..count).for_each(|device| crowd.wait(device));
        crowd
    }

    /// When the next request is due; ms since the first instant.
    pub(crate) fn next_due(&mut self) -> Option<u32> {
        self.wheel.next_due()
    }

    /// Puts the next request into `sent`; its device sends nothing more until it is told to [`Crowd::wait`].
    pub(crate) fn take(&mut self, sent: &mut Sent) -> bool {
        let Some((due_ms, device)) = self.wheel.pop() else { return false };
        let viewer = &mut self.devices[device as usize];
        let Sent { reports, deeds, .. } = sent;
        reports.clear();
        deeds.clear();
        let (who, account) = (viewer.who, &mut self.account);
        let received_ms = self.world.first_ms + i64::from(due_ms);
        viewer.send(&self.world, self.batch, |step| {
            if let Some(account) = account {
                account.enter(device as usize, who, &step, received_ms);
            }
            reports.push(step.report);
            deeds.push(step.deed);
        });
        viewer.swap(&self.world, reports);
        (sent.device, sent.due_ms, sent.who, sent.way) = (device, due_ms, who, viewer.way(&self.world));
        true
    }

    /// Lets a device wait until it has something to send; a preview of its future says when that is.
    pub(crate) fn wait(&mut self, device: u32) {
        let mut preview = self.devices[device as usize];
        if let Some(due_ms) = preview.send(&self.world, self.batch, |_| {}) {
            self.wheel.insert(due_ms, device);
        }
    }

    /// The request was taken for a second time.
    pub(crate) fn taken_again(&mut self, sent: &Sent) {
        if let Some(account) = &mut self.account {
            let received_ms = self.world.first_ms + i64::from(sent.due_ms);
            sent.deeds.iter().for_each(|deed| account.enter_copy(deed, received_ms));
        }
    }
}

impl Sent {
    /// A place for requests.
    pub(crate) fn empty(world: &World) -> Sent {
        let nobody = Viewer::new(world, 0, 0);
        Sent {
            device: 0,
            due_ms: 0,
            who: nobody.who,
            reports: Vec::new(),
            deeds: Vec::new(),
            way: Way { again: false, altered: false },
        }
    }

    /// The reports of the second try say something else.
    pub(crate) fn alter(&mut self) {
        if self.way.altered {
            self.reports.iter_mut().for_each(|report| report.position_ms += 4_000);
        }
    }
}
