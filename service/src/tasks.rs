//! Named tasks with an owner and an end: the first failure stops the process, and a stop says what it waits for.
//! Nothing is restarted here: a process that cannot go on ends, and whoever runs it starts it again.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::{Stop, TaskError, limits};

/// The tasks and threads of a process.
pub struct Tasks {
    stop: Stop,
    running: JoinSet<Result<(), Cause>>,
    names: HashMap<Id, &'static str>,
    companions: JoinSet<Result<(), Cause>>,
    companion_names: HashMap<Id, &'static str>,
}

/// Why the process cannot go on, or did not end in time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A task gave up.
    #[error("{name} failed: {source}")]
    Failed {
        /// The task.
        name: &'static str,
        /// What it gave up for.
        source: TaskError,
    },
    /// A task panicked, which is a mistake in this program.
    #[error("{name} panicked: {message}")]
    Panicked {
        /// The task.
        name: &'static str,
        /// What the panic said.
        message: String,
    },
    /// Tasks were still running when the time to drain was over.
    #[error("gave up waiting for {} after {} ms", names.join(", "), drain.as_millis())]
    Undrained {
        /// The tasks, in alphabetical order.
        names: Vec<&'static str>,
        /// How long they were given.
        drain: Duration,
    },
}

impl Tasks {
    /// No tasks yet; `stop` is requested when one of them fails.
    pub fn new(stop: Stop) -> Tasks {
        let (running, companions) = (JoinSet::new(), JoinSet::new());
        Tasks { stop, running, names: HashMap::new(), companions, companion_names: HashMap::new() }
    }

    /// Runs `task` under `name`. It must end by itself soon after a stop is requested; ending earlier is fine.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = Result<(), TaskError>> + Send + 'static) {
        let handle = self.running.spawn(async move { task.await.map_err(Cause::Error) });
        self.names.insert(handle.id(), name);
    }

    /// Runs `task` for as long as any of the other tasks run, through their drain; then it is dropped, wherever it is. Its
    /// failure counts as much as theirs.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_companion(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), TaskError>> + Send + 'static,
    ) {
        let handle = self.companions.spawn(async move { task.await.map_err(Cause::Error) });
        self.companion_names.insert(handle.id(), name);
    }

    /// Runs `body` on a thread of its own under `name`, for loops that block. The rules of [`Tasks::spawn`] hold.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_thread(&mut self, name: &'static str, body: impl FnOnce() -> Result<(), TaskError> + Send + 'static) {
        let (ended, end) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Nothing that the panic may have left half done is used again: the process is about to end.
            let result = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(result) => result.map_err(Cause::Error),
                Err(panic) => Err(Cause::Panic(panic_message(&*panic))),
            };
            // Nobody listens once the drain is given up, and then nobody needs to know.
            let _ = ended.send(result);
        });
        let handle = self.running.spawn(async move {
            thread.map_err(|error| Cause::Error(error.into()))?;
            end.await.expect("the thread sends its result whatever happens")
        });
        self.names.insert(handle.id(), name);
    }

    /// Waits until all tasks have ended. The first failure requests a stop and is the result. After a stop, tasks have `drain` to
    /// end; then they are given up.
    ///
    /// # Errors
    /// The first failure; or the tasks that did not end in time.
    pub async fn join(mut self, drain: Duration) -> Result<(), Failure> {
        let stop = self.stop.clone();
        let mut first = None;
        loop {
            tokio::select! {
                ended = self.running.join_next_with_id() => match ended {
                    Some(ended) => self.settle(ended, &mut first),
                    None => return first.map_or(Ok(()), Err),
                },
                Some(ended) = self.companions.join_next_with_id() => self.settle(ended, &mut first),
                () = stop.requested() => return self.drain(drain, first).await,
            }
        }
    }

    async fn drain(mut self, drain: Duration, mut first: Option<Failure>) -> Result<(), Failure> {
        let deadline = Instant::now() + drain;
        let mut notice = tokio::time::interval(limits::WAITING_NOTICE);
        loop {
            // In this order, so that what has ended already is neither waited for nor given up.
            tokio::select! {
                biased;
                ended = self.running.join_next_with_id() => match ended {
                    Some(ended) => self.settle(ended, &mut first),
                    None => return first.map_or(Ok(()), Err),
                },
                Some(ended) = self.companions.join_next_with_id() => self.settle(ended, &mut first),
                () = sleep_until(deadline) => break,
                _ = notice.tick() => {
                    let left_ms = (deadline - Instant::now()).as_millis();
                    tracing::info!(tasks = self.names().join(", "), left_ms, "stopping, waiting for tasks to end");
                }
            }
        }
        let undrained = Failure::Undrained { names: self.names(), drain };
        match first {
            Some(first) => {
                tracing::error!(error = %undrained, "another failure while stopping");
                Err(first)
            }
            None => Err(undrained),
        }
    }

    /// Keeps the first failure for the caller and logs the others, so that each is told once.
    fn settle(&mut self, ended: Result<(Id, Result<(), Cause>), JoinError>, first: &mut Option<Failure>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(Cause::of(error))),
        };
        let name = self.names.remove(&id).or_else(|| self.companion_names.remove(&id));
        let name = name.expect("each task was named when it was spawned");
        let failure = match result {
            Ok(()) => return tracing::debug!(task = name, "task ended"),
            Err(Cause::Error(source)) => Failure::Failed { name, source },
            Err(Cause::Panic(message)) => Failure::Panicked { name, message },
        };
        self.stop.request();
        if first.is_some() {
            tracing::error!(error = %failure, "another failure while stopping");
        } else {
            *first = Some(failure);
        }
    }

    fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.names.values().copied().collect();
        names.sort_unstable();
        names
    }
}

enum Cause {
    Error(TaskError),
    Panic(String),
}

impl Cause {
    fn of(error: JoinError) -> Cause {
        match error.try_into_panic() {
            Ok(panic) => Cause::Panic(panic_message(&*panic)),
            Err(cancelled) => Cause::Error(cancelled.into()),
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
