//! The sink's loop: poll, take in, write. While the database works on one batch the next is gathered, so a sink that is behind
//! merges more rows into one. One blocking thread, and one transaction at a time beside it. What it decides between polls is
//! in [`crate::intake`].

use std::sync::mpsc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use service::{Component, Readiness, Stop, TaskError};
use sql::database::Pool;
use tokio::runtime::Handle;
use topic::limits::WATCH_INTERVAL;
use topic::{Consumer, Log, Start};

use crate::database::persistently;
use crate::intake::Intake;
use crate::progress::{self, FromProgress};
use crate::transaction::{Batch, Outcome};
use crate::writing::Writing;
use crate::{Settings, SinkError, limits, meters, owner};

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
    let mut sink = Sink::open(log, pool, settings, runtime, &readiness, stop, limits::TRANSACTION_TIMEOUT)?;
    let ended = sink.run();
    watching.abort();
    Ok(ended?)
}

struct Sink {
    source: Log,
    consumer: Consumer,
    intake: Intake,
    pool: Pool,
    runtime: Handle,
    database: Component,
    stop: Stop,
    /// How long a transaction may take at first.
    patience: Duration,
    /// When the place to resume reading was last noted for partitions that get nothing but repeats.
    bookmarked: Instant,
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
        let (sender, changes) = mpsc::channel();
        let assignment = FromProgress {
            pool: pool.clone(),
            pipeline: settings.pipeline.clone(),
            runtime: runtime.clone(),
            database: database.clone(),
            stop: stop.clone(),
            changes: sender,
        };
        let consumer = log.consumer(&settings.partials_topic, &settings.group, Box::new(assignment))?;
        let intake = Intake::new(settings, changes, patience);
        Ok(Sink { source: log, consumer, intake, pool, runtime, database, stop, patience, bookmarked: Instant::now() })
    }

    fn run(&mut self) -> Result<(), SinkError> {
        self.reach_database()?;
        while !self.stop.is_requested() {
            let mut taken = Ok(());
            let intake = &mut self.intake;
            let polled = self.consumer.poll(intake.wait(), limits::RECORDS_PER_POLL, &mut |records| {
                if taken.is_ok() {
                    taken = records.iter().try_for_each(|record| intake.take(record));
                }
            });
            match polled {
                Ok(_) => {}
                Err(_) if self.stop.is_requested() => break,
                Err(error) => return Err(error.into()),
            }
            taken?;
            self.intake.follow_assignment();
            self.merge_ready()?;
            if self.intake.writing.as_ref().is_some_and(Writing::is_over) {
                self.settle()?;
            }
            if self.look_for_missing()? {
                self.settle()?;
                self.rebuild()?;
            } else if self.intake.leaving || (self.intake.is_due() && self.intake.writing.is_none()) {
                self.write()?;
            }
            self.move_bookmarks_if_due();
        }
        self.write()?;
        self.settle().map(drop)
    }

    /// Waits until the tables can be read, before any partition is assigned: a standby sink has no partition and is ready all
    /// the same. Refuses tables of another pipeline.
    fn reach_database(&mut self) -> Result<(), SinkError> {
        let checking = persistently("reaching the database", &self.pool, &self.database, &self.stop, async || {
            owner::check(&self.pool, &self.intake.settings.pipeline).await
        });
        self.intake.fingerprint = self.runtime.block_on(checking)?.unwrap_or_default();
        Ok(())
    }

    /// Notes now and then where to resume reading, for partitions that get nothing but repeats. That matters only once
    /// retention has taken the repeats, so after a failure the next time is soon enough.
    fn move_bookmarks_if_due(&mut self) {
        if self.bookmarked.elapsed() >= limits::BOOKMARK_INTERVAL {
            self.move_bookmarks();
        }
    }

    fn move_bookmarks(&mut self) {
        self.bookmarked = Instant::now();
        let (bookmarks, pipeline) = (self.intake.bookmarks(), &self.intake.settings.pipeline);
        match self.runtime.block_on(progress::move_bookmarks(&self.pool, pipeline, &bookmarks)) {
            Ok(moved) => tracing::debug!(moved, "noted where partitions without new epochs are read on"),
            Err(error) => tracing::debug!(%error, "it could not be noted where partitions are read on"),
        }
    }

    /// Merges the epochs whose turn it is, and writes whenever the batch is full: a transaction has at most the rows of a full
    /// batch plus those of one epoch.
    fn merge_ready(&mut self) -> Result<(), SinkError> {
        while let Some((partition, arrival)) = self.intake.ready.pop_front() {
            self.intake.merge(partition, arrival)?;
            if self.intake.is_full() {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Sends chains back to the epochs they let go. True: an epoch is missing, and perhaps `progress` is already past it. If
    /// the epoch is still missing after starting over from `progress`, this is an error.
    fn look_for_missing(&mut self) -> Result<bool, SinkError> {
        let mut is_stuck = false;
        for (&partition, chain) in &mut self.intake.chains {
            if let Some(offset) = chain.read_again() {
                tracing::info!(partition, offset, "the missing epoch came; reading on from the first that had no room");
                self.consumer.seek(partition, Start::Offset(offset))?;
            } else if chain.wants_end() {
                let ends = self.runtime.block_on(self.source.end_offsets(&self.intake.settings.partials_topic))?;
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

    /// Begins to write what is gathered, if anything, as soon as the batch before it is written; until then, what is gathered
    /// is put in order.
    fn write(&mut self) -> Result<(), SinkError> {
        self.intake.place_positions();
        let batch = Batch::from(std::mem::take(&mut self.intake.gathered));
        self.intake.due = None;
        self.intake.leaving = false;
        if !self.settle()? || batch.ranges.is_empty() {
            return Ok(());
        }
        let pipeline = self.intake.settings.pipeline.clone();
        let (pool, database, stop) = (self.pool.clone(), self.database.clone(), self.stop.clone());
        let patience = self.intake.pace.patience;
        self.intake.writing = Some(Writing::begin(&self.runtime, pool, pipeline, batch, database, stop, patience));
        Ok(())
    }

    /// Waits for the batch that is being written. False: it is not in the tables, or nobody knows whether it is. Then everything
    /// starts over from `progress`: what was gathered after the batch would leave a gap.
    fn settle(&mut self) -> Result<bool, SinkError> {
        let Some(writing) = self.intake.writing.take() else { return Ok(true) };
        let pace = self.intake.pace;
        let (batch, took, outcome) = writing.end(&self.runtime)?;
        match outcome {
            None => {
                self.intake.forget_gathered();
                return Ok(false);
            }
            Some(Outcome::TimedOut) => {
                meters::transaction(meters::TIMED_OUT, 1);
                self.intake.pace = pace.slower(&batch);
                let (rows, next) = (batch.merged.rows, self.intake.pace);
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
        self.intake.pace = pace.faster(self.intake.settings.flush_rows, self.patience);
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
            // For lag monitors only, so a failure affects nobody else: the sink resumes from `progress`.
            if let (true, Err(error)) = (
                self.intake.chains.contains_key(&partition),
                self.consumer.store_offset(partition, range.partials_offset),
            ) {
                tracing::debug!(%error, partition, "lag monitors were not told");
            }
        }
    }

    /// Drops what is merged, and reads again from where the tables are.
    fn rebuild(&mut self) -> Result<(), SinkError> {
        self.intake.forget_gathered();
        let partitions: Vec<u32> = self.intake.chains.keys().copied().collect();
        let pipeline = &self.intake.settings.pipeline;
        let reading = persistently("reading progress", &self.pool, &self.database, &self.stop, async || {
            progress::read(&self.pool, pipeline, &partitions).await
        });
        let Some(rows) = self.runtime.block_on(reading)? else {
            return Ok(());
        };
        for row in rows {
            self.consumer.seek(row.partition, row.start())?;
            if let Some(chain) = self.intake.chains.get_mut(&row.partition) {
                chain.reset(row.next_offset, row.fingerprint, row.partials_offset);
                meters::waiting(row.partition, 0);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
