//! How far the partitions have taken what is in the spool.

use crate::limits::REPLAY_PAUSE;
use crate::records::{PartitionSet, Records};
use std::ops::Range;
use tokio::time::Instant;
use topic::SpoolPlace;

/// The place in the spool up to which each partition has taken its records.
pub(super) struct Places {
    /// That of all partitions that are not behind.
    front: SpoolPlace,
    behind: Vec<Behind>,
}

/// Partitions that have taken only what is before this place.
struct Behind {
    partitions: PartitionSet,
    at: SpoolPlace,
    /// When they refused what is there.
    refused: Option<Instant>,
}

/// What is to be tried: what comes next in the spool, for some partitions.
pub(super) struct Try {
    pub(super) places: Range<SpoolPlace>,
    /// Whether they refused it before.
    pub(super) is_again: bool,
    whose: Whose,
}

enum Whose {
    These(PartitionSet),
    AllBut(PartitionSet),
}

impl Try {
    /// Those of the records that it is about.
    pub(super) fn of(&self, mut records: Records) -> Records {
        match &self.whose {
            Whose::These(partitions) => records.take_out(partitions),
            Whose::AllBut(partitions) => {
                records.take_out(partitions);
                records
            }
        }
    }
}

impl Places {
    pub(super) fn new() -> Places {
        Places { front: SpoolPlace::START, behind: Vec::new() }
    }

    /// The partitions that have not taken everything that was read.
    pub(super) fn behind(&self) -> PartitionSet {
        let mut all = PartitionSet::default();
        self.behind.iter().for_each(|behind| all.insert(&behind.partitions));
        all
    }

    /// To bring what is new in the spool to the partitions that are not behind.
    pub(super) fn advance(&self) -> Try {
        Try { places: self.front..SpoolPlace::END, is_again: false, whose: Whose::AllBut(self.behind()) }
    }

    /// To bring some that are behind further, if there are any but those that refused just now.
    pub(super) fn catch_up(&mut self) -> Option<Try> {
        let is_due = |behind: &Behind| behind.refused.is_none_or(|refused| refused.elapsed() >= REPLAY_PAUSE);
        let next = self.behind.iter().position(is_due)?;
        let Behind { partitions, at, refused } = self.behind.remove(next);
        // Not past a place where others go on: who leaves a place last has read everything from there to the next one, and can
        // have it removed.
        let others = self.behind.iter().map(|behind| behind.at).filter(|other| *other > at);
        let end = others.fold(self.front, SpoolPlace::min);
        Some(Try { places: at..end, is_again: refused.is_some(), whose: Whose::These(partitions) })
    }

    /// What was tried ended at `end`, and these partitions refused it. Says whether nobody needs any more what was read.
    pub(super) fn tried(&mut self, tried: Try, end: SpoolPlace, refused: PartitionSet) -> bool {
        let from = tried.places.start;
        match tried.whose {
            Whose::AllBut(_) => self.front = end,
            Whose::These(partitions) => self.go_on(partitions.without(&refused), end),
        }
        if !refused.is_empty() {
            self.behind.push(Behind { partitions: refused, at: from, refused: Some(Instant::now()) });
        }
        self.behind.iter().all(|behind| behind.at > from)
    }

