//! Writes the records of a day straight to the log, as fast as it takes them: what a gateway would have put there, for
//! anybody who wants to see the roles behind the gateway at work.
//!
//! The same seed and the same first instant give the same records in the same order on every partition. The log stamps
//! each record with the time at which it is written, and the pipeline judges lateness by that stamp. So the day begins 23
//! hours ago and ends in an hour, and a record that would be late all the same ends the writing.

use crate::account::AccountFile;
use crate::crowd::{Crowd, Keeping, Part, Sent};
use crate::limits::{APPEND_RECORDS, APPENDS, MAX_VIEWERS, STOPPING};
use crate::names::Names;
use crate::pace::{Pace, now_ms};
use crate::profile::Profile;
use crate::progress::Progress;
use crate::settings::{LoadError, check_ids, check_part, within};
use crate::stored::Records;
use crate::world::World;
use bytes::BytesMut;
use serde::Serialize;
use service::Stop;
use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Handle;
use topic::{Delivery, Log, Outgoing, Producer, partition_for};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: u32 = 24 * HOUR_MS as u32;
/// A report this old when it is written is not late yet, whatever the log's clock says; ms.
const MAX_AGE_MS: i64 = 23 * HOUR_MS + HOUR_MS * 11 / 12;
/// What a record takes on disk, compressed in large batches; bytes. Measured: 46, in whole segments of 16 partitions.
const RECORD_BYTES: u64 = 60;
/// Time for a batch to fill: it is full long before.
const LINGER: Duration = Duration::from_millis(20);

/// A day that is to be written.
#[derive(Debug, Clone)]
pub struct FillSettings {
    /// Topic of the heartbeats.
    pub topic: String,
    /// Site of the viewers.
    pub site: String,
    /// Who watches what.
    pub profile: Profile,
    /// Accounts.
    pub viewers: u32,
    /// The same seed, the same viewers.
    pub seed: u64,
    /// Which part of the viewers.
    pub part: Part,
    /// Name of the run, which begins its ids; by default made from the seed.
    pub run: Option<String>,
    /// First instant of the day, ms since the epoch; by default 23 hours ago.
    pub first_ms: Option<i64>,
    /// Ends after so many records; by default with the day.
    pub heartbeats: Option<u64>,
    /// Where to write the account of what the viewers did, for a later check.
    pub account: Option<PathBuf>,
    /// A folder on the disk that the log is on, if it is here.
    pub disk: Option<PathBuf>,
    /// Whether to say how far it is.
    pub progress: bool,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Filled {
    /// Name of the run.
    pub run: String,
    /// What made the viewers.
    pub seed: u64,
    /// First instant of the day; ms since the epoch.
    pub first_ms: i64,
    /// Records, copies among them.
    pub heartbeats: u64,
    /// Of them, per partition.
    pub partitions: Vec<u64>,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Records a second.
    pub heartbeats_per_second: f64,
    /// The day was written to its end, or to the count that was asked for.
    pub complete: bool,
}

impl fmt::Display for Filled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl FillSettings {
    /// The default viewers on a topic.
    pub fn new(topic: String) -> FillSettings {
        let profile = Profile::default();
        FillSettings {
            topic,
            site: "default".to_owned(),
            viewers: profile.viewers,
            profile,
            seed: 1,
            part: Part::WHOLE,
            run: None,
            first_ms: None,
            heartbeats: None,
            account: None,
            disk: None,
            progress: false,
        }
    }

    /// As many as were asked for, or about as many as the day will have: one from each viewer every five seconds.
    fn expected_heartbeats(&self) -> u64 {
        let of_each = u64::from(self.profile.sitting_minutes) * 60 / 5;
        self.heartbeats.unwrap_or(u64::from(self.viewers) / u64::from(self.part.of) * of_each)
    }
}

/// Writes a day to a log whose topic is there.
pub async fn fill(settings: FillSettings, log: Log, stop: Stop) -> Result<Filled, LoadError> {
    within("viewers", u64::from(settings.viewers), 1, u64::from(MAX_VIEWERS))?;
    check_part(settings.part, settings.viewers)?;
    check_ids(settings.run.as_deref(), &settings.site)?;
    let partitions = log.describe(&settings.topic).await?.partitions;
    check_disk(&settings)?;
    let producer = log.producer(LINGER)?;
    let runtime = Handle::current();
    let writing = move || Filling::new(&settings, producer, partitions).run(&settings, &runtime, &stop);
    tokio::task::spawn_blocking(writing).await.map_err(|_| LoadError::Panicked)?
}

/// Refuses to fill the disk: the log would stop, and all others on it.
fn check_disk(settings: &FillSettings) -> Result<(), LoadError> {
    let Some(disk) = &settings.disk else { return Ok(()) };
    let path = disk.display().to_string();
    let found = rustix::fs::statvfs(disk)
        .map_err(|error| LoadError::Output { path: path.clone(), reason: error.to_string() })?;
    let heartbeats = settings.expected_heartbeats();
    let (free, needed) = (found.f_bavail * found.f_frsize, heartbeats * RECORD_BYTES);
    // A tenth of what is free stays free.
    if needed > free / 10 * 9 {
        return Err(LoadError::Disk { path, free: free >> 20, needed: needed >> 20 });
    }
    Ok(())
}

/// A day being written.
struct Filling {
    crowd: Crowd,
    records: Records,
    producer: Producer,
    topic: String,
    /// Keys and values of the next append, one after the other.
    arena: BytesMut,
    outgoing: Vec<Outgoing>,
    deliveries: VecDeque<Delivery>,
    oldest_ms: i64,
    filled: Filled,
}

impl Filling {
    fn new(settings: &FillSettings, producer: Producer, partitions: u32) -> Filling {
        let run = settings.run.clone().unwrap_or_else(|| format!("b{}", settings.seed));
        let first_ms = settings.first_ms.unwrap_or_else(|| now_ms() - 23 * HOUR_MS);
        let world = World::new(&settings.profile, settings.seed, first_ms, DAY_MS);
        let keeping = if settings.account.is_some() { Keeping::AccountWithTimes } else { Keeping::Nothing };
        let crowd = Crowd::new(world, settings.viewers, settings.profile.batch, settings.part, keeping);
        let records = Records::new(
            settings.site.clone(),
            Names::new(&run),
            settings.profile.territories.keys().cloned().collect(),
            settings.profile.devices.keys().cloned().collect(),
        );
        Filling {
            crowd,
            records,
            producer,
            topic: settings.topic.clone(),
            arena: BytesMut::new(),
            outgoing: Vec::with_capacity(APPEND_RECORDS),
            deliveries: VecDeque::new(),
            oldest_ms: i64::MAX,
            filled: Filled {
                run,
                seed: settings.seed,
                first_ms,
                heartbeats: 0,
                partitions: vec![0; partitions as usize],
                bytes: 0,
                seconds: 0.0,
                heartbeats_per_second: 0.0,
                complete: false,
            },
        }
    }

