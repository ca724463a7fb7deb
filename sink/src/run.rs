//! The sink's loop: poll, chain, merge, write. One thread, blocking; it waits for the database on the runtime's handle. This
//! is the one place of the crate that reads a clock, and only to know when a flush is due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use metrics::{counter, gauge, histogram};
use service::{Component, Readiness, Stop, TaskError};
use tokio::runtime::Handle;
use topic::{Consumer, Log, Record};

use crate::chain::{Arrival, Chain};
use crate::database::persistently;
use crate::progress::{self, Change, Changes, FromProgress, Progress};
use crate::transaction::{self, Batch, Outcome, Range};
use crate::{Settings, SinkError, caps, meters};

/// Writes until told to stop; then writes what it has, and ends. Blocks the thread it is called on.
pub fn run(
    log: Log,
    pool: Pool,
    settings: Settings,
    runtime: Handle,
    readiness: Readiness,
    stop: Stop,
) -> Result<(), TaskError> {
    meters::describe();
    let (log_component, database) = (readiness.component("sink_log"), readiness.component("sink_database"));
    let changes = Changes::default();
    let assignment = FromProgress {
        pool: pool.clone(),
        pipeline: settings.pipeline.clone(),
        runtime: runtime.clone(),
        database: database.clone(),
        stop: stop.clone(),
        changes: Arc::clone(&changes),
    };
    let consumer = log.consumer(&settings.partials_topic, &settings.group, Box::new(assignment))?;
    let state =
        State { settings, changes, chains: BTreeMap::new(), batch: Batch::default(), due: None, leaving: false };
    Sink { consumer, state, pool, runtime, database, log: log_component, stop }.run()?;
    Ok(())
}

struct Sink {
    consumer: Consumer,
    state: State,
    pool: Pool,
    runtime: Handle,
    database: Component,
    log: Component,
    stop: Stop,
}

impl Sink {
    fn run(&mut self) -> Result<(), SinkError> {
        while !self.stop.is_requested() {
            let mut failure = None;
            let state = &mut self.state;
            let polled = self.consumer.poll(state.wait(), caps::RECORDS_PER_POLL, &mut |record| {
                if failure.is_none() {
                    failure = state.take(&record).err();
                }
            });
            match polled {
                Ok(_) => self.log.ready(),
                Err(_) if self.stop.is_requested() => break,
                Err(error) => return Err(error.into()),
            }
            failure.map_or(Ok(()), Err)?;
            self.state.follow_assignment();
            if self.state.note_stuck()? {
                self.rebuild()?;
            } else if self.state.is_due() {
                self.flush()?;
            }
        }
        self.flush()
    }

    /// Writes the batch, if there is one; starts over from `progress` when somebody else was faster.
    fn flush(&mut self) -> Result<(), SinkError> {
        if self.state.batch.ranges.is_empty() {
            return Ok(());
        }
        self.state.place_positions();
        let (started, batch) = (Instant::now(), std::mem::take(&mut self.state.batch));
        self.state.due = None;
        self.state.leaving = false;
        let pipeline = &self.state.settings.pipeline;
        let writing = transaction::write(&self.pool, pipeline, &batch, &self.database, &self.stop);
        match self.runtime.block_on(writing)? {
            None => return Ok(()),
            Some(Outcome::Outrun) => {
                counter!(meters::TRANSACTIONS, "outcome" => "outrun").increment(1);
                tracing::info!(partitions = batch.ranges.len(), "another sink was faster; starting over from progress");
                return self.rebuild();
            }
            Some(Outcome::Committed) => {}
        }
        counter!(meters::TRANSACTIONS, "outcome" => "committed").increment(1);
        counter!(meters::ROWS).increment(batch.merged.rows() as u64);
        histogram!(meters::WRITE_SECONDS).record(started.elapsed().as_secs_f64());
        for (partition, range) in batch.ranges {
            gauge!(meters::CLOCK, "partition" => partition.to_string()).set(range.clock as f64);
            // For lag monitors only, so a failure is theirs: `progress` is where the sink resumes.
            if let (true, Err(error)) =
                (self.state.chains.contains_key(&partition), self.consumer.commit(partition, range.partials_offset))
            {
                tracing::debug!(%error, partition, "the group's offset could not be committed");
            }
        }
        Ok(())
    }

    /// Drops what is merged, and reads again from where the tables are.
    fn rebuild(&mut self) -> Result<(), SinkError> {
        self.state.batch = Batch::default();
        self.state.due = None;
        self.state.leaving = false;
        let partitions: Vec<u32> = self.state.chains.keys().copied().collect();
        let pipeline = &self.state.settings.pipeline;
        let reading = persistently("reading progress", &self.database, &self.stop, async || {
            progress::read(&self.pool, pipeline, &partitions).await
        });
        let Some(rows) = self.runtime.block_on(reading)? else {
            return Ok(());
        };
        for row in rows {
            self.consumer.seek(row.partition, row.partials_offset)?;
            if let Some(chain) = self.state.chains.get_mut(&row.partition) {
                chain.reset(row.next_offset, row.fingerprint, row.partials_offset);
            }
        }
        Ok(())
    }
}

