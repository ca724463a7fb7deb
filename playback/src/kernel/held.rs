//! Content that qualifies once its session is a view: by minute and territory. Most sessions are views before they have more
//! than a minute of it; a session that never becomes a view may hold content of every minute and territory there is.

use crate::credit::Territory;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Up to this many places are searched one by one; a tree takes more memory, and is for sessions with more places.
const FEW: usize = 32;

/// Minute, where it was played, and ms of content.
pub(super) type Part = (i64, Territory, i64);

/// Content by minute and territory, each place once.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// In the order in which they came.
    Few(Box<[Part]>),
    #[allow(clippy::box_collection)] // sessions are counted in bytes, and hardly any has a tree
    Many(Box<BTreeMap<(i64, Territory), i64>>),
}

impl Held {
    /// Adds content in a minute (ms since the epoch) and territory.
    pub(super) fn add(&mut self, minute: i64, territory: Territory, gross_ms: i64) {
        let few = match self {
            Held::Many(many) => return *many.entry((minute, territory)).or_default() += gross_ms,
            Held::Few(few) => few,
        };
        if let Some(held) = few.iter_mut().find(|held| (held.0, held.1) == (minute, territory)) {
            held.2 += gross_ms;
            return;
        }
        let mut parts = std::mem::take(few).into_vec();
        parts.reserve_exact(1);
        parts.push((minute, territory, gross_ms));
        *self = Held::from(parts);
    }

    /// All of it, in an order that follows from what was added; nothing is left.
    pub(super) fn take(&mut self) -> Vec<Part> {
        match std::mem::take(self) {
            Held::Few(few) => few.into_vec(),
            Held::Many(many) => parts(&many),
        }
    }
}

fn parts(many: &BTreeMap<(i64, Territory), i64>) -> Vec<Part> {
    many.iter().map(|(&(minute, territory), &gross_ms)| (minute, territory, gross_ms)).collect()
}

impl Default for Held {
    fn default() -> Held {
        Held::Few(Box::default())
    }
}

impl From<Vec<Part>> for Held {
    fn from(parts: Vec<Part>) -> Held {
        if parts.len() <= FEW {
            return Held::Few(parts.into_boxed_slice());
        }
        let places = parts.into_iter().map(|(minute, territory, gross_ms)| ((minute, territory), gross_ms));
        Held::Many(Box::new(places.collect()))
    }
}

/// As its parts.
impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Held::Few(few) => few.serialize(serializer),
            Held::Many(many) => parts(many).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Held, D::Error> {
        Vec::deserialize(deserializer).map(Held::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn what_was_added_is_there_once_for_each_place_and_in_the_same_order_after_a_restart() {
        for places in [1, FEW as u64, 3 * FEW as u64] {
            let germany = Territory::parse("DE").unwrap();
            let (mut random, mut expected, mut held) = (Random::new(places), BTreeMap::new(), Held::default());
            for gross_ms in 0..1_000 {
                let place = (random.below(places) as i64 * 60_000, random.pick(&[Territory::UNKNOWN, germany]));
                *expected.entry(place).or_insert(0) += gross_ms;
                held.add(place.0, place.1, gross_ms);
            }
            let mut restored: Held = postcard::from_bytes(&postcard::to_allocvec(&held).unwrap()).unwrap();
            let (before, after) = (held.take(), restored.take());
            assert_eq!(before, after);
            let found: BTreeMap<_, _> = before.iter().map(|part| ((part.0, part.1), part.2)).collect();
            assert_eq!((found, before.len()), (expected.clone(), expected.len()));
            assert_eq!(held.take(), []);
        }
    }
}
