//! Which records take the detour: those of partitions that the log has refused or not acknowledged in time. With a spool the
//! detour leads over the local disk; without one these records wait for the log among themselves. Either way records of other
//! partitions need not wait for them. On its own partition a record on the detour is not overtaken by much, since a point that
//! comes a minute after its successors is late.

use crate::records::{PartitionSet, Records};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The partitions that are away.
#[derive(Default)]
pub(crate) struct Detour {
    is_taken: AtomicBool, // so that nobody locks as long as all is well
    away: Mutex<Away>,
}

#[derive(Default)]
struct Away {
    all: bool, // also those that are not known yet
    some: PartitionSet,
}

impl Detour {
    /// Whether any record takes it.
    pub(crate) fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Relaxed)
    }

    /// The partitions whose records take it; nothing, if all do.
    pub(crate) fn partitions(&self) -> Option<PartitionSet> {
        let away = self.away();
        (!away.all).then(|| away.some.clone())
    }

    /// Takes out the records that take it.
    pub(crate) fn divert(&self, records: &mut Records) -> Records {
        let away = self.away();
        if away.all { mem::take(records) } else { records.take_out(&away.some) }
    }

    /// From now on records of these partitions take it; gives those of which none did before.
    pub(crate) fn begin(&self, refused: &PartitionSet) -> PartitionSet {
        let mut away = self.away();
        self.is_taken.store(true, Ordering::Relaxed);
        let known = if away.all { refused } else { &away.some };
        let new = refused.without(known);
        away.some.insert(refused);
        new
    }

    /// From now on all records take it.
    pub(crate) fn begin_for_all(&self) {
        let mut away = self.away();
        self.is_taken.store(true, Ordering::Relaxed);
        away.all = true;
    }

    /// Records of these partitions do not take it any more.
    pub(crate) fn end_for(&self, back: &PartitionSet) {
        let mut away = self.away();
        away.some = away.some.without(back);
        self.is_taken.store(away.all || !away.some.is_empty(), Ordering::Relaxed);
    }

    /// From now on only records of these partitions take it; says whether others did.
    pub(crate) fn end_but_for(&self, left: PartitionSet) -> bool {
        let mut away = self.away();
        let before = mem::replace(&mut *away, Away { all: false, some: left });
        self.is_taken.store(!away.some.is_empty(), Ordering::Relaxed);
        before.all || !before.some.without(&away.some).is_empty()
    }

    fn away(&self) -> MutexGuard<'_, Away> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::tests::records;

    /// The partitions of what is left and of what takes the detour.
    fn diverted(detour: &Detour) -> (PartitionSet, PartitionSet) {
        let mut sent = records(&[1, 2, 3], &[1]);
        let taken = detour.divert(&mut sent);
        (sent.partitions(), taken.partitions())
    }

    fn set(heartbeats: &[u32], dead_letters: &[u32]) -> PartitionSet {
        records(heartbeats, dead_letters).partitions()
    }

    #[test]
    fn only_partitions_that_were_refused_take_it_until_it_ends_for_them() {
        let detour = Detour::default();
        assert!(!detour.is_taken());
        assert_eq!(detour.begin(&set(&[1], &[])), set(&[1], &[]));
        assert_eq!(detour.begin(&set(&[1, 3], &[])), set(&[3], &[]));
        assert_eq!(diverted(&detour), (set(&[2], &[1]), set(&[1, 3], &[])));
        detour.end_for(&set(&[1, 2], &[]));
        assert_eq!((diverted(&detour), detour.is_taken()), ((set(&[1, 2], &[1]), set(&[3], &[])), true));
        detour.end_for(&set(&[3], &[]));
        assert_eq!((diverted(&detour), detour.is_taken()), ((set(&[1, 2, 3], &[1]), set(&[], &[])), false));
    }

    #[test]
    fn all_take_it_until_it_is_known_which_need_to() {
        let detour = Detour::default();
        detour.begin_for_all();
        assert!(detour.is_taken());
        assert_eq!((diverted(&detour), detour.partitions()), ((set(&[], &[]), set(&[1, 2, 3], &[1])), None));
        assert!(detour.begin(&set(&[1], &[])).is_empty());
        assert!(detour.end_but_for(set(&[2], &[])) && !detour.end_but_for(set(&[2], &[])));
        assert_eq!(
            (diverted(&detour), detour.partitions()),
            ((set(&[1, 3], &[1]), set(&[2], &[])), Some(set(&[2], &[])))
        );
        assert!(detour.end_but_for(PartitionSet::default()) && !detour.is_taken());
    }
}
