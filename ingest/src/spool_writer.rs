//! The spool as a way out: keeps records on local disk while the log is away, and says how that goes.

use crate::limits::SPOOL_PATIENCE;
use crate::outlet::Refused;
use crate::trouble::Trouble;
use tokio::sync::Notify;
use tokio::time::timeout;
use topic::{LogError, Spool, Spooled};

/// Puts records into the spool; one for all workers.
pub(crate) struct SpoolWriter {
    pub(crate) spool: Spool,
    trouble: Trouble,
    full: Trouble, // comes and goes with every batch of the replay, so it is not logged
    appended: Notify,
}

impl SpoolWriter {
    pub(crate) fn new(spool: Spool) -> SpoolWriter {
        SpoolWriter { spool, trouble: Trouble::default(), full: Trouble::default(), appended: Notify::new() }
    }

    /// Resolves when the records are on disk, or there is no waiting for it.
    pub(crate) async fn keep(&self, records: Vec<Spooled>) -> Result<(), Refused> {
        let Ok(appended) = timeout(SPOOL_PATIENCE, self.spool.append(records)).await else {
            self.hangs();
            return Err(Refused::Unavailable);
        };
        match appended {
            Ok(()) => {
                self.full.ends();
                if self.trouble.ends() {
                    tracing::info!("the spool works again");
                }
                self.appended.notify_one();
                Ok(())
            }
            Err(error @ LogError::SpoolFull { .. }) => {
                self.full.begins(error.to_string());
                if !self.spool.is_full() {
                    self.fails("its disk does not keep up".to_owned()); // what is full is the queue in front of it
                }
                Err(Refused::Full)
            }
            Err(error) => {
                self.fails(error.to_string());
                Err(Refused::Unavailable)
            }
        }
    }

    /// Resolves when records have come since it last did.
    pub(crate) async fn appended(&self) {
        self.appended.notified().await;
    }

    /// Its disk does not do what was asked of it.
    pub(crate) fn fails(&self, reason: String) {
        if self.trouble.begins(reason.clone()) {
            tracing::error!(reason, "the spool fails, records go straight to the log");
        }
    }

    /// Its disk has not answered in time.
    pub(crate) fn hangs(&self) {
        self.fails(format!("no answer of its disk within {} s", SPOOL_PATIENCE.as_secs()));
    }

    /// Whether what was last asked of it failed, and somebody needs it.
    pub(crate) fn is_failing(&self) -> bool {
        self.trouble.is_there()
    }

    /// Nobody needs it, so whether it works is not known.
    pub(crate) fn forget_trouble(&self) {
        self.trouble.ends();
    }

    /// Why it did not take records lately.
    pub(crate) fn lately(&self) -> Option<String> {
        self.full.lately().or_else(|| self.trouble.lately())
    }
}