/// What the loop keeps between polls, apart from its connections.
struct State {
    settings: Settings,
    changes: Changes,
    chains: BTreeMap<u32, Chain>,
    batch: Batch,
    /// When the batch must be written.
    due: Option<Instant>,
    /// Whether the batch holds a partition that was taken away: written at once, for whoever has it now.
    leaving: bool,
}

impl State {
    /// Takes one message.
    fn take(&mut self, record: &Record<'_>) -> Result<(), SinkError> {
        self.follow_assignment();
        let (partition, offset) = (record.partition, record.offset);
        let Some(chain) = self.chains.get_mut(&partition) else {
            return Ok(());
        };
        let partial =
            sql::codec::decode(record.value).map_err(|source| SinkError::Codec { partition, offset, source })?;
        if partial.pipeline != self.settings.pipeline || partial.partition != partition {
            let (pipeline, claimed) = (partial.pipeline, partial.partition);
            return Err(SinkError::Stranger { partition, offset, pipeline, claimed });
        }
        let arrival = Arrival { offset, bytes: record.value.len(), partial };
        let ready = chain.take(arrival).map_err(|source| SinkError::Chain { partition, offset, source })?;
        gauge!(meters::WAITING, "partition" => partition.to_string()).set(chain.waiting() as f64);
        if ready.is_empty() && chain.waiting() == 0 {
            counter!(meters::REPEATS).increment(1);
        }
        for arrival in ready {
            self.merge(partition, arrival)?;
        }
        Ok(())
    }

    fn merge(&mut self, partition: u32, arrival: Arrival) -> Result<(), SinkError> {
        let Arrival { offset, partial, .. } = arrival;
        let (from, to, clock) = (partial.from, partial.to, partial.clock);
        let ledger = partial.ledger.expect("the codec refuses a partial without a ledger");
        let merged = self.batch.merged.add(partial.tables);
        merged.map_err(|source| SinkError::Merge { partition, offset, source })?;
        let fingerprint = partial.fingerprint;
        let range = Range { from, to, clock, fingerprint, partials_offset: offset + 1, ledger };
        self.batch
            .ranges
            .entry(partition)
            .and_modify(|merged| *merged = Range { from: merged.from, ..range.clone() })
            .or_insert(range);
        counter!(meters::EPOCHS).increment(1);
        self.due.get_or_insert_with(|| Instant::now() + Duration::from_millis(self.settings.flush_ms));
        Ok(())
    }

    /// Carries out what the assignment has noted.
    fn follow_assignment(&mut self) {
        let changes = std::mem::take(&mut *self.changes.lock().expect("nobody panics holding it"));
        for change in changes {
            match change {
                Change::Assigned(row) => self.assign(row),
                Change::Revoked(partition) => {
                    self.chains.remove(&partition);
                    self.leaving |= self.batch.ranges.contains_key(&partition);
                }
            }
        }
    }

    /// A partition that comes back while its epochs are still in the batch goes on behind them. Should somebody else have
    /// written meanwhile, the guard finds it, and all starts over.
    fn assign(&mut self, row: Progress) {
        let Progress { partition, next_offset, fingerprint, partials_offset } = row;
        let next = self.batch.ranges.get(&partition).map_or(next_offset, |range| range.to);
        self.chains.insert(partition, Chain::new(next, fingerprint, partials_offset));
    }

    /// Whether a chain waits for too much; an error when reading back has not helped it.
    fn note_stuck(&mut self) -> Result<bool, SinkError> {
        let mut is_stuck = false;
        for (&partition, chain) in self.chains.iter_mut().filter(|(_, chain)| chain.is_stuck()) {
            let offset = chain.resume_at();
            chain.note_read_back().map_err(|source| SinkError::Chain { partition, offset, source })?;
            tracing::warn!(partition, waiting = chain.waiting(), "an epoch is missing; reading partials again");
            is_stuck = true;
        }
        Ok(is_stuck)
    }

    /// Notes for each partition of the batch where it would be read on.
    fn place_positions(&mut self) {
        for (partition, range) in &mut self.batch.ranges {
            if let Some(chain) = self.chains.get(partition) {
                range.partials_offset = chain.resume_at();
            }
        }
    }

    fn is_due(&self) -> bool {
        self.leaving
            || self.batch.merged.rows() >= self.settings.flush_rows
            || self.due.is_some_and(|due| due <= Instant::now())
    }

    /// How long a poll may wait.
    fn wait(&self) -> Duration {
        self.due.map_or(caps::POLL_WAIT, |due| due.saturating_duration_since(Instant::now()).min(caps::POLL_WAIT))
    }
}
