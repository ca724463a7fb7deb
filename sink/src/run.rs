//! The sink's loop: poll, chain, merge, write. While the database works on one batch the next is gathered, so a sink that
//! is behind merges more rows into one. One blocking thread, and one transaction at a time beside it. It reads a clock only to know when a
//! flush is due.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use service::{Component, Readiness, Stop, TaskError};
use sql::database::Pool;
use tokio::runtime::Handle;
use topic::caps::WATCH_INTERVAL;
use topic::{Consumer, Log, Record, Start};

use crate::chain::{self, Arrival, Chain};
use crate::database::persistently;
use crate::owner;
use crate::pace::Pace;
use crate::progress::{self, Change, Changes, FromProgress, Progress};
use crate::transaction::{Batch, Gathered, Outcome, Range};
use crate::writing::Writing;
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
    let (watched, topic, until) = (log.clone(), settings.partials_topic.clone(), stop.clone());
    let component = readiness.component("sink_log");
    let watching = runtime.spawn(async move {
        component.watch(WATCH_INTERVAL, &until, || watched.describe(&topic)).await;
    });
    let mut sink = Sink::open(log, pool, settings, runtime, &readiness, stop, caps::TRANSACTION_TIMEOUT)?;
    let ended = sink.run();
    watching.abort();
    Ok(ended?)
}

struct Sink {
    source: Log,
    consumer: Consumer,
    state: State,
    pool: Pool,
    runtime: Handle,
    database: Component,
    stop: Stop,
    /// How long a transaction may take at first.
    patience: Duration,
}

impl Sink {
    /// Joins the group; nothing is read yet.
    fn open(
        log: Log,
        pool: Pool,
        settings: Settings,
        runtime: Handle,
        readiness: &Readiness,
        stop: Stop,
        patience: Duration,
    ) -> Result<Sink, SinkError> {
        let database = readiness.component("sink_database");
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
        let state = State {
            pace: Pace { rows: settings.flush_rows, patience },
            settings,
            changes,
            chains: BTreeMap::new(),
            ready: VecDeque::new(),
            gathered: Gathered::default(),
            writing: None,
            due: None,
            leaving: false,
        };
        Ok(Sink { source: log, consumer, state, pool, runtime, database, stop, patience })
    }

    fn run(&mut self) -> Result<(), SinkError> {
        self.reach_database()?;
        while !self.stop.is_requested() {
            let mut taken = Ok(());
            let state = &mut self.state;
            let polled = self.consumer.poll(state.wait(), caps::RECORDS_PER_POLL, &mut |records| {
                if taken.is_ok() {
                    taken = records.iter().try_for_each(|record| state.take(record));
                }
            });
            match polled {
                Ok(_) => {}
                Err(_) if self.stop.is_requested() => break,
                Err(error) => return Err(error.into()),
            }
            taken?;
            self.state.follow_assignment();
            self.merge_ready()?;
            if self.state.writing.as_ref().is_some_and(Writing::is_over) {
                self.settle()?;
            }
            if self.look_for_missing()? {
                self.settle()?;
                self.rebuild()?;
            } else if self.state.leaving || (self.state.is_due() && self.state.writing.is_none()) {
                self.write()?;
            }
        }
        self.write()?;
        self.settle().map(drop)
    }

    /// Waits until the tables can be read, before any partition comes: a sink in reserve has none, and is ready all the same.
    /// Refuses tables of another pipeline.
    fn reach_database(&self) -> Result<(), SinkError> {
        let checking = persistently("reaching the database", &self.pool, &self.database, &self.stop, async || {
            owner::check(&self.pool, &self.state.settings.pipeline).await
        });
        self.runtime.block_on(checking)?;
        Ok(())
    }

