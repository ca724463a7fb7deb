//! Players that behave like players, and a verdict on what the pipeline made of them.
//!
//! [`run`] starts seeded viewers, which post to a gateway for a while; then it waits until the database is complete
//! and compares every table of the run with the crediting model and with what the viewers know they played. The
//! viewers never ask the crediting code. [`demo`] is the same viewers without an end and without a verdict. The
//! clock is read in [`pace`] alone.

mod gateway;
pub mod limits;
mod outbox;
mod pace;
mod settings;
pub mod tables;
mod tally;
mod verdict;
mod verify;
mod viewer;

pub use settings::{LoadError, Settings};
pub use verdict::{Latencies, Verdict};

use gateway::Gateway;
use outbox::Outbox;
use pace::Pace;
use playback::model::Random;
use service::Stop;
use std::sync::Arc;
use tally::Tally;
use tokio::task::JoinSet;
use verify::Verifier;
use viewer::{Played, Viewer};

/// Lets viewers watch for the duration of the settings, or until the stop, and judges the outcome. The gateway must
/// keep user ids as they are (no pepper), and nobody else may send to the site meanwhile: its ledger is compared.
pub async fn run(settings: Settings, stop: Stop) -> Result<Verdict, LoadError> {
    settings.check()?;
    let settings = Arc::new(settings);
    let verifier = match &settings.database {
        Some(database) => Some(Verifier::connect(database, &settings.site).await?),
        None => None,
    };
    let pace = Pace::start(&settings);
    let run = settings.run.clone().unwrap_or_else(|| pace.run_name(settings.seed));
    tracing::info!(viewers = settings.viewers, seed = settings.seed, run, "viewers start");
    let tally = Arc::new(Tally::new(verifier.is_some()));
    let gateway = Arc::new(Gateway::new(&settings, Arc::clone(&tally), stop.clone())?);
    let mut viewers = JoinSet::new();
    for number in 0..settings.viewers {
        let viewer = Viewer::new(settings.seed, &run, number, pace.first_ms(), verifier.is_some());
        viewers.spawn(watch(viewer, settings.batch, pace, Arc::clone(&gateway), stop.clone()));
    }
    let mut played: Vec<Played> = Vec::new();
    while let Some(ended) = viewers.join_next().await {
        played.extend(ended.map_err(|_| LoadError::Viewer)??);
    }
    let (seconds, outcome) = (pace.seconds(), tally.outcome());
    let mut verdict = Verdict::new(&settings, run, seconds, &outcome);
    if let Some(verifier) = verifier {
        tracing::info!(accepted = outcome.accepted.len(), "viewers are done, waiting for the tables");
        verdict.verified = true;
        verdict.differences = verifier.verify(&settings, &verdict.run, &outcome, &played).await?;
    }
    Ok(verdict)
}

/// Viewers without an end, in real time, for whoever wants to see something.
pub async fn demo(target: String, viewers: u32, seed: u64, stop: Stop) -> Result<(), LoadError> {
    let settings = Settings { viewers, seed, ..Settings::new(target) };
    let pace = Pace::endless();
    let run = pace.run_name(seed);
    let gateway = Arc::new(Gateway::new(&settings, Arc::new(Tally::new(false)), stop.clone())?);
    let mut tasks = JoinSet::new();
    for number in 0..viewers {
        let viewer = Viewer::new(seed, &run, number, pace.first_ms(), false);
        tasks.spawn(watch(viewer, settings.batch, pace, Arc::clone(&gateway), stop.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|_| LoadError::Viewer)??;
    }
    Ok(())
}

/// One viewer from the first report to the last; gives back what it played.
async fn watch(
    mut viewer: Viewer,
    batch: usize,
    pace: Pace,
    gateway: Arc<Gateway>,
    stop: Stop,
) -> Result<Vec<Played>, LoadError> {
    let mut random = Random::new(viewer.seed() ^ 0x6f75_7462_6f78); // of its own: the network decides nothing the viewer does
    let mut outbox = Outbox::new(batch);
    while !pace.is_over(viewer.now()) && !stop.is_requested() {
        let report = viewer.next_report();
        let due = pace.instant(report.event_time);
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = stop.requested() => {}
        }
        for request in outbox.push(report, &mut random) {
            gateway.post(&request, due).await?;
        }
    }
    let due = pace.instant(viewer.now());
    for request in outbox.flush(&mut random) {
        gateway.post(&request, due).await?;
    }
    Ok(viewer.finish())
}
