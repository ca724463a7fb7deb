//! How viewers differ: each behaviour is a row of habits. Which share of the viewers has which is the profile's business.

use serde::{Deserialize, Serialize};

/// What kind of viewer, or of player, it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// Watches: now and then a pause, a seek back or ahead, another speed, a stall, an ad break.
    Watcher,
    /// Seeks, pauses and changes titles all the time.
    Zapper,
    /// A tab in the background: one beat a minute, at times frozen for longer.
    Background,
    /// Without a network for minutes or hours, then everything at once.
    Commuter,
    /// The app is killed again and again and goes on where it was, in a new session.
    Crasher,
    /// Two devices on one account at the same time.
    Household,
    /// The device's clock is wrong, and the player does not say when it sends: it is taken at its word.
    WrongClock,
    /// The device's clock is hours wrong, and the player says when it sends: the gateway corrects it.
    CorrectedClock,
    /// A bad network: requests are sent twice, reports change places.
    Flaky,
    /// A bot that plays sixteen times as fast as anybody can.
    Bot,
    /// Claims ten minutes for a second, and sends reports again that say something else.
    Forger,
    /// A device that was found in a drawer: its first session is days old.
    Forgotten,
}

/// What a viewer does, in thousandths: of its beats, of its requests or of its sessions.
#[derive(Debug)]
pub(crate) struct Habits {
    /// Beats that end with something else than playing on.
    pub(crate) act: u16,
    /// Of those, how many end the session.
    pub(crate) leave: u16,
    /// Beats at which the app dies without a word.
    pub(crate) kill: u16,
    /// Beats that say nothing for over a minute.
    pub(crate) freeze: u16,
    /// Beats that claim what was never played.
    pub(crate) forge: u16,
    /// Reports after which the network is away.
    pub(crate) offline: u16,
    /// For how long at most; ms.
    pub(crate) offline_ms: u32,
    /// Requests that are sent twice.
    pub(crate) again: u16,
    /// Requests whose reports changed places.
    pub(crate) swap: u16,
    /// Sessions that report bare positions.
    pub(crate) points: u16,
    /// Time between reports while playing; ms.
    pub(crate) beats_ms: &'static [u32],
}

const HOUR_MS: u32 = 3_600_000;

const WATCHER: Habits = Habits {
    act: 50,
    leave: 30,
    kill: 0,
    freeze: 0,
    forge: 0,
    offline: 1,
    offline_ms: 180_000,
    again: 5,
    swap: 20,
    points: 250,
    beats_ms: &[5_000],
};

impl Behaviour {
    /// Every behaviour.
    pub const ALL: [Behaviour; 12] = [
        Behaviour::Watcher,
        Behaviour::Zapper,
        Behaviour::Background,
        Behaviour::Commuter,
        Behaviour::Crasher,
        Behaviour::Household,
        Behaviour::WrongClock,
        Behaviour::CorrectedClock,
        Behaviour::Flaky,
        Behaviour::Bot,
        Behaviour::Forger,
        Behaviour::Forgotten,
    ];

    /// Its name in profiles.
    pub fn name(self) -> &'static str {
        match self {
            Behaviour::Watcher => "watcher",
            Behaviour::Zapper => "zapper",
            Behaviour::Background => "background",
            Behaviour::Commuter => "commuter",
            Behaviour::Crasher => "crasher",
            Behaviour::Household => "household",
            Behaviour::WrongClock => "wrong_clock",
            Behaviour::CorrectedClock => "corrected_clock",
            Behaviour::Flaky => "flaky",
            Behaviour::Bot => "bot",
            Behaviour::Forger => "forger",
            Behaviour::Forgotten => "forgotten",
        }
    }

    pub(crate) fn habits(self) -> &'static Habits {
        match self {
            Behaviour::Zapper => &Habits { act: 400, leave: 150, beats_ms: &[5_000, 10_000], ..WATCHER },
            Behaviour::Background => &Habits { freeze: 50, points: 500, beats_ms: &[60_000], ..WATCHER },
            Behaviour::Commuter => &Habits { offline: 8, offline_ms: 3 * HOUR_MS, swap: 50, ..WATCHER },
            Behaviour::Crasher => &Habits { kill: 20, ..WATCHER },
            Behaviour::Flaky => &Habits { again: 100, swap: 300, offline: 10, ..WATCHER },
            Behaviour::Forger => &Habits { forge: 50, again: 50, points: 0, ..WATCHER },
            // Points are judged by the time between them, and the gateway's correction changes that time.
            Behaviour::CorrectedClock | Behaviour::Bot => &Habits { points: 0, ..WATCHER },
            Behaviour::Watcher | Behaviour::Household | Behaviour::WrongClock | Behaviour::Forgotten => &WATCHER,
        }
    }
}
