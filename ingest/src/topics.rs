//! The two topics that the gateway writes: their names, and on which of their partitions a record is put.

use crate::by_topic::ByTopic;
use crate::records::Records;
use std::sync::{Arc, OnceLock};
use topic::{Outgoing, Spooled};

/// How many partitions each has.
pub(crate) type PartitionCounts = ByTopic<u32>;

/// Both topics.
pub(crate) struct Topics {
    pub(crate) names: ByTopic<Arc<str>>,
    /// As found when the log first answered; not known before.
    pub(crate) partitions: OnceLock<PartitionCounts>,
}

/// A record of the spool is for a topic that this gateway does not write.
#[derive(Debug, thiserror::Error)]
#[error(
    "the spool has records for topic {topic}, and this gateway writes {heartbeats}: start it with the topic prefix it had until the spool is empty"
)]
pub(crate) struct ForeignTopic {
    topic: Arc<str>,
    heartbeats: Arc<str>,
}

impl Topics {
    pub(crate) fn new(heartbeats: &str, dead_letters: &str) -> Topics {
        let names = ByTopic { heartbeats: heartbeats.into(), dead_letters: dead_letters.into() };
        Topics { names, partitions: OnceLock::new() }
    }

    /// Puts each record on the partition of its key, if it is known how many there are.
    pub(crate) fn place(&self, records: &mut Records) -> bool {
        let Some(counts) = self.partitions.get() else { return false };
        records.as_mut().zip(*counts).map(|(records, partitions)| {
            for record in records {
                record.partition = topic::partition_for(&record.key, partitions);
            }
        });
        true
    }

    /// The records as the spool keeps them.
    pub(crate) fn to_spooled(&self, records: Records) -> Vec<Spooled> {
        let of_topic = |(topic, records): (&Arc<str>, Vec<Outgoing>)| {
            let topic = topic.clone();
            records.into_iter().map(move |Outgoing { key, value, .. }| Spooled { topic: topic.clone(), key, value })
        };
        self.names.as_ref().zip(records).map(of_topic).each().into_iter().flatten().collect()
    }

    /// The records that the spool has kept, not yet in their places.
    pub(crate) fn of_spooled(&self, spooled: &[Spooled]) -> Result<Records, ForeignTopic> {
        let mut records = Records::default();
        for Spooled { topic, key, value } in spooled {
            let of_topic = if *topic == self.names.heartbeats {
                &mut records.heartbeats
            } else if *topic == self.names.dead_letters {
                &mut records.dead_letters
            } else {
                return Err(ForeignTopic { topic: topic.clone(), heartbeats: self.names.heartbeats.clone() });
            };
            of_topic.push(Outgoing { partition: 0, key: key.clone(), value: value.clone() });
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn records_of_a_topic_that_this_gateway_does_not_write_are_not_put_elsewhere() {
        let topics = Topics::new("new.heartbeats", "new.dead_letters");
        let spooled = |topic: &str| Spooled { topic: topic.into(), key: Bytes::new(), value: Bytes::new() };
        let both = [spooled("new.heartbeats"), spooled("new.dead_letters"), spooled("new.heartbeats")];
        let ours = topics.of_spooled(&both).unwrap();
        assert_eq!((ours.heartbeats.len(), ours.dead_letters.len()), (2, 1));
        let again: Vec<_> = topics.to_spooled(ours).into_iter().map(|spooled| spooled.topic).collect();
        assert_eq!(again, ["new.heartbeats", "new.heartbeats", "new.dead_letters"].map(Arc::<str>::from));
        let error = topics.of_spooled(&[spooled("old.heartbeats")]).unwrap_err().to_string();
        assert!(error.contains("old.heartbeats") && error.contains("new.heartbeats"), "{error}");
    }
}
