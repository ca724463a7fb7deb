//! What is on disk: segments, files of frames. A frame is one append: the length of its payload and the CRC-32 of length
//! and payload, both little-endian, then the payload, its records one after the other.
//!
//! A frame counts when its checksum is right and its payload is records. What an earlier process wrote is never cut off or
//! overwritten; only a file without any right frame is removed. What a power loss leaves of the last frames was not acknowledged.
//! A wrong frame with right ones behind it is damage: it is passed over, and costs only itself.

use super::{Depth, SpoolPlace, Spooled};
use crate::limits;
use bytes::{Buf, BufMut, Bytes};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

const HEADER_BYTES: usize = 8;
/// Of the name of a topic, by Kafka's rules.
const MAX_TOPIC_BYTES: usize = 249;

/// One file. Its number decides its place in the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Bytes of whole, durable frames.
    pub(super) len: u64,
}

/// All segments, oldest first.
#[derive(Debug, Default)]
pub(super) struct Segments {
    all: VecDeque<Segment>,
    /// Bytes of the oldest that were removed already.
    removed: u64,
    /// The number of the next segment.
    pub(super) next: u64,
    /// Whether something is being written into the newest: then it must stay, although all of it may be removed.
    pub(super) writing: bool,
}

impl Segments {
    /// Finds what a folder holds.
    pub(super) fn recover(dir: &Path) -> io::Result<(Segments, Depth)> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(dir)? {
            numbers.extend(entry?.file_name().to_str().and_then(number_of));
        }
        numbers.sort_unstable();
        let mut segments = Segments { next: numbers.last().map_or(0, |last| last + 1), ..Segments::default() };
        let mut depth = Depth { records: 0, bytes: 0 };
        for number in numbers {
            let path = dir.join(file_name(number));
            let (records, len) = measure(&path).map_err(|error| named(&path, &error))?;
            if len == 0 {
                fs::remove_file(&path)?;
                continue;
            }
            depth = Depth { records: depth.records + records, bytes: depth.bytes + len };
            segments.all.push_back(Segment { number, len });
        }
        Ok((segments, depth))
    }

    /// The first segment with something left at this place or behind it, and where that begins.
    pub(super) fn find(&self, from: SpoolPlace) -> Option<(Segment, SpoolPlace)> {
        let removed = self.all.front().map(|oldest| SpoolPlace { segment: oldest.number, offset: self.removed })?;
        let from = from.max(removed);
        self.all.iter().find_map(|segment| {
            let at = from.max(SpoolPlace { segment: segment.number, offset: 0 });
            (at.segment == segment.number && at.offset < segment.len).then_some((*segment, at))
        })
    }

    pub(super) fn newest(&mut self) -> Option<&mut Segment> {
        self.all.back_mut()
    }

    pub(super) fn push(&mut self, segment: Segment) {
        self.all.push_back(segment);
    }

    /// Takes the newest segment back when nothing got into it, else a full disk would fill with empty files.
    pub(super) fn take_back_empty(&mut self, dir: &Path) -> io::Result<()> {
        if let Some(Segment { number, len: 0 }) = self.all.back().copied() {
            fs::remove_file(dir.join(file_name(number)))?;
            self.all.pop_back();
        }
        Ok(())
    }

    /// Removes everything before a place, and the files of which nothing is left; tells `removed` the bytes it was. After
    /// an error it can be tried again.
    pub(super) fn remove_to(&mut self, dir: &Path, end: SpoolPlace, mut removed: impl FnMut(u64)) -> io::Result<()> {
        while let Some(oldest) = self.all.front().copied() {
            let reached = match oldest.number.cmp(&end.segment) {
                std::cmp::Ordering::Less => oldest.len,
                std::cmp::Ordering::Equal => end.offset,
                std::cmp::Ordering::Greater => break,
            };
            removed(reached.saturating_sub(self.removed));
            self.removed = self.removed.max(reached);
            if self.removed < oldest.len || (self.all.len() == 1 && self.writing) {
                break;
            }
            match fs::remove_file(dir.join(file_name(oldest.number))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.all.pop_front();
            self.removed = 0;
        }
        Ok(())
    }

    /// Whether all that was written into them is removed.
    pub(super) fn are_drained(&self) -> bool {
        self.all.iter().map(|segment| segment.len).sum::<u64>() == self.removed
    }
}

pub(super) fn file_name(number: u64) -> String {
    format!("{number:020}.segment")
}

fn number_of(file_name: &str) -> Option<u64> {
    file_name.strip_suffix(".segment")?.parse().ok()
}

/// Bytes of the frame of an append.
pub(super) fn frame_len(records: &[Spooled]) -> u64 {
    let record = |record: &Spooled| 12 + record.topic.len() + record.key.len() + record.value.len();
    (HEADER_BYTES + records.iter().map(record).sum::<usize>()) as u64
}

/// Adds the frame of an append.
pub(super) fn encode(records: &[Spooled], frames: &mut Vec<u8>) {
    let start = frames.len();
    frames.put_bytes(0, HEADER_BYTES);
    for record in records {
        for part in [record.topic.as_bytes(), &record.key, &record.value] {
            frames.put_u32_le(u32::try_from(part.len()).expect("a record is far below 4 GiB"));
            frames.extend_from_slice(part);
        }
    }
    let (header, payload) = frames[start..].split_at_mut(HEADER_BYTES);
    let len = u32::try_from(payload.len()).expect("an append is far below 4 GiB").to_le_bytes();
    header[..4].copy_from_slice(&len);
    header[4..].copy_from_slice(&checksum(len, payload).to_le_bytes());
}

