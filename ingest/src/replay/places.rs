//! How far the partitions have taken what is in the spool: nearly all are at the front, and some may be behind.
//!
//! ```text
//! removed | 3, 7        | 12                   | all others
//! --------+-------------+----------------------+------------ comes in
//!         at: refused   at: ready, catches up  front
//! ```

use crate::limits::{REPLAY_LONGEST_PAUSE, REPLAY_PAUSE};
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
    state: State,
    /// How often in a row they refused what is there.
    refusals: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// They took what was before it, and can be given what is there.
    Ready,
    /// The log has what is there and has not settled it.
    Tried,
    /// They have refused it, and are to be given it again at this time.
    Refused(Instant),
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

    /// The front has come to `end`, except for the `unsettled` partitions, whose part of what was tried is not settled. Returns a
    /// try for those partitions, if there are any.
    pub(super) fn advanced(&mut self, tried: &Try, end: SpoolPlace, unsettled: PartitionSet) -> Option<Try> {
        let at = tried.places.start;
        self.front = end;
        if unsettled.is_empty() {
            return None;
        }
        self.behind.push(Behind { partitions: unsettled.clone(), at, state: State::Tried, refusals: 0 });
        Some(Try { places: at..end, is_again: false, whose: Whose::These(unsettled) })
    }

    /// A try that brings some of those behind further, if any can be given something now; those that took their last try come
    /// first.
    pub(super) fn catch_up(&mut self) -> Option<Try> {
        let ready = self.behind.iter().position(|behind| behind.state == State::Ready && !self.is_tried_at(behind.at));
        let next = ready.or_else(|| {
            let is_due = |behind: &Behind| matches!(behind.state, State::Refused(until) if until <= Instant::now());
            self.behind.iter().position(|behind| is_due(behind) && !self.is_tried_at(behind.at))
        })?;
        let at = self.behind[next].at;
        // A try ends where others go on, and there is one try at a place at a time: so the last to leave a place has read
        // everything from there to the next place, and can have it removed.
        let others = self.behind.iter().map(|behind| behind.at).filter(|other| *other > at);
        let end = others.fold(self.front, SpoolPlace::min);
        let behind = &mut self.behind[next];
        let is_again = behind.state != State::Ready;
        behind.state = State::Tried;
        Some(Try { places: at..end, is_again, whose: Whose::These(behind.partitions.clone()) })
    }

    fn is_tried_at(&self, at: SpoolPlace) -> bool {
        self.behind.iter().any(|behind| behind.at == at && behind.state == State::Tried)
    }

    /// Partitions that are behind were given records up to `end`; the `refused` ones refused them.
    pub(super) fn caught_up(&mut self, tried: &Try, end: SpoolPlace, refused: PartitionSet) {
        let at = tried.places.start;
        let tried = self.behind.iter().position(|behind| behind.at == at && behind.state == State::Tried);
        let Behind { partitions, refusals, .. } = self.behind.remove(tried.expect("one try at a place"));
        self.go_on(partitions.without(&refused), end);
        if !refused.is_empty() {
            let pause = REPLAY_PAUSE.saturating_mul(1 << refusals.min(16)).min(REPLAY_LONGEST_PAUSE);
            let (state, refusals) = (State::Refused(Instant::now() + pause), refusals + 1);
            self.behind.push(Behind { partitions: refused, at, state, refusals });
        }
    }

    /// Whether what was read for this try is no longer needed, since all have left its place.
    pub(super) fn is_done(&self, tried: &Try) -> bool {
        self.behind.iter().all(|behind| behind.at > tried.places.start)
    }

    /// These partitions have come to this place, and go on with those that are there already.
    fn go_on(&mut self, partitions: PartitionSet, at: SpoolPlace) {
        if at == self.front || partitions.is_empty() {
            return;
        }
        match self.behind.iter_mut().find(|behind| behind.at == at && behind.state == State::Ready) {
            Some(there) => there.partitions.insert(&partitions),
            None => self.behind.push(Behind { partitions, at, state: State::Ready, refusals: 0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stdout)]
    use super::*;
    use bytes::Bytes;
    use std::collections::BTreeMap;
    use topic::{Outgoing, Spool, SpoolBatch, Spooled};

    const PARTITIONS: u32 = 5;

    /// A spool of numbered records, and a log of which some partitions are away at a time.
    struct Scene {
        _dir: tempfile::TempDir,
        spool: Spool,
        places: Places,
        flights: Vec<(Try, SpoolBatch, Records)>,
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

        /// Reads what is to be tried, and whose records it is about.
        fn read(&mut self, tried: &Try) -> (SpoolBatch, Records) {
            let most = if tried.is_again { 1 } else { 1 + self.random(20) as usize };
            let batch = self.spool.read(tried.places.clone(), most, usize::MAX).unwrap();
            let outgoing = |spooled: &Spooled| {
                let partition = partition_of(number(&spooled.value));
                Outgoing { partition, key: Bytes::new(), value: spooled.value.clone() }
            };
            let heartbeats = batch.records.iter().map(outgoing).collect();
            let records = tried.of(Records { heartbeats, ..Records::default() });
            (batch, records)
        }

        /// Leaves what is for partitions that are away.
        fn log(&mut self, records: &mut Records) {
            let is_there = |record: &mut Outgoing| !self.away[record.partition as usize];
            for record in records.heartbeats.extract_if(.., is_there) {
                self.log.entry(record.partition).or_default().push(number(&record.value));
            }
        }

        fn advance(&mut self) -> bool {
            let tried = self.places.advance();
            let (batch, mut left) = self.read(&tried);
            if batch.records.is_empty() {
                return false;
            }
            self.log(&mut left);
            match self.places.advanced(&tried, batch.end, left.partitions()) {
                Some(tried) => self.flights.push((tried, batch, left)),
                None => self.remove(&tried, &batch),
            }
            true
        }

        fn catch_up(&mut self) -> bool {
            let Some(tried) = self.places.catch_up() else { return false };
            let (batch, records) = self.read(&tried);
            assert!(!batch.records.is_empty(), "who is behind has something left");
            self.flights.push((tried, batch, records));
            true
        }

        /// One of the flights arrives, or is refused.
        fn land(&mut self) -> bool {
            if self.flights.is_empty() {
                return false;
            }
            let flight = self.random(self.flights.len() as u32) as usize;
            let (tried, batch, mut left) = self.flights.swap_remove(flight);
            self.log(&mut left);
            self.places.caught_up(&tried, batch.end, left.partitions());
            self.remove(&tried, &batch);
            true
        }

        fn remove(&self, tried: &Try, batch: &SpoolBatch) {
            if self.places.is_done(tried) {
                self.spool.remove(batch.end, batch.records.len()).unwrap();
            }
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
        let seed = std::env::var("WATCHBEAT_TEST_SEED").map_or(20_261, |seed| seed.parse().unwrap());
        println!("WATCHBEAT_TEST_SEED={seed}");
        let dir = tempfile::TempDir::new().unwrap();
        let spool = Spool::open(dir.path(), 64 << 20).unwrap();
        let away = vec![false; PARTITIONS as usize];
        let places = Places::new();
        let (flights, log) = (Vec::new(), BTreeMap::new());
        let mut scene = Scene { _dir: dir, spool, places, flights, appended: 0, away, log, state: seed };
        for _ in 0..2_000 {
            match scene.random(9) {
                0 | 1 => scene.append().await,
                2 => {
                    let partition = scene.random(PARTITIONS) as usize;
                    scene.away[partition] = !scene.away[partition];
                }
                3 | 4 => drop(scene.advance()),
                5 | 6 => drop(scene.land()),
                _ => {
                    tokio::time::advance(REPLAY_PAUSE).await;
                    scene.catch_up();
                }
            }
        }
        assert!(!scene.places.behind().is_empty(), "the test is about such places");
        scene.away.fill(false);
        while scene.advance() {}
        tokio::time::advance(REPLAY_LONGEST_PAUSE).await;
        while scene.catch_up() || scene.land() {}
        assert!(scene.places.behind().is_empty());
        assert_eq!(scene.spool.depth().records, 0);
        for partition in 0..PARTITIONS {
            let expected: Vec<u32> = (0..scene.appended).filter(|number| partition_of(*number) == partition).collect();
            assert_eq!(scene.log.remove(&partition).unwrap_or_default(), expected, "partition {partition}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_refuses_is_asked_again_ever_later() {
        let mut places = Places::new();
        let partitions = || crate::records::tests::records(&[1], &[]).partitions();
        let mut tried = places.advanced(&places.advance(), SpoolPlace::END, partitions()).unwrap();
        assert!(places.catch_up().is_none(), "what was tried is not settled");
        for pause in [1, 2, 4, 8].map(|times| REPLAY_PAUSE * times) {
            places.caught_up(&tried, SpoolPlace::END, partitions());
            assert!(!places.is_done(&tried));
            tokio::time::advance(pause - REPLAY_PAUSE / 2).await;
            assert!(places.catch_up().is_none());
            tokio::time::advance(REPLAY_PAUSE / 2).await;
            tried = places.catch_up().unwrap();
            assert!(tried.is_again && tried.places == (SpoolPlace::START..SpoolPlace::END));
        }
        places.caught_up(&tried, SpoolPlace::END, PartitionSet::default());
        assert!(places.is_done(&tried) && places.behind().is_empty());
    }
}
