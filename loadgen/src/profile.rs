//! Who watches what, when: a profile, as it stands in a TOML file.

use crate::limits::{MAX_BATCH, MAX_LINES, MAX_TITLES, MAX_VIEWERS};
use crate::settings::LoadError;
use crate::viewer::Behaviour;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The profiles that come with the program, by name.
const SHIPPED: [(&str, &str); 2] =
    [("day", include_str!("../profiles/day.toml")), ("peak-100k", include_str!("../profiles/peak-100k.toml"))];

/// A crowd of viewers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// Accounts; a household has two devices.
    pub viewers: u32,
    /// Reports that a device gathers for one request.
    pub batch: usize,
    /// Requests a second, whatever the hour; absent: as the viewers' beats make them.
    pub rate: Option<u32>,
    /// Share of the viewers who sit down, by hour from the run's first instant; empty: all do at once.
    pub hours: Vec<u32>,
    /// How long a viewer stays.
    pub sitting_minutes: u32,
    /// Shares of behaviours.
    pub behaviours: BTreeMap<Behaviour, u32>,
    /// Shares of kinds of devices; an empty name is not reported.
    pub devices: BTreeMap<String, u32>,
    /// Shares of territories; an empty name is not reported.
    pub territories: BTreeMap<String, u32>,
    /// What there is to watch.
    pub catalogue: Catalogue,
}

/// The titles and ad lines of a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Catalogue {
    /// Titles.
    pub titles: u32,
    /// How much more popular the first titles are: the exponent of Zipf's law.
    pub zipf: f64,
    /// Ad lines.
    pub lines: u32,
}

impl Default for Catalogue {
    fn default() -> Catalogue {
        Catalogue { titles: 12, zipf: 0.9, lines: 4 }
    }
}

impl Default for Profile {
    /// A few viewers who do everything that viewers do, so that a short run meets it all.
    fn default() -> Profile {
        let shares = |of: &[(&str, u32)]| of.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect();
        let behaviours = Behaviour::ALL.into_iter().map(|behaviour| match behaviour {
            Behaviour::Watcher => (behaviour, 45),
            _ => (behaviour, 5),
        });
        Profile {
            viewers: 20,
            batch: 1,
            rate: None,
            hours: Vec::new(),
            sitting_minutes: 24 * 60,
            behaviours: behaviours.collect(),
            devices: shares(&[("tv", 35), ("phone", 35), ("web", 20), ("", 10)]),
            territories: shares(&[("DE", 30), ("FR", 20), ("US", 25), ("BR", 15), ("", 10)]),
            catalogue: Catalogue::default(),
        }
    }
}

impl Profile {
    /// The shipped profile of this name.
    pub fn shipped(name: &str) -> Option<Profile> {
        let (name, text) = SHIPPED.iter().find(|(shipped, _)| *shipped == name)?;
        Some(Profile::parse(name, text).expect("a test reads every shipped profile"))
    }

    /// Names of the shipped profiles.
    pub fn shipped_names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// The profile in a text; `name` is for the message when it is none.
    pub fn parse(name: &str, text: &str) -> Result<Profile, LoadError> {
        let refuse = |reason: String| LoadError::Profile { name: name.to_owned(), reason };
        let profile: Profile = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        profile.wrong().map_or(Ok(profile), |reason| Err(refuse(reason)))
    }

    /// What is wrong with it, if anything.
    fn wrong(&self) -> Option<String> {
        let shares = [
            ("behaviours", self.behaviours.values().sum::<u32>(), self.behaviours.len()),
            ("devices", self.devices.values().sum(), self.devices.len()),
            ("territories", self.territories.values().sum(), self.territories.len()),
        ];
        let is_territory = |name: &str| name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_device = |name: &str| name.len() <= 64 && name.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
        let catalogue = &self.catalogue;
        if let Some((name, ..)) = shares.iter().find(|(_, sum, count)| *sum == 0 || *sum > 1_000_000 || *count > 255) {
            Some(format!("the shares of {name} must add up to 1..1,000,000, and be at most 255"))
        } else if let Some(name) = self.territories.keys().find(|name| !name.is_empty() && !is_territory(name)) {
            Some(format!("territory {name} is not two capitals"))
        } else if let Some(name) = self.devices.keys().find(|name| !is_device(name)) {
            Some(format!("device {name} is not 1..64 printable ASCII characters"))
        } else if !(1..=MAX_VIEWERS).contains(&self.viewers) {
            Some(format!("viewers must be 1..{MAX_VIEWERS}"))
        } else if !(1..=MAX_BATCH).contains(&self.batch) {
            Some(format!("batch must be 1..{MAX_BATCH}"))
        } else if !self.hours.is_empty() && (self.hours.len() != 24 || self.hours.iter().sum::<u32>() == 0) {
            Some("hours must be 24 shares that are not all 0, or none".to_owned())
        } else if !(1..=1_440).contains(&self.sitting_minutes) {
            Some("sitting_minutes must be 1..1,440".to_owned())
        } else if !(1..=MAX_TITLES).contains(&catalogue.titles) || !(1..=MAX_LINES).contains(&catalogue.lines) {
            Some(format!("catalogue: titles must be 1..{MAX_TITLES}, lines 1..{MAX_LINES}"))
        } else if !(0.0..=10.0).contains(&catalogue.zipf) {
            Some("catalogue: zipf must be 0..10".to_owned())
        } else {
            None
        }
    }
}
