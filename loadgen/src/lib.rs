//! Players that behave like players, and a verdict on what the pipeline made of them.
//!
//! [`run`] lets seeded viewers post to a gateway for a while; then it waits until the database is complete and compares
//! every table of the run with what the viewers really did. [`demo`] is the same viewers without an end and without a
//! verdict. The viewers' account is their own: it never asks the crediting code. Their time is that of [`pace`];
//! `verify.rs` reads a clock too, to know when to stop waiting for the tables.

mod account;
mod body;
mod course;
mod crowd;
mod desk;
mod dice;
mod fill;
mod framing;
mod http1;
mod http2;
pub mod limits;
mod load;
mod names;
mod outcome;
mod pace;
mod profile;
mod progress;
mod report;
mod settings;
mod stored;
pub mod tables;
mod tally;
mod target;
mod verdict;
mod verify;
mod viewer;
mod wheel;
mod world;

pub use account::AccountFile;
pub use crowd::Part;
pub use fill::{FillSettings, Filled, fill};
pub use profile::{Catalogue, Profile};
pub use settings::{LoadError, Settings};
pub use verdict::{Latencies, Verdict};
pub use verify::Check;
pub use viewer::Behaviour;

use load::Loaded;
use service::Stop;
use sql::database::{Database, with_causes};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;
use verify::Verifier;

/// Pause of a demo that failed.
const DEMO_PAUSE: Duration = Duration::from_secs(30);
/// Virtual time of a demo before its viewers begin anew.
const DEMO_SPAN: Duration = Duration::from_secs(24 * 3_600);

/// Lets viewers watch for the duration of the settings, or until the stop, and judges the outcome. The gateway must
/// keep user ids as they are (no pepper), and nobody else may send to the site meanwhile: its ledger is compared.
pub async fn run(settings: Settings, stop: Stop) -> Result<Verdict, LoadError> {
    settings.check()?;
    for path in [&settings.account, &settings.hgrm, &settings.html].into_iter().flatten() {
        outcome::check_writable(path)?;
    }
    let verifier = match &settings.database {
        Some(database) => Some(Verifier::new(database, &settings.site).await?),
        None => None,
    };
    let (settings, loaded) = blocking(move || load::load(&settings, &stop).map(|loaded| (settings, loaded))).await?;
    let mut verdict = Verdict::new(&settings, loaded.run, loaded.took, loaded.cpu, &loaded.tally);
    verdict.note_failure(loaded.ended_by.map_or(Ok(()), Err));
    if verdict.accepted == 0 {
        tracing::error!("no report was accepted, which proves nothing: let more viewers watch, or for longer");
    }
    // What the run has shown is told, whatever fails from here on.
    let judged = judge(&settings, loaded.account, verifier, &mut verdict).await;
    verdict.note_failure(judged);
    if let Some(path) = &settings.hgrm {
        verdict.note_failure(outcome::write(path, &outcome::hgrm(&loaded.tally.latencies)));
    }
    if let Some(path) = &settings.html {
        let page = outcome::page(&settings, &verdict, &loaded.tally);
        verdict.note_failure(outcome::write(path, &page));
    }
    Ok(verdict)
}

/// Keeps the account, and compares the tables with it.
async fn judge(
    settings: &Settings,
    account: Option<AccountFile>,
    verifier: Option<Verifier>,
    verdict: &mut Verdict,
) -> Result<(), LoadError> {
    let Some(mut file) = account else { return Ok(()) };
    file.before = verifier.as_ref().map(|verifier| verifier.before.clone());
    if let Some(path) = &settings.account {
        verdict.note_failure(file.write(path));
    }
    if let Some(verifier) = verifier.filter(|_| file.is_whole) {
        tracing::info!(accepted = verdict.accepted, "viewers are done, waiting for the tables");
        let check = verifier.verify(&file, settings.settle).await?;
        (verdict.verified, verdict.difference_count, verdict.differences) =
            (true, check.difference_count, check.differences);
    }
    Ok(())
}

/// Compares the tables with the accounts of a run, of all its parts.
pub async fn verify(accounts: &[PathBuf], database: &Database, settle: Duration) -> Result<Check, LoadError> {
    let files = accounts.iter().map(|path| AccountFile::read(path)).collect::<Result<Vec<_>, _>>()?;
    let file = AccountFile::union(files)?;
    if !file.is_whole {
        return Err(LoadError::NotWhole { run: file.run });
    }
    let verifier = Verifier::new(database, &file.site).await?;
    verifier.verify(&file, settle).await
}

/// Endless viewers in real time, for anybody who wants to see something. Whatever ends them is logged, and they come back.
pub async fn demo(target: String, viewers: u32, seed: u64, stop: Stop) {
    while !stop.is_requested() {
        let settings = Settings { viewers, seed, duration: DEMO_SPAN, ..Settings::new(target.clone()) };
        let load_stop = stop.clone();
        let loaded = blocking(move || load::load(&settings, &load_stop)).await;
        if let Err(error) | Ok(Loaded { ended_by: Some(error), .. }) = loaded {
            tracing::error!(error = with_causes(&error), "the simulated viewers pause");
            let _ = timeout(DEMO_PAUSE, stop.requested()).await; // either way the loop knows what to do
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| LoadError::Panicked)?
}
