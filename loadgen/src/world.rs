//! What all viewers of a run share: its first instant, its titles and how popular they are, the places and devices of
//! the profile. Viewers ask it with their own dice.

use crate::dice::Dice;
use crate::profile::Profile;
use crate::report::CORRECTED_TITLE;
use crate::viewer::Behaviour;
use rand_distr::{Distribution, Zipf};

const HOUR_MS: u32 = 3_600_000;

/// The surroundings of a run.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) seed: u64,
    /// First instant of virtual time; ms since the epoch.
    pub(crate) first_ms: i64,
    /// Virtual time of the run; ms.
    pub(crate) span_ms: u32,
    /// How long a viewer stays; ms.
    pub(crate) sitting_ms: u32,
    /// Ad lines.
    pub(crate) lines: u32,
    /// Length by number; 0 is live. ms.
    titles: Vec<u32>,
    popularity: Zipf<f64>,
    behaviours: Vec<(Behaviour, u32)>,
    territories: Vec<u32>,
    devices: Vec<u32>,
    /// Viewers who sit down, by hour; empty when all are there from the first instant.
    hours: Vec<u32>,
}

impl World {
    /// The world of a profile that was checked. Its day begins at `first_ms`.
    pub(crate) fn new(profile: &Profile, seed: u64, first_ms: i64, span_ms: u32) -> World {
        let catalogue = &profile.catalogue;
        let mut dice = Dice::new(seed, 3 << 40);
        let titles = (0..catalogue.titles).map(|_| length_ms(&mut dice)).collect();
        let popularity = Zipf::new(f64::from(catalogue.titles), catalogue.zipf);
        World {
            seed,
            first_ms,
            span_ms,
            sitting_ms: profile.sitting_minutes.saturating_mul(60_000),
            lines: catalogue.lines,
            titles,
            popularity: popularity.expect("a checked profile has titles and an exponent"),
            behaviours: profile.behaviours.iter().map(|(behaviour, share)| (*behaviour, *share)).collect(),
            territories: profile.territories.values().copied().collect(),
            devices: profile.devices.values().copied().collect(),
            hours: profile.hours.clone(),
        }
    }

    /// Any title, the popular ones more often.
    pub(crate) fn title(&self, dice: &mut Dice) -> u32 {
        let rank = self.popularity.sample(dice) as u32;
        rank.clamp(1, self.titles.len() as u32) - 1
    }

    pub(crate) fn duration_ms(&self, title: u32) -> u32 {
        self.titles[(title & !CORRECTED_TITLE) as usize]
    }

    pub(crate) fn behaviour(&self, dice: &mut Dice) -> Behaviour {
        let shares = self.behaviours.iter().map(|(_, share)| *share);
        self.behaviours[one_of(shares, dice) as usize].0
    }

    pub(crate) fn territory(&self, dice: &mut Dice) -> u8 {
        one_of(self.territories.iter().copied(), dice) as u8
    }

    pub(crate) fn device(&self, dice: &mut Dice) -> u8 {
        one_of(self.devices.iter().copied(), dice) as u8
    }

    /// When a viewer sits down; ms since the first instant.
    pub(crate) fn sits_down(&self, dice: &mut Dice) -> u32 {
        if self.hours.is_empty() {
            return 0;
        }
        one_of(self.hours.iter().copied(), dice) * HOUR_MS + dice.below(HOUR_MS)
    }
}

/// Number of one of several by their shares.
fn one_of(shares: impl Iterator<Item = u32> + Clone, dice: &mut Dice) -> u32 {
    let mut at = dice.below(shares.clone().sum());
    for (number, share) in (0..).zip(shares) {
        if at < share {
            return number;
        }
        at -= share;
    }
    0
}

/// Clips, episodes and films, and a few that are live.
fn length_ms(dice: &mut Dice) -> u32 {
    let (least, most) = match dice.below(100) {
        0..2 => return 0,
        2..12 => (20, 600),
        12..65 => (18 * 60, 60 * 60),
        _ => (75 * 60, 150 * 60),
    };
    1_000 * (least + dice.below(most - least))
}
