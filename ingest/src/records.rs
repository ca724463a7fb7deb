//! Records on their way out, by topic, and the partitions they are for.

use crate::by_topic::ByTopic;
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use topic::Outgoing;

/// Records of several requests.
pub(crate) type Records = ByTopic<Vec<Outgoing>>;

impl Records {
    pub(crate) fn append(&mut self, others: &mut Records) {
        self.as_mut().zip(others.as_mut()).map(|(own, others)| own.append(others));
    }

    pub(crate) fn bytes(&self) -> usize {
        let bytes = |record: &Outgoing| record.key.len() + record.value.len();
        self.as_ref().each().into_iter().flatten().map(bytes).sum()
    }

    /// The partitions they are for.
    pub(crate) fn partitions(&self) -> PartitionSet {
        self.as_ref().map(|records| records.iter().map(|record| record.partition).collect())
    }

    /// Takes out those of these partitions; the order stays.
    pub(crate) fn take_out(&mut self, of: &PartitionSet) -> Records {
        self.as_mut().zip(of.as_ref()).map(|(records, partitions)| {
            records.extract_if(.., |record| partitions.contains(&record.partition)).collect()
        })
    }
}

/// Partitions.
pub(crate) type PartitionSet = ByTopic<BTreeSet<u32>>;

impl PartitionSet {
    pub(crate) fn insert(&mut self, others: &PartitionSet) {
        self.as_mut().zip(others.as_ref()).map(|(own, others)| own.extend(others));
    }

    pub(crate) fn without(&self, others: &PartitionSet) -> PartitionSet {
        self.as_ref().zip(others.as_ref()).map(|(own, others)| own - others)
    }
}

impl Display for PartitionSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let named = [("heartbeats", &self.heartbeats), ("dead_letters", &self.dead_letters)]
            .into_iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |partition| format!("{topic}-{partition}")));
        f.write_str(&named.take(SHOWN).collect::<Vec<_>>().join(", "))?;
        if self.len() > SHOWN { write!(f, " and {} more", self.len() - SHOWN) } else { Ok(()) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bytes::Bytes;

    /// Records for these partitions.
    pub(crate) fn records(heartbeats: &[u32], dead_letters: &[u32]) -> Records {
        let on = |partition: &u32| Outgoing { partition: *partition, key: Bytes::new(), value: Bytes::new() };
        Records { heartbeats: heartbeats.iter().map(on).collect(), dead_letters: dead_letters.iter().map(on).collect() }
    }

    #[test]
    fn records_are_taken_out_by_topic_and_partition_in_their_order() {
        let mut all = records(&[1, 2, 1, 3], &[1, 2]);
        let taken = all.take_out(&records(&[3, 1], &[2]).partitions());
        let of = |records: &[Outgoing]| records.iter().map(|record| record.partition).collect::<Vec<_>>();
        assert_eq!((of(&taken.heartbeats), of(&taken.dead_letters)), (vec![1, 1, 3], vec![2]));
        assert_eq!((of(&all.heartbeats), of(&all.dead_letters)), (vec![2], vec![1]));
    }

    #[test]
    fn partitions_are_told_as_kafka_does_and_not_all_of_many() {
        assert_eq!(records(&[2, 1], &[0]).partitions().to_string(), "heartbeats-1, heartbeats-2, dead_letters-0");
        let many: Vec<u32> = (0..64).collect();
        assert!(records(&many, &[]).partitions().to_string().ends_with(" heartbeats-7 and 56 more"));
    }
}