    /// These partitions have come to this place, and go on with those that are there already.
    fn go_on(&mut self, partitions: PartitionSet, at: SpoolPlace) {
        if at == self.front || partitions.is_empty() {
            return;
        }
        match self.behind.iter_mut().find(|behind| behind.at == at && behind.refused.is_none()) {
            Some(there) => there.partitions.insert(&partitions),
            None => self.behind.push(Behind { partitions, at, refused: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stdout)]
    use super::*;
    use bytes::Bytes;
    use std::collections::BTreeMap;
    use topic::{Outgoing, Spool, Spooled};

    const PARTITIONS: u32 = 5;

    /// A spool of numbered records, and a log of which some partitions are away at a time.
    struct Scene {
        _dir: tempfile::TempDir,
        spool: Spool,
        places: Places,
        appended: u32,
        away: Vec<bool>,
        log: BTreeMap<u32, Vec<u32>>,
        state: u64,
    }

    impl Scene {
        fn random(&mut self, below: u32) -> u32 {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.state >> 33) as u32 % below
        }

        async fn append(&mut self) {
            let count = 1 + self.random(4);
            let record = |number: u32| Spooled {
                topic: "heartbeats".into(),
                key: Bytes::new(),
                value: Bytes::copy_from_slice(&number.to_le_bytes()),
            };
            let numbers = self.appended..self.appended + count;
            self.spool.append(numbers.map(record).collect()).await.unwrap();
            self.appended += count;
        }

        /// Brings what was tried to the partitions that are there; says whether there was something.
        fn bring(&mut self, tried: Try) -> bool {
            let most = if tried.is_again { 1 } else { 1 + self.random(20) as usize };
            let batch = self.spool.read(tried.places.clone(), most, usize::MAX).unwrap();
            if batch.records.is_empty() {
                return false;
            }
            let outgoing = |spooled: &Spooled| {
                let number = number(&spooled.value);
                Outgoing { partition: partition_of(number), key: Bytes::new(), value: spooled.value.clone() }
            };
            let heartbeats = batch.records.iter().map(outgoing).collect();
            let mut records = tried.of(Records { heartbeats, ..Records::default() });
            let is_there = |record: &mut Outgoing| !self.away[record.partition as usize];
            for record in records.heartbeats.extract_if(.., is_there) {
                self.log.entry(record.partition).or_default().push(number(&record.value));
            }
            if self.places.tried(tried, batch.end, records.partitions()) {
                self.spool.remove(&batch).unwrap();
            }
            true
        }

        fn advance(&mut self) -> bool {
            self.bring(self.places.advance())
        }

        fn catch_up(&mut self) -> bool {
            self.places.catch_up().is_some_and(|tried| self.bring(tried))
        }
    }

    fn partition_of(number: u32) -> u32 {
        number * 3 / 2 % PARTITIONS
    }

    fn number(value: &[u8]) -> u32 {
        u32::from_le_bytes(value.try_into().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn every_partition_takes_its_records_once_and_in_order_whichever_are_away_meanwhile() {
        let seed = std::env::var("SEED").map_or(20_261, |seed| seed.parse().unwrap());
        println!("SEED={seed}");
        let dir = tempfile::TempDir::new().unwrap();
        let spool = Spool::open(dir.path(), 64 << 20).unwrap();
        let away = vec![false; PARTITIONS as usize];
        let places = Places::new();
        let mut scene = Scene { _dir: dir, spool, places, appended: 0, away, log: BTreeMap::new(), state: seed };
        for _ in 0..2_000 {
            match scene.random(6) {
                0 | 1 => scene.append().await,
                2 => {
                    let partition = scene.random(PARTITIONS) as usize;
                    scene.away[partition] = !scene.away[partition];
                }
                3 | 4 => drop(scene.advance()),
                _ => {
                    tokio::time::advance(REPLAY_PAUSE / 2).await;
                    scene.catch_up();
                }
            }
        }
        assert!(!scene.places.behind().is_empty(), "the test is about such places");
        scene.away.fill(false);
        while scene.advance() {}
        tokio::time::advance(REPLAY_PAUSE).await;
        while scene.catch_up() {}
        assert!(scene.places.behind().is_empty());
        assert_eq!(scene.spool.depth().records, 0);
        for partition in 0..PARTITIONS {
            let expected: Vec<u32> = (0..scene.appended).filter(|number| partition_of(*number) == partition).collect();
            assert_eq!(scene.log.remove(&partition).unwrap_or_default(), expected, "partition {partition}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_refused_just_now_is_not_asked_again_at_once() {
        let mut places = Places::new();
        let partitions = crate::records::tests::records(&[1], &[]).partitions();
        assert!(!places.tried(places.advance(), SpoolPlace::END, partitions));
        assert!(places.catch_up().is_none());
        tokio::time::advance(REPLAY_PAUSE).await;
        let again = places.catch_up().unwrap();
        assert!(again.is_again && again.places == (SpoolPlace::START..SpoolPlace::END));
    }
}
