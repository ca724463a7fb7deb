//! Ticks: records that say nothing but the time. They are appended where something waits for log time to pass and no record
//! comes, so that a replay sees that time pass too.

use crate::assignment::Owned;
use crate::meters;
use bytes::Bytes;
use futures::FutureExt;
use playback::record::TICK;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use topic::{Delivery, LogError, Outgoing, Producer};

/// A tick is repeated after this long, if the clock still has not come far enough.
const PAUSE: Duration = Duration::from_millis(100);

/// Appends ticks.
pub(crate) struct Ticks {
    /// Topic of heartbeats.
    topic: String,
    /// Whether the tick that was last settled failed; logged once.
    is_failing: bool,
}

/// The last tick of a partition.
pub(crate) struct LastTick {
    appended: Instant,
    delivery: Option<Delivery>,
}

impl LastTick {
    /// None yet.
    pub(crate) fn none(now: Instant) -> LastTick {
        LastTick { appended: now, delivery: None }
    }

    /// What became of it, told once.
    fn outcome(&mut self) -> Option<Result<(), LogError>> {
        let outcome = self.delivery.as_mut()?.now_or_never()?;
        self.delivery = None;
        Some(outcome)
    }
}

impl Ticks {
    /// Ticks for the topic of heartbeats.
    pub(crate) fn new(topic: String) -> Ticks {
        Ticks { topic, is_failing: false }
    }

    /// Appends one to each partition that needs it. Not awaited: one that is lost is appended again after a pause.
    pub(crate) fn append(&mut self, shards: &mut BTreeMap<u32, Owned>, producer: &Producer) {
        for owned in shards.values_mut() {
            if let Some(outcome) = owned.last_tick.outcome() {
                self.note(outcome);
            }
            let Some(due) = owned.shard.due() else { continue };
            let silent_ms = i64::try_from(owned.last_record.elapsed().as_millis()).unwrap_or(i64::MAX);
            if owned.shard.clock().saturating_add(silent_ms) < due || owned.last_tick.appended.elapsed() < PAUSE {
                continue;
            }
            let tick = Outgoing { partition: owned.partition, key: Bytes::new(), value: Bytes::from_static(TICK) };
            let delivery = Some(producer.append(&self.topic, &[tick]));
            owned.last_tick = LastTick { appended: Instant::now(), delivery };
            meters::tick();
        }
    }

    /// Logs it: nothing else tells that a partition stands still because its ticks are refused.
    fn note(&mut self, outcome: Result<(), LogError>) {
        let was_failing = std::mem::replace(&mut self.is_failing, outcome.is_err());
        match outcome {
            Err(error) if !was_failing => {
                tracing::warn!(%error, "ticks are refused: partitions without records stand still; trying on");
            }
            Ok(()) if was_failing => tracing::info!("ticks are taken again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_became_of_a_tick_is_told_once() {
        let dir = tempfile::TempDir::new().unwrap();
        let producer = topic::Log::embedded(dir.path()).unwrap().producer(Duration::ZERO).unwrap();
        let tick = Outgoing { partition: 0, key: Bytes::new(), value: Bytes::from_static(TICK) };
        let mut last = LastTick::none(Instant::now());
        assert!(last.outcome().is_none());
        last.delivery = Some(producer.append("nowhere", &[tick]));
        let outcome = loop {
            match last.outcome() {
                Some(outcome) => break outcome,
                None => tokio::task::yield_now().await,
            }
        };
        assert!(outcome.is_err() && last.outcome().is_none());
        let mut ticks = Ticks::new("nowhere".to_owned());
        ticks.note(outcome);
        assert!(ticks.is_failing);
        ticks.note(Ok(()));
        assert!(!ticks.is_failing);
    }
}
