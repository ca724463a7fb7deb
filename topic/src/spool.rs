//! A bounded queue of records on local disk, for the time in which the log itself cannot be reached: appended in order,
//! durable once acknowledged, read from its oldest end and removed when the log has what was read.
//!
//! One writer thread puts whatever waits under one fsync ([`writer`]); what is on disk is in [`segment`]. Why not the
//! embedded log's storage: `docs/decisions/0005-spool-segments.md`.

mod segment;
mod writer;

use crate::{Delivery, LogError, limits};
use bytes::Bytes;
use segment::{Segment, Segments};
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use writer::{Append, Writer};

/// A record that waits for its topic. Its partition is not kept: it is that of its key once the topic can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooled {
    /// Topic.
    pub topic: Arc<str>,
    /// Key.
    pub key: Bytes,
    /// Value.
    pub value: Bytes,
}

/// A place in a spool, between two appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpoolPlace {
    segment: u64,
    offset: u64,
}

impl SpoolPlace {
    /// Before whatever is in a spool.
    pub const START: SpoolPlace = SpoolPlace { segment: 0, offset: 0 };
    /// Behind whatever is in it, and comes into it.
    pub const END: SpoolPlace = SpoolPlace { segment: u64::MAX, offset: u64::MAX };
}

/// Records of a spool that lie together.
#[derive(Debug, Clone)]
pub struct SpoolBatch {
    /// In the order they were appended.
    pub records: Vec<Spooled>,
    /// Where they end.
    pub end: SpoolPlace,
    /// Whether there was nothing behind them.
    pub is_last: bool,
}

/// How much is in a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Records.
    pub records: u64,
    /// Bytes on disk they take.
    pub bytes: u64,
}

/// An open spool; clones are the same one. The folder is free again when all are gone.
#[derive(Clone)]
pub struct Spool(Arc<Open>);

struct Open {
    shared: Arc<Shared>,
    appends: Option<SyncSender<Append>>, // none while closing
    writer: Option<JoinHandle<()>>,
    _lock: File,
}

/// What readers and the writer share.
struct Shared {
    dir: String,
    capacity_bytes: u64,
    /// Bytes in it, those of appends under way included.
    bytes: AtomicU64,
    /// Bytes of appends under way.
    waiting: AtomicU64,
    records: AtomicU64,
    segments: Mutex<Segments>,
}

