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
        let mut records = records(&outlet, &oldest.records);
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

/// The spooled records for the log; their partitions are those of today.
fn records(outlet: &Outlet, spooled: &[Spooled]) -> Records {
    let mut records = Records::default();
    for Spooled { topic, key, value } in spooled {
        let record = Outgoing { partition: 0, key: key.clone(), value: value.clone() };
        let of_topic =
            if *topic == outlet.topics.heartbeats { &mut records.heartbeats } else { &mut records.dead_letters };
        of_topic.push(record);
    }
    records
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