/// The records of the right frames from `from` on, up to about these maxima, and where they end.
pub(super) fn read(
    path: &Path,
    from: u64,
    to: u64,
    max_records: usize,
    max_bytes: usize,
) -> io::Result<(Vec<Spooled>, u64)> {
    let mut frames = Frames::open(path, from, to)?;
    let mut records = Vec::new();
    while records.len() < max_records
        && frames.at - from < max_bytes as u64
        && let Some(of_frame) = frames.next()?
    {
        records.extend(of_frame);
    }
    if let Some(at) = frames.wrong_end {
        tell_damage(path, at, to); // and not an end that was never written: all before `to` was acknowledged
    }
    Ok((records, frames.at))
}

/// Number of the records of a segment, and where its last right frame ends.
fn measure(path: &Path) -> io::Result<(u64, u64)> {
    let mut frames = Frames::open(path, 0, fs::metadata(path)?.len())?;
    let (mut records, mut len) = (0, 0);
    while let Some(of_frame) = frames.next()? {
        records += of_frame.len() as u64;
        len = frames.at;
    }
    if let Some(at) = frames.wrong_end {
        tracing::warn!(segment = %path.display(), at, bytes = frames.to - at, "left out: not written as a whole");
    }
    Ok((records, len))
}

/// The right frames of a part of a segment, one after the other.
struct Frames<'a> {
    path: &'a Path,
    file: io::BufReader<io::Take<File>>,
    /// Where the next one begins, or the part ends.
    at: u64,
    to: u64,
    /// Where what is wrong begins, if no right frame is behind it.
    wrong_end: Option<u64>,
}

impl Frames<'_> {
    fn open(path: &Path, from: u64, to: u64) -> io::Result<Frames<'_>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let file = io::BufReader::with_capacity(1 << 20, file.take(to - from));
        Ok(Frames { path, file, at: from, to, wrong_end: None })
    }

    /// The records of the next one; what is wrong before it is passed over.
    fn next(&mut self) -> io::Result<Option<Vec<Spooled>>> {
        while self.at < self.to {
            if let Some((records, bytes)) = frame(&mut self.file)? {
                self.at += bytes;
                return Ok(Some(records));
            }
            let Some(next) = right_frame(self.path, self.at + 1, self.to)? else {
                self.wrong_end = Some(std::mem::replace(&mut self.at, self.to));
                break;
            };
            tell_damage(self.path, self.at, next);
            *self = Frames::open(self.path, next, self.to)?;
        }
        Ok(None)
    }
}

fn tell_damage(path: &Path, at: u64, end: u64) {
    tracing::error!(segment = %path.display(), at, bytes = end - at, "damaged: the reports in it are lost");
}

/// Where the first right frame begins between two places of a segment. Texts of strangers cannot look like a frame, since every
/// length in a frame has a byte that is no character.
fn right_frame(path: &Path, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(to.saturating_sub(from)).read_to_end(&mut bytes)?;
    let length = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let is_likely = |at: usize| {
        let (payload, topic) = (length(at), length(at + HEADER_BYTES));
        let fits = payload.is_some_and(|len| (1..=bytes.len() - at).contains(&len));
        fits && topic.is_some_and(|len| len <= MAX_TOPIC_BYTES) // a checksum of what only could be a frame would take long
    };
    let begins = (0..bytes.len()).find(|at| is_likely(*at) && matches!(frame(&mut &bytes[*at..]), Ok(Some(_))));
    Ok(begins.map(|at| from + at as u64))
}

/// The records of the next frame and the bytes it takes; `None` when there is no whole and right one.
fn frame(file: &mut impl Read) -> io::Result<Option<(Vec<Spooled>, u64)>> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    file.take(HEADER_BYTES as u64).read_to_end(&mut header)?;
    let Some((len, checksum_bytes)) = header.split_first_chunk::<4>() else { return Ok(None) };
    let Ok(expected) = checksum_bytes.try_into().map(u32::from_le_bytes) else { return Ok(None) };
    let payload_len = u32::from_le_bytes(*len);
    // A file's reserved but never written blocks read as zeros.
    if payload_len == 0 || payload_len > limits::SPOOL_APPEND_BYTES {
        return Ok(None);
    }
    let mut payload = Vec::new();
    file.take(u64::from(payload_len)).read_to_end(&mut payload)?;
    if payload.len() != payload_len as usize || checksum(*len, &payload) != expected {
        return Ok(None);
    }
    let bytes = HEADER_BYTES as u64 + u64::from(payload_len);
    // A payload that is not records is no append of ours, whatever its checksum says; if kept, it would stop the reader for
    // good.
    Ok(decode(payload.into()).map(|records| (records, bytes)))
}

fn decode(mut payload: Bytes) -> Option<Vec<Spooled>> {
    let part = |payload: &mut Bytes| {
        let len = payload.try_get_u32_le().ok()? as usize;
        (len <= payload.len()).then(|| payload.split_to(len))
    };
    let mut records = Vec::new();
    let mut last_topic: Option<Arc<str>> = None;
    while !payload.is_empty() {
        let (topic, key, value) = (part(&mut payload)?, part(&mut payload)?, part(&mut payload)?);
        let topic = match last_topic.take() {
            Some(last) if last.as_bytes() == &topic[..] => last,
            _ => Arc::from(std::str::from_utf8(&topic).ok()?),
        };
        last_topic = Some(topic.clone());
        records.push(Spooled { topic, key, value });
    }
    Some(records)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    let way_out = "without this file the gateway starts, and the reports in it are lost";
    io::Error::new(error.kind(), format!("{}: {error}; {way_out}", path.display()))
}

fn checksum(len: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len);
    hasher.update(payload);
    hasher.finalize()
}