impl Spool {
    /// Opens the spool in `dir`, with what is in it; refused while another process has it. It takes `capacity_bytes`; on disk
    /// it may have one segment more, [`limits::SPOOL_SEGMENT_BYTES`] and the append that crossed it.
    pub fn open(dir: &Path, capacity_bytes: u64) -> Result<Spool, LogError> {
        let failed = |error| failure(&dir.display().to_string(), "opening", error);
        make_folder(dir).map_err(failed)?;
        let lock = File::create(dir.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LogError::InUse { dir: dir.display().to_string() },
            TryLockError::Error(error) => failed(error),
        })?;
        let (segments, depth) = Segments::recover(dir).map_err(failed)?;
        let shared = Arc::new(Shared {
            dir: dir.display().to_string(),
            capacity_bytes,
            bytes: AtomicU64::new(depth.bytes),
            waiting: AtomicU64::new(0),
            records: AtomicU64::new(depth.records),
            segments: Mutex::new(segments),
        });
        let (appends, waiting) = sync_channel(limits::SPOOL_APPENDS);
        let writer = std::thread::Builder::new().name("spool-writer".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || Writer::new(&shared).run(&waiting)
        });
        let writer = Some(writer.map_err(failed)?);
        Ok(Spool(Arc::new(Open { shared, appends: Some(appends), writer, _lock: lock })))
    }

    /// Appends all of them or none; they are on the disk when the future resolves. Never waits for room: without it the append
    /// fails at once with [`LogError::SpoolFull`].
    pub fn append(&self, records: Vec<Spooled>) -> Delivery {
        let shared = &self.0.shared;
        let Some(first) = records.first() else { return Delivery::of(0).0 };
        let bytes = segment::frame_len(&records);
        if bytes > u64::from(limits::SPOOL_APPEND_BYTES) {
            let (topic, bytes, limit) = (first.topic.to_string(), bytes as usize, limits::SPOOL_APPEND_BYTES);
            return Delivery::failed(LogError::TooLarge { topic, bytes, limit });
        }
        if !shared.take_room(bytes) {
            shared.give_back(bytes);
            return Delivery::failed(shared.full());
        }
        let (delivery, acknowledgement) = Delivery::of(1);
        let appends = self.0.appends.as_ref().expect("only `drop` takes it");
        let (append, failure) = match appends.try_send(Append { records, bytes, acknowledgement }) {
            Ok(()) => return delivery,
            Err(TrySendError::Full(append)) => (append, shared.full()),
            Err(TrySendError::Disconnected(append)) => (append, LogError::Closed),
        };
        shared.give_back(bytes);
        append.acknowledgement.settle(1, Some(failure));
        delivery
    }

    /// The oldest records between two places, each of which is the start, the end or where a batch ended. Gives whole appends,
    /// at least one if there is one, up to about these maxima. Blocks on the disk.
    pub fn read(
        &self,
        places: Range<SpoolPlace>,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<SpoolBatch, LogError> {
        let shared = &self.0.shared;
        let mut from = places.start;
        loop {
            let (found, newest) = {
                let mut segments = shared.segments();
                (segments.find(from).filter(|(_, at)| *at < places.end), segments.newest().copied())
            };
            let Some((Segment { len, .. }, SpoolPlace { segment, offset })) = found else {
                return Ok(SpoolBatch { records: Vec::new(), end: from, is_last: true });
            };
            let to = if segment == places.end.segment { places.end.offset.min(len) } else { len };
            let path = Path::new(&shared.dir).join(segment::file_name(segment));
            let (records, offset) = match segment::read(&path, offset, to, max_records, max_bytes) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    tracing::error!(segment = %path.display(), "gone: the reports in it are lost");
                    (Vec::new(), to)
                }
                read => read.map_err(|error| shared.failed("reading", error))?,
            };
            let is_last = newest.is_some_and(|newest| newest.number == segment && newest.len == offset);
            let end = SpoolPlace { segment, offset };
            if !records.is_empty() {
                return Ok(SpoolBatch { records, end, is_last });
            }
            from = end; // nothing in it could be read
        }
    }

    /// Forgets everything before a place: `records` records, which must still have been the oldest. A crash may undo this: then
    /// they are read again. After an error it can be tried again. Blocks on the disk.
    pub fn remove(&self, end: SpoolPlace, records: usize) -> Result<(), LogError> {
        let shared = &self.0.shared;
        let mut segments = shared.segments();
        let removed = segments.remove_to(Path::new(&shared.dir), end, |bytes| {
            shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        });
        removed.map_err(|error| shared.failed("removing", error))?;
        if segments.are_drained() {
            shared.records.store(0, Ordering::Relaxed); // also those that were damaged, and never read
        } else {
            shared.records.fetch_sub(records as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// How much is in it, appends under way included in the bytes.
    pub fn depth(&self) -> Depth {
        let Shared { records, bytes, .. } = &*self.0.shared;
        Depth { records: records.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) }
    }

    /// Whether there is no room for another batch of the size that a gateway appends.
    pub fn is_full(&self) -> bool {
        self.depth().bytes + limits::SPOOL_RESERVE_BYTES > self.0.shared.capacity_bytes
    }
}

impl Shared {
    fn segments(&self) -> MutexGuard<'_, Segments> {
        // Nothing panics while it is held, and the state is whole at every step.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an append that begins; says whether there is room for it.
    fn take_room(&self, bytes: u64) -> bool {
        let on_disk = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // One that is larger than all that may wait must go alone.
        on_disk <= self.capacity_bytes && (waiting <= limits::SPOOL_WAITING_BYTES || waiting == bytes)
    }

    /// Takes an append that came to nothing off the count.
    fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn full(&self) -> LogError {
        LogError::SpoolFull { dir: self.dir.clone(), capacity_bytes: self.capacity_bytes }
    }

    fn failed(&self, action: &'static str, error: std::io::Error) -> LogError {
        failure(&self.dir, action, error)
    }
}

/// Makes the folder so that a power loss does not take it away again, with all that is in it.
fn make_folder(dir: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    std::fs::create_dir_all(dir)?;
    for made in missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn failure(dir: &str, action: &'static str, error: std::io::Error) -> LogError {
    LogError::Spool { dir: dir.to_owned(), action, reason: error.to_string() }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.appends = None; // the writer ends after what it still has
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the spool's writer had panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_the_disk_is_bounded_and_one_large_append_goes_alone() {
        let dir = tempfile::TempDir::new().unwrap();
        let spool = Spool::open(dir.path(), 4 * limits::SPOOL_WAITING_BYTES).unwrap();
        let shared = &spool.0.shared;
        let most = limits::SPOOL_WAITING_BYTES;
        assert!(shared.take_room(most - 1) && !shared.take_room(2));
        shared.give_back(2);
        assert!(shared.take_room(1));
        shared.give_back(1);
        shared.give_back(most - 1);
        assert!(shared.take_room(2 * most));
        shared.give_back(2 * most);
        assert_eq!(spool.depth(), Depth { records: 0, bytes: 0 });
    }
}
