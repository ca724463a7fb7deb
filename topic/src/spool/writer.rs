//! The one thread that writes a spool: gathers what waits, writes it behind the newest segment, one fsync for all of it,
//! then acknowledges.

use super::segment::{Segment, encode, file_name};
use super::{Shared, Spooled};
use crate::delivery::Acknowledgement;
use crate::limits;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

/// Records that go to disk together or not at all.
pub(super) struct Append {
    pub(super) records: Vec<Spooled>,
    /// What they were counted for.
    pub(super) bytes: u64,
    pub(super) acknowledgement: Arc<Acknowledgement>,
}

pub(super) struct Writer<'a> {
    shared: &'a Shared,
    /// The newest segment, when it may be written behind.
    current: Option<(u64, File)>,
    frames: Vec<u8>,
}

impl Writer<'_> {
    pub(super) fn new(shared: &Shared) -> Writer<'_> {
        // What an earlier process wrote is left alone: its end may not be durable, whatever it looks like.
        Writer { shared, current: None, frames: Vec::new() }
    }

    /// Writes until every sender is gone.
    pub(super) fn run(mut self, waiting: &Receiver<Append>) {
        while let Ok(first) = waiting.recv() {
            let group = group(first, waiting);
            self.frames.clear();
            group.iter().for_each(|append| encode(&append.records, &mut self.frames));
            let written = self.write(group.iter().map(|append| append.records.len() as u64).sum());
            let bytes = group.iter().map(|append| append.bytes).sum();
            if written.is_ok() {
                self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
            } else {
                // Nothing may be written behind what may be half there.
                self.current = None;
                self.shared.give_back(bytes);
            }
            for append in group {
                let failure = written.as_ref().err().map(|error| io::Error::new(error.kind(), error.to_string()));
                append.acknowledgement.settle(1, failure.map(|error| self.shared.failed("appending", error)));
            }
        }
    }

    /// Writes the frames of so many records behind the newest segment, or into a new one, and makes them durable.
    fn write(&mut self, records: u64) -> io::Result<()> {
        let at = self.segment()?;
        let (_, file) = self.current.as_ref().expect("`segment` found or made it");
        let synced = file.write_all_at(&self.frames, at).and_then(|()| file.sync_data());
        if synced.is_err() {
            // They do not count as written. Truncating tries to keep them from coming back, but is not relied on: they would
            // count once all the same.
            let _ = file.set_len(at);
        }
        let mut segments = self.shared.segments();
        segments.writing = false;
        if let Err(error) = synced {
            let _ = segments.take_back_empty(Path::new(&self.shared.dir)); // the failure to tell is the first
            return Err(error);
        }
        // Before a reader can see them: who removes them counts them off.
        self.shared.records.fetch_add(records, Ordering::Relaxed);
        segments.newest().expect("one being written into is never removed").len = at + self.frames.len() as u64;
        Ok(())
    }

    /// Makes sure of a segment to write into, which now stays until `writing` is over; gives its end.
    fn segment(&mut self) -> io::Result<u64> {
        let mut segments = self.shared.segments();
        let end = segments.newest().map(|newest| (newest.number, newest.len));
        let fits = |len: u64| len + self.frames.len() as u64 <= limits::SPOOL_SEGMENT_BYTES;
        let at = match (&self.current, end) {
            (Some((current, _)), Some((number, len))) if *current == number && fits(len) => len,
            _ => {
                let number = segments.next;
                segments.next = number + 1; // also when it fails: the file may be there then
                let dir = Path::new(&self.shared.dir);
                let file = File::options().write(true).create_new(true).open(dir.join(file_name(number)))?;
                File::open(dir)?.sync_all()?; // else the file itself might not survive
                segments.push(Segment { number, len: 0 });
                self.current = Some((number, file));
                0
            }
        };
        segments.writing = true;
        Ok(at)
    }
}

/// What waits, up to a segment's worth: more would make a segment that gives its disk back late.
fn group(first: Append, waiting: &Receiver<Append>) -> Vec<Append> {
    let mut bytes = first.bytes;
    let mut group = vec![first];
    while bytes < limits::SPOOL_SEGMENT_BYTES
        && group.len() < limits::SPOOL_GROUP
        && let Ok(next) = waiting.try_recv()
    {
        bytes += next.bytes;
        group.push(next);
    }
    group
}