    fn run(mut self, settings: &FillSettings, runtime: &Handle, stop: &Stop) -> Result<Filled, LoadError> {
        let most = settings.heartbeats.unwrap_or(u64::MAX);
        let pace = Pace::start(Duration::ZERO, 1);
        let mut progress = Progress::new(settings.progress, settings.expected_heartbeats(), "records");
        let mut sent = Sent::empty(&self.crowd.world);
        tracing::info!(viewers = settings.viewers, seed = settings.seed, run = self.filled.run, "writing to the log");
        while self.filled.heartbeats < most && !stop.is_requested() && self.crowd.take(&mut sent) {
            self.put(&sent);
            if sent.way.again {
                sent.alter();
                self.put(&sent);
                self.crowd.taken_again(&sent);
            }
            self.crowd.wait(sent.device);
            if self.outgoing.len() >= APPEND_RECORDS {
                self.append(runtime, stop)?;
                progress.show_written(pace.elapsed(), self.filled.heartbeats);
            }
        }
        self.append(runtime, stop)?;
        for delivery in std::mem::take(&mut self.deliveries) {
            runtime.block_on(acknowledged(delivery, stop))?;
        }
        progress.end();
        self.filled.complete =
            !stop.is_requested() && (settings.heartbeats.is_none() || self.filled.heartbeats >= most);
        self.filled.seconds = pace.elapsed().as_secs_f64();
        self.filled.heartbeats_per_second = self.filled.heartbeats as f64 / self.filled.seconds;
        self.write_account(settings)?;
        Ok(self.filled)
    }

    /// Records of a request, as a gateway would have put them on the log when it was due.
    fn put(&mut self, sent: &Sent) {
        let received_at = self.crowd.world.first_ms + i64::from(sent.due_ms);
        self.records.put_key(&mut self.arena, sent.who);
        let key = self.arena.split().freeze();
        let partition = partition_for(&key, self.filled.partitions.len() as u32);
        for report in &sent.reports {
            self.records.put(&mut self.arena, sent.who, report, received_at);
            let value = self.arena.split().freeze();
            self.filled.bytes += (key.len() + value.len()) as u64;
            self.outgoing.push(Outgoing { partition, key: key.clone(), value });
        }
        // What is days old is meant to be late.
        let in_time = sent.reports.iter().filter(|report| report.at_ms > received_at - 25 * HOUR_MS);
        self.oldest_ms = in_time.map(|report| report.at_ms).fold(self.oldest_ms, i64::min);
        self.filled.heartbeats += sent.reports.len() as u64;
        self.filled.partitions[partition as usize] += sent.reports.len() as u64;
    }

    /// Hands over what has gathered; waits while too much is under way.
    fn append(&mut self, runtime: &Handle, stop: &Stop) -> Result<(), LoadError> {
        if self.oldest_ms != i64::MAX && now_ms() - self.oldest_ms > MAX_AGE_MS {
            return Err(LoadError::TooSlow { at_ms: self.oldest_ms });
        }
        self.oldest_ms = i64::MAX;
        self.deliveries.push_back(self.producer.append(&self.topic, &self.outgoing));
        self.outgoing.clear();
        self.arena.reserve(APPEND_RECORDS * 256);
        while self.deliveries.len() > APPENDS {
            let Some(oldest) = self.deliveries.pop_front() else { break };
            runtime.block_on(acknowledged(oldest, stop))?;
        }
        Ok(())
    }

    fn write_account(&mut self, settings: &FillSettings) -> Result<(), LoadError> {
        let (Some(path), Some(mut account)) = (&settings.account, self.crowd.account.take()) else { return Ok(()) };
        account.close_all();
        let file = AccountFile {
            run: self.filled.run.clone(),
            site: settings.site.clone(),
            territories: settings.profile.territories.keys().cloned().collect(),
            devices: settings.profile.devices.keys().cloned().collect(),
            is_whole: true,
            uncertain: 0,
            before: None,
            account,
        };
        file.write(path)
    }
}

/// Waits until the log has what it was given; not for long after a stop was requested.
async fn acknowledged(delivery: Delivery, stop: &Stop) -> Result<(), LoadError> {
    let given_up = async {
        stop.requested().await;
        tokio::time::sleep(STOPPING).await;
    };
    tokio::select! {
        biased;
        delivered = delivery => Ok(delivered?),
        () = given_up => Err(LoadError::Unacknowledged),
    }
}
