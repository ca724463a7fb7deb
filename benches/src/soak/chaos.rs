//! What goes wrong in a soak, and when: decided beforehand by a seed, so that a run can be had again.

use playback::random::Random;
use std::time::Duration;

/// Something that is done to the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Cleanly, or by kill -9.
    StopKafka {
        at_once: bool,
    },
    StartKafka,
    /// kill -9, and started again on its port and its spool.
    KillGateway,
}

/// What is done, by the time since the start.
pub(super) struct Plan {
    pub(super) acts: Vec<(Duration, Act)>,
}

impl Plan {
    /// In half an hour Kafka is there for 30 s to 2 min and away for 30 s to 3 min, in turn; other runs in proportion.
    /// The gateway is killed in the middle of an outage, when all it has is its spool, and a second time at any moment of its
    /// second half.
    pub(super) fn new(seed: u64, duration: Duration) -> Plan {
        let random = &mut Random::new(seed);
        let whole = duration.as_millis() as u64;
        let mut between = |least: u64, most: u64| least + random.below((most - least).max(1));
        let mut acts = Vec::new();
        let mut at = 0;
        let mut first_kill = None;
        loop {
            let stop = at + between(whole / 60, whole / 15);
            let start = stop + between(whole / 60, whole / 10);
            // The end of the run is quiet, so that what waits can come in.
            if start > whole * 9 / 10 {
                break;
            }
            acts.push((stop, Act::StopKafka { at_once: between(0, 2) == 0 }));
            acts.push((start, Act::StartKafka));
            if stop > whole / 4 && first_kill.is_none() {
                first_kill = Some(stop.midpoint(start));
            }
            at = start;
        }
        acts.push((first_kill.unwrap_or(whole / 3), Act::KillGateway));
        acts.push((between(whole * 11 / 20, whole * 4 / 5), Act::KillGateway));
        acts.sort_by_key(|(at, _)| *at);
        Plan { acts: acts.into_iter().map(|(at, act)| (Duration::from_millis(at), act)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_comes_back_each_time_and_the_gateway_dies_twice_once_without_kafka() {
        for seed in 0..500 {
            let duration = Duration::from_secs(1_800);
            let acts = Plan::new(seed, duration).acts;
            let (mut away_since, mut outages, mut kills, mut kills_while_away) = (None, 0, 0, 0);
            for (at, act) in acts {
                match (act, away_since) {
                    (Act::StopKafka { .. }, None) => away_since = Some(at),
                    (Act::StartKafka, Some(since)) => {
                        assert!((30..=180).contains(&(at - since).as_secs()), "seed {seed}: away for {:?}", at - since);
                        (away_since, outages) = (None, outages + 1);
                    }
                    (Act::KillGateway, away) => {
                        kills += 1;
                        kills_while_away += u32::from(away.is_some());
                    }
                    (act, _) => panic!("seed {seed}: {act:?} out of turn"),
                }
                assert!(at < duration * 9 / 10 + Duration::from_secs(1));
            }
            assert!(away_since.is_none() && outages >= 4 && kills == 2 && kills_while_away >= 1, "seed {seed}");
        }
    }
}
