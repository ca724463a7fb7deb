//! Brings what is in the spool to the log, in its order, as soon as the log takes it. A crash between the log's
//! acknowledgement and the removal here sends records again; they count once all the same.

use crate::appender::Records;
use crate::limits::{APPEND_TIMEOUT, REPLAY_BYTES, REPLAY_PAUSE, REPLAY_RECORDS};
use crate::meter;
use crate::outlet::Outlet;
use service::{Stop, TaskError};
use std::sync::Arc;
use tokio::time::timeout;
use topic::{LogError, Outgoing, Spool, Spooled};

/// Replays until asked to stop. What is left then stays for the next start.
pub(crate) async fn run(outlet: Arc<Outlet>, spool: Spool, stop: Stop) -> Result<(), TaskError> {
    loop {
        let oldest = oldest(&spool).await?;
        if oldest.records.is_empty() {
            outlet.end_detour();
            tokio::select! {
                () = outlet.spooled.notified() => {}
                () = stop.requested() => return Ok(()),
            }
            continue;
        }
        let mut records = records(&outlet, &oldest.records)?;
        let brought = tokio::select! {
            brought = outlet.direct(&mut records, APPEND_TIMEOUT) => brought,
            () = stop.requested() => return Ok(()),
        };
        if brought.is_ok() {
            meter::replayed(records.len());
            remove(&spool, oldest).await?;
        } else if timeout(REPLAY_PAUSE, stop.requested()).await.is_ok() {
            return Ok(());
        }
    }
}

/// The spooled records for the log; their partitions are those of today. Refused when one is of a topic that this gateway does not
/// write.
fn records(outlet: &Outlet, spooled: &[Spooled]) -> Result<Records, TaskError> {
    let mut records = Records::default();
    for Spooled { topic, key, value } in spooled {
        let record = Outgoing { partition: 0, key: key.clone(), value: value.clone() };
        let of_topic = match topic {
            topic if *topic == outlet.topics.heartbeats => &mut records.heartbeats,
            topic if *topic == outlet.topics.dead_letters => &mut records.dead_letters,
            _ => {
                let heartbeats = &outlet.topics.heartbeats;
                return Err(format!(
                    "the spool has records for topic {topic}, and this gateway writes {heartbeats}: start it with the topic prefix it had until the spool is empty"
                )
                .into());
            }
        };
        of_topic.push(record);
    }
    Ok(records)
}

async fn oldest(spool: &Spool) -> Result<topic::SpoolBatch, LogError> {
    let spool = spool.clone();
    blocking(move || spool.read(REPLAY_RECORDS, REPLAY_BYTES)).await
}

async fn remove(spool: &Spool, batch: topic::SpoolBatch) -> Result<(), LogError> {
    let spool = spool.clone();
    blocking(move || spool.remove(&batch)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| LogError::Closed)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::outlet::Topics;
    use bytes::Bytes;
    use std::time::Duration;
    use topic::Log;

    #[test]
    fn records_of_a_topic_that_this_gateway_does_not_write_are_not_put_elsewhere() {
        let dir = tempfile::TempDir::new().unwrap();
        let producer = Log::embedded(dir.path()).unwrap().producer(Duration::ZERO).unwrap();
        let outlet = Outlet::new(producer, Topics::new("new.heartbeats", "new.dead_letters"), None);
        let spooled = |topic: &str| Spooled { topic: topic.into(), key: Bytes::new(), value: Bytes::new() };
        let ours = records(&outlet, &[spooled("new.dead_letters"), spooled("new.heartbeats")]).unwrap();
        assert_eq!((ours.heartbeats.len(), ours.dead_letters.len()), (1, 1));
        let error = records(&outlet, &[spooled("old.heartbeats")]).unwrap_err().to_string();
        assert!(error.contains("old.heartbeats") && error.contains("new.heartbeats"), "{error}");
    }
}