    /// Merges the epochs whose turn it is, and writes whenever the batch is full: a transaction has no more rows than that
    /// and those of one epoch.
    fn merge_ready(&mut self) -> Result<(), SinkError> {
        while let Some((partition, arrival)) = self.state.ready.pop_front() {
            self.state.merge(partition, arrival)?;
            if self.state.is_full() {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Sends chains back to the epochs they let go. True: an epoch is missing, and perhaps `progress` knows of it; an error
    /// when it was missing after that too.
    fn look_for_missing(&mut self) -> Result<bool, SinkError> {
        let mut is_stuck = false;
        for (&partition, chain) in &mut self.state.chains {
            if let Some(offset) = chain.read_again() {
                tracing::info!(partition, offset, "the missing epoch came; reading on from the first that had no room");
                self.consumer.seek(partition, Start::Offset(offset))?;
            } else if chain.wants_end() {
                let ends = self.runtime.block_on(self.source.end_offsets(&self.state.settings.partials_topic))?;
                chain.note_end(ends.get(partition as usize).copied().unwrap_or(0));
                tracing::warn!(partition, waiting = chain.waiting(), "an epoch is missing; looking for it further on");
            }
            if chain.is_stuck() {
                let offset = chain.resume_at();
                chain.note_read_back().map_err(|source| SinkError::Chain { partition, offset, source })?;
                tracing::warn!(partition, waiting = chain.waiting(), "an epoch is missing; reading partials again");
                is_stuck = true;
            }
        }
        Ok(is_stuck)
    }

    /// Begins to write what is gathered, if there is something, as soon as the batch before it is written; meanwhile it is put
    /// in order.
    fn write(&mut self) -> Result<(), SinkError> {
        self.state.place_positions();
        let batch = Batch::from(std::mem::take(&mut self.state.gathered));
        self.state.due = None;
        self.state.leaving = false;
        if !self.settle()? || batch.ranges.is_empty() {
            return Ok(());
        }
        let pipeline = self.state.settings.pipeline.clone();
        let (pool, database, stop) = (self.pool.clone(), self.database.clone(), self.stop.clone());
        let patience = self.state.pace.patience;
        self.state.writing = Some(Writing::begin(&self.runtime, pool, pipeline, batch, database, stop, patience));
        Ok(())
    }

    /// Waits for the batch that is being written. False: it is not in the tables, or nobody knows; all starts over from
    /// `progress`, and what was gathered behind it would begin behind what is lost.
    fn settle(&mut self) -> Result<bool, SinkError> {
        let Some(writing) = self.state.writing.take() else { return Ok(true) };
        let pace = self.state.pace;
        let (batch, took, outcome) = writing.end(&self.runtime)?;
        match outcome {
            None => {
                self.state.forget_gathered();
                return Ok(false);
            }
            Some(Outcome::TimedOut) => {
                meters::transaction(meters::TIMED_OUT, 1);
                self.state.pace = pace.slower(&batch);
                let (rows, next) = (batch.merged.rows, self.state.pace);
                tracing::warn!(
                    rows,
                    ?next,
                    "a transaction took too long; starting over from progress with a smaller one"
                );
                return self.rebuild().map(|()| false);
            }
            Some(Outcome::Outrun) => {
                meters::transaction(meters::OUTRUN, 1);
                tracing::info!(partitions = batch.ranges.len(), "another sink was faster; starting over from progress");
                return self.rebuild().map(|()| false);
            }
            Some(Outcome::Committed) => {}
        }
        self.state.pace = pace.faster(self.state.settings.flush_rows, self.patience);
        meters::transaction(meters::COMMITTED, 1);
        counter!(meters::ROWS).increment(batch.merged.rows as u64);
        histogram!(meters::WRITE_SECONDS).record(took.as_secs_f64());
        self.note_written(&batch);
        Ok(true)
    }

    /// Tells lag monitors how far the tables are.
    fn note_written(&mut self, batch: &Batch) {
        for (&partition, range) in &batch.ranges {
            meters::clock(partition, range.to, range.clock);
            // For lag monitors only, so a failure is theirs: `progress` is where the sink resumes.
            if let (true, Err(error)) = (
                self.state.chains.contains_key(&partition),
                self.consumer.store_offset(partition, range.partials_offset),
            ) {
                tracing::debug!(%error, partition, "lag monitors were not told");
            }
        }
    }

    /// Drops what is merged, and reads again from where the tables are.
    fn rebuild(&mut self) -> Result<(), SinkError> {
        self.state.forget_gathered();
        let partitions: Vec<u32> = self.state.chains.keys().copied().collect();
        let pipeline = &self.state.settings.pipeline;
        let reading = persistently("reading progress", &self.pool, &self.database, &self.stop, async || {
            progress::read(&self.pool, pipeline, &partitions).await
        });
        let Some(rows) = self.runtime.block_on(reading)? else {
            return Ok(());
        };
        for row in rows {
            self.consumer.seek(row.partition, row.start())?;
            if let Some(chain) = self.state.chains.get_mut(&row.partition) {
                chain.reset(row.next_offset, row.fingerprint, row.partials_offset);
                meters::waiting(row.partition, 0);
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
    /// Epochs whose turn it is, with their partitions; empty before each poll.
    ready: VecDeque<(u32, Arrival)>,
    /// What is gathered.
    gathered: Gathered,
    /// What is being written meanwhile; what is gathered goes on behind it.
    writing: Option<Writing>,
    pace: Pace,
    /// When what is gathered must be written.
    due: Option<Instant>,
    /// Whether a partition is gathered that was taken away: written at once, for whoever has it now.
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
        let arrival = Arrival { offset, bytes: partial.bytes(), partial };
        let ready = chain.take(arrival).map_err(|source| SinkError::Chain { partition, offset, source })?;
        if ready.is_empty() && chain.waiting() == 0 {
            counter!(meters::REPEATS).increment(1);
        }
        let shortened = chain::bound(&mut self.chains, caps::WAITING_BYTES_IN_ALL);
        for partition in shortened.into_iter().chain([partition]) {
            meters::waiting(partition, self.chains[&partition].waiting());
        }
        self.ready.extend(ready.into_iter().map(|arrival| (partition, arrival)));
        Ok(())
    }

    fn merge(&mut self, partition: u32, arrival: Arrival) -> Result<(), SinkError> {
        let Arrival { offset, partial, .. } = arrival;
        let (from, to, clock) = (partial.from, partial.to, partial.clock);
        let ledger = partial.ledger.expect("the codec refuses a partial without a ledger");
        let merged = self.gathered.merged.add(&partial);
        merged.map_err(|source| SinkError::Merge { partition, offset, source })?;
        let fingerprint = partial.fingerprint;
        let range = Range { from, to, clock, fingerprint, partials_offset: offset + 1, ledger };
        self.gathered
            .ranges
            .entry(partition)
            .and_modify(|merged| *merged = Range { from: merged.from, ..range.clone() })
            .or_insert(range);
        self.gathered.epochs += 1;
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
                    meters::waiting(partition, 0);
                    self.ready.retain(|(of, _)| *of != partition); // whoever has it now reads them
                    self.leaving |= self.gathered.ranges.contains_key(&partition);
                }
            }
        }
    }

    /// Drops what is merged or waits for it.
    fn forget_gathered(&mut self) {
        self.gathered = Gathered::default();
        self.ready.clear();
        self.due = None;
        self.leaving = false;
    }

    /// A partition that comes back while its epochs are still on their way into the tables goes on behind them; or where the tables
    /// are, if they are further: then somebody else has written behind what was on its way, or in its place, which the guard
    /// finds, and all starts over.
    fn assign(&mut self, row: Progress) {
        let Progress { partition, next_offset, clock, fingerprint, partials_offset } = row;
        meters::clock(partition, next_offset, clock); // whoever wrote it may be gone, and the next transaction may fail for long
        let gathered = self.gathered.ranges.get(&partition);
        let range = gathered.or_else(|| self.writing.as_ref()?.batch().ranges.get(&partition));
        let next = range.map_or(next_offset, |range| range.to.max(next_offset));
        self.chains.insert(partition, Chain::new(next, fingerprint, partials_offset));
    }

    /// Notes for each partition that is gathered where it would be read on.
    fn place_positions(&mut self) {
        for (partition, range) in &mut self.gathered.ranges {
            if let Some(chain) = self.chains.get(partition) {
                let ready = self.ready.iter().filter(|(of, _)| of == partition).map(|(_, arrival)| arrival.offset);
                range.partials_offset = ready.fold(chain.resume_at(), u64::min);
            }
        }
    }

    fn is_due(&self) -> bool {
        self.is_full() || self.due.is_some_and(|due| due <= Instant::now())
    }

    fn is_full(&self) -> bool {
        self.gathered.merged.rows() >= self.pace.rows
    }

    /// How long a poll may wait.
    fn wait(&self) -> Duration {
        if self.writing.is_some() {
            return caps::WRITING_POLL_WAIT;
        }
        self.due.map_or(caps::POLL_WAIT, |due| due.saturating_duration_since(Instant::now()).min(caps::POLL_WAIT))
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
