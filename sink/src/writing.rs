//! A transaction under way beside the loop, and how long it took. Decides nothing: the outcome is the loop's business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use service::{Component, Stop};
use sql::database::Pool;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::DatabaseError;
use crate::transaction::{self, Batch, Outcome};

/// A batch that is being written, on a thread of its own.
pub(crate) struct Writing {
    batch: Arc<Batch>,
    task: JoinHandle<(Result<Option<Outcome>, DatabaseError>, Duration)>,
}

impl Writing {
    /// Begins.
    pub(crate) fn begin(
        runtime: &Handle,
        pool: Pool,
        pipeline: String,
        batch: Batch,
        database: Component,
        stop: Stop,
        patience: Duration,
    ) -> Writing {
        let batch = Arc::new(batch);
        let (written, handle) = (Arc::clone(&batch), runtime.clone());
        let task = runtime.spawn_blocking(move || {
            let started = Instant::now();
            let writing = transaction::write(&pool, &pipeline, &written, &database, &stop, patience);
            (handle.block_on(writing), started.elapsed())
        });
        Writing { batch, task }
    }

    /// What it writes.
    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Whether [`Writing::end`] would not wait.
    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the outcome: the batch, how long it took, and what became of it.
    pub(crate) fn end(self, runtime: &Handle) -> Result<(Arc<Batch>, Duration, Option<Outcome>), DatabaseError> {
        let (outcome, took) =
            runtime.block_on(self.task).expect("writing a batch does not panic, and nobody aborts it");
        Ok((self.batch, took, outcome?))
    }
}
