//! Which records take the detour over the spool: those of partitions that the log has refused or not acknowledged in time. Others
//! of the same partition do not overtake what is in the spool, since a point that comes a minute after those behind it is late;
//! those of other partitions need not wait for it.

use crate::appender::Records;
use std::collections::BTreeSet;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use topic::Outgoing;

/// The detour, as long as something is in the spool.
#[derive(Default)]
pub(crate) struct Detour {
    is_taken: AtomicBool, // so that nobody locks as long as all is well
    away: Mutex<Away>,
}

/// Partitions that are away, by topic.
#[derive(Default)]
struct Away {
    all: bool,
    heartbeats: BTreeSet<u32>,
    dead_letters: BTreeSet<u32>,
}

impl Detour {
    /// Whether any record takes it.
    pub(crate) fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Relaxed)
    }

    /// Takes out the records that go to the spool.
    pub(crate) fn divert(&self, records: &mut Records) -> Records {
        if !self.is_taken() {
            return Records::default();
        }
        let away = self.away();
        if away.all {
            return mem::take(records);
        }
        Records {
            heartbeats: taken_out(&mut records.heartbeats, &away.heartbeats),
            dead_letters: taken_out(&mut records.dead_letters, &away.dead_letters),
        }
    }

    /// From now on records of the partitions of these take it; those of all partitions, if nobody knows on which they are. Says whether
    /// nobody took it before.
    pub(crate) fn begin(&self, refused: &Records, are_placed: bool) -> bool {
        let mut away = self.away();
        away.all |= !are_placed;
        away.heartbeats.extend(refused.heartbeats.iter().map(|record| record.partition));
        away.dead_letters.extend(refused.dead_letters.iter().map(|record| record.partition));
        !self.is_taken.swap(true, Ordering::Relaxed)
    }

    /// From now on all records take it.
    pub(crate) fn begin_for_all(&self) {
        self.begin(&Records::default(), false);
    }

    /// Nobody takes it any more; says whether anybody did.
    pub(crate) fn end(&self) -> bool {
        let mut away = self.away();
        *away = Away::default();
        self.is_taken.swap(false, Ordering::Relaxed)
    }

    fn away(&self) -> MutexGuard<'_, Away> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn taken_out(records: &mut Vec<Outgoing>, away: &BTreeSet<u32>) -> Vec<Outgoing> {
    records.extract_if(.., |record| away.contains(&record.partition)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn records(heartbeats: &[u32], dead_letters: &[u32]) -> Records {
        let on = |partition: &u32| Outgoing { partition: *partition, key: Bytes::new(), value: Bytes::new() };
        Records { heartbeats: heartbeats.iter().map(on).collect(), dead_letters: dead_letters.iter().map(on).collect() }
    }

    fn partitions(records: &Records) -> (Vec<u32>, Vec<u32>) {
        let of = |records: &[Outgoing]| records.iter().map(|record| record.partition).collect();
        (of(&records.heartbeats), of(&records.dead_letters))
    }

    #[test]
    fn only_partitions_that_were_refused_take_it_until_it_ends() {
        let detour = Detour::default();
        let mut sent = records(&[1, 2, 1, 3], &[1]);
        assert_eq!(partitions(&detour.divert(&mut sent)), (vec![], vec![]));
        assert!(detour.begin(&records(&[1], &[]), true) && !detour.begin(&records(&[3], &[]), true));
        assert_eq!(partitions(&detour.divert(&mut sent)), (vec![1, 1, 3], vec![]));
        assert_eq!(partitions(&sent), (vec![2], vec![1]));
        assert!(detour.is_taken() && detour.end() && !detour.end() && !detour.is_taken());
        let mut sent = records(&[1], &[]);
        assert_eq!(partitions(&detour.divert(&mut sent)), (vec![], vec![]));
    }

    #[test]
    fn all_take_it_while_nobody_knows_where_they_go() {
        let detour = Detour::default();
        assert!(detour.begin(&records(&[0], &[]), false));
        let mut sent = records(&[1, 2], &[7]);
        assert_eq!(partitions(&detour.divert(&mut sent)), (vec![1, 2], vec![7]));
        assert!(sent.is_empty());
    }
}
