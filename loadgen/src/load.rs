//! One run against a gateway: makes the viewers, lets them watch, and keeps what came of it.

use crate::account::AccountFile;
use crate::body::Bodies;
use crate::course::Course;
use crate::crowd::{Crowd, Keeping};
use crate::desk::Desk;
use crate::limits::{OTHER_FILES, STREAMS};
use crate::names::Names;
use crate::pace::{Pace, run_name, thread_cpu};
use crate::profile::Profile;
use crate::progress::Progress;
use crate::settings::{LoadError, Settings};
use crate::tally::Tally;
use crate::target::Target;
use crate::world::World;
use crate::{http1, http2};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use service::Stop;
use std::time::Duration;

/// What a load came to.
pub(crate) struct Loaded {
    pub(crate) run: String,
    pub(crate) took: Duration,
    pub(crate) cpu: Option<Duration>,
    pub(crate) tally: Tally,
    /// What the viewers did, when somebody wants to know.
    pub(crate) account: Option<AccountFile>,
    /// What ended it before its time.
    pub(crate) ended_by: Option<LoadError>,
}

/// Lets the viewers watch for the duration of the settings, or until the stop. Blocks its thread.
pub(crate) fn load(settings: &Settings, stop: &Stop) -> Result<Loaded, LoadError> {
    settings.check()?;
    allow_open_files(settings)?;
    let target = Target::new(&settings.target, settings.key.as_deref())?;
    let run = settings.run.clone().unwrap_or_else(|| run_name(settings.seed));
    let profile = match settings.rate {
        // At a constant rate everybody is there all the time.
        Some(_) => Profile { hours: Vec::new(), sitting_minutes: 1_440, ..settings.profile.clone() },
        None => settings.profile.clone(),
    };
    let course = Course::new(settings, &profile)?;
    let span_ms = course.span.as_millis() as u32;
    tracing::info!(viewers = settings.viewers, seed = settings.seed, run, "viewers start");
    let keeping = if settings.keeps_account() { Keeping::Account } else { Keeping::Nothing };
    let make = |first_ms| {
        let world = World::new(&profile, settings.seed, first_ms, span_ms);
        Crowd::new(world, settings.viewers, settings.batch, settings.part, keeping)
    };
    // Made before the clock starts: many viewers take a while.
    let mut crowd = make(0);
    let pace = Pace::start(course.behind, if settings.rate.is_some() { 1 } else { settings.speedup });
    crowd.world.first_ms = pace.first_ms();
    let bodies = Bodies {
        names: Names::new(&run),
        territories: profile.territories.keys().cloned().collect(),
        devices: profile.devices.keys().cloned().collect(),
    };
    let mut desk = Desk::new(crowd, bodies, pace, settings.rate, settings.duration);
    let mut progress = Progress::new(settings.progress, settings.duration.as_secs(), "s");
    let cpu_before = thread_cpu();
    let drive = if settings.http2 { http2::drive } else { http1::drive };
    let driven = drive(&mut desk, &target, settings.connections, stop, &mut progress);
    let cpu = thread_cpu().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    progress.end();
    // An error ends the run, but what the run has shown before it is kept.
    let ended_by = match driven {
        Err(error) if desk.tally.accepted > 0 => Some(error),
        driven => driven.map(|()| None)?,
    };
    let took = pace.elapsed();
    let Desk { crowd, mut tally, .. } = desk;
    tally.move_to(took + Duration::from_secs(1));
    let is_whole = tally.undelivered == 0 && tally.rejected.is_empty() && ended_by.is_none();
    let account = crowd.account.map(|mut account| {
        account.close_all();
        AccountFile {
            run: run.clone(),
            site: settings.site.clone(),
            territories: profile.territories.keys().cloned().collect(),
            devices: profile.devices.keys().cloned().collect(),
            is_whole,
            uncertain: tally.uncertain,
            before: None,
            account,
        }
    });
    Ok(Loaded { run, took, cpu, tally, account, ended_by })
}

/// Lets this process open a file for each connection: otherwise the run would measure the limit of open files.
fn allow_open_files(settings: &Settings) -> Result<(), LoadError> {
    let connections = if settings.http2 { settings.connections.div_ceil(STREAMS) } else { settings.connections };
    let needed = connections as u64 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(()); // none is unlimited
    }
    if let Some(most) = maximum.filter(|maximum| *maximum < needed) {
        return Err(LoadError::OpenFiles { connections, needed, most });
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).map_err(std::io::Error::from)?;
    Ok(())
}
