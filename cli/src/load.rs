//! `watchbeat loadgen`: simulated viewers against a gateway, or a day of them straight into the log, and the verdict on
//! what the tables say of them.

use crate::flags::{AuthorityFlags, DatabaseFlags, LogFlags, MAIN_PIPELINE, Topics};
use crate::output;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use loadgen::{FillSettings, Part, Profile};
use service::{Stop, stop_on_signals};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use topic::Log;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LoadFlags {
    #[command(subcommand)]
    step: Option<Step>,
    #[command(flatten)]
    load: RunFlags,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Write the records of a day straight to the log, as fast as it takes them
    Fill(Box<FillFlags>),
    /// Compare the tables with the accounts of a run, and of all its parts
    Verify(VerifyFlags),
}

/// Who watches.
#[derive(Debug, Args)]
struct CrowdFlags {
    /// Who watches what, when: a TOML file, or the name of a shipped profile: day, peak-100k
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Accounts that watch; else the profile's, or 20
    #[arg(long)]
    viewers: Option<u32>,
    /// The same seed, the same viewers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which part of the viewers this process has, as in 1/4; the others have the rest
    #[arg(long, value_name = "N/OF", value_parser = part, default_value = "1/1")]
    part: Part,
    /// Name of the run, which begins its ids; parts of one run share it
    #[arg(long)]
    run: Option<String>,
    /// Write down what the viewers did, for a later `loadgen verify`
    #[arg(long, value_name = "FILE")]
    account: Option<PathBuf>,
    /// The site that they belong to
    #[arg(long, default_value = "default")]
    site: String,
}

#[derive(Debug, Args)]
struct RunFlags {
    #[command(flatten)]
    crowd: CrowdFlags,
    /// The gateway
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    target: String,
    /// A key of the gateway, once it knows keys
    #[arg(long, env = "WATCHBEAT_KEY", hide_env_values = true)]
    key: Option<String>,
    /// How long they watch; s
    #[arg(long, default_value_t = 30, value_name = "S")]
    duration: u64,
    /// How many times faster than real time they live
    #[arg(long, default_value_t = 1)]
    speedup: u32,
    /// Requests a second of this process, whatever the viewers' beats make; else its part of the profile's, if it has one
    #[arg(long, conflicts_with = "speedup")]
    rate: Option<u32>,
    /// Reports that a device gathers for one request; else the profile's, or 1
    #[arg(long)]
    batch: Option<usize>,
    /// Requests under way at the same time
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// HTTP/2 without negotiation, instead of HTTP/1.1
    #[arg(long)]
    http2: bool,
    /// Database with the tables; without it there is no verdict on them
    #[arg(long, env = "WATCHBEAT_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    #[command(flatten)]
    authority: AuthorityFlags,
    /// How long the tables may take to be complete; s
    #[arg(long, default_value_t = 120, value_name = "S")]
    settle: u64,
    /// Write the latencies as HdrHistogram's text
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Write a report with plots: one HTML file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(mut_arg("brokers", |brokers| brokers.required(false).required_unless_present("data_dir")))]
struct FillFlags {
    #[command(flatten)]
    crowd: CrowdFlags,
    #[command(flatten)]
    log: Option<LogFlags>,
    /// The folder of a `dev` that does not run, instead of Kafka
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Ends after so many heartbeats; else with the day
    #[arg(long, value_name = "N")]
    heartbeats: Option<u64>,
    /// First instant of the day, ms since the epoch; else 23 hours ago
    #[arg(long, value_name = "MS")]
    start: Option<i64>,
    /// A folder on the disk that Kafka writes to, if it is on this machine: it must have room
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct VerifyFlags {
    /// Accounts that the run's processes wrote
    #[arg(required = true, value_name = "FILE")]
    accounts: Vec<PathBuf>,
    #[command(flatten)]
    database: DatabaseFlags,
    /// How long the tables may take to be complete; s
    #[arg(long, default_value_t = 120, value_name = "S")]
    settle: u64,
}

/// Prints the outcome as one line of JSON; the exit status is 1 when a number is off.
pub(crate) async fn run(flags: LoadFlags) -> anyhow::Result<ExitCode> {
    match flags.step {
        None => load(flags.load).await,
        Some(Step::Fill(flags)) => fill(*flags).await,
        Some(Step::Verify(flags)) => {
            let settle = Duration::from_secs(flags.settle);
            let check = loadgen::verify(&flags.accounts, &flags.database.database()?, settle).await?;
            print(&check, check.passed())
        }
    }
}

async fn load(flags: RunFlags) -> anyhow::Result<ExitCode> {
    let profile = flags.crowd.profile()?;
    let rate = flags.rate(&profile);
    let database = flags.database_url.map(|url| flags.authority.database(&url)).transpose()?;
    let settings = loadgen::Settings {
        key: flags.key,
        site: flags.crowd.site,
        viewers: flags.crowd.viewers.unwrap_or(profile.viewers),
        batch: flags.batch.unwrap_or(profile.batch),
        rate,
        profile,
        duration: Duration::from_secs(flags.duration),
        seed: flags.crowd.seed,
        speedup: flags.speedup,
        connections: flags.connections,
        http2: flags.http2,
        part: flags.crowd.part,
        database,
        account: flags.crowd.account,
        settle: Duration::from_secs(flags.settle),
        run: flags.crowd.run,
        progress: true,
        hgrm: flags.hgrm,
        html: flags.html,
        ..loadgen::Settings::new(flags.target)
    };
    let verdict = loadgen::run(settings, stop()).await?;
    print(&verdict, verdict.passed())
}

async fn fill(flags: FillFlags) -> anyhow::Result<ExitCode> {
    let profile = flags.crowd.profile()?;
    let (log, topics, disk) = match (&flags.data_dir, &flags.log) {
        (Some(dir), _) if !dir.join("log").is_dir() => {
            bail!("{} has no log yet: let `watchbeat dev` make it first", dir.display())
        }
        (Some(dir), _) => (Log::embedded(&dir.join("log"))?, Topics::new("", MAIN_PIPELINE), Some(dir.clone())),
        (None, Some(log)) => (log.log()?, log.topics(MAIN_PIPELINE), flags.disk),
        (None, None) => bail!("name the log to fill: --brokers, or --data-dir of a `dev`"),
    };
    let settings = FillSettings {
        site: flags.crowd.site,
        viewers: flags.crowd.viewers.unwrap_or(profile.viewers),
        profile,
        seed: flags.crowd.seed,
        part: flags.crowd.part,
        run: flags.crowd.run,
        first_ms: flags.start,
        heartbeats: flags.heartbeats,
        account: flags.crowd.account,
        disk,
        progress: true,
        ..FillSettings::new(topics.heartbeats)
    };
    let filled = loadgen::fill(settings, log, stop()).await?;
    print(&filled, filled.complete)
}

impl RunFlags {
    /// Requests a second of this process: its own, or its share of the profile's, which is what all parts come to together.
    fn rate(&self, profile: &Profile) -> Option<u32> {
        // A speed-up asks for the viewers' own pace.
        let whole = if self.speedup == 1 { profile.rate } else { None };
        self.rate.or(whole.map(|whole| self.crowd.part.share(whole)))
    }
}

impl CrowdFlags {
    fn profile(&self) -> anyhow::Result<Profile> {
        let Some(path) = &self.profile else { return Ok(Profile::default()) };
        let name = path.display().to_string();
        if let Some(profile) = Profile::shipped(&name) {
            return Ok(profile);
        }
        let shipped = Profile::shipped_names().collect::<Vec<_>>().join(", ");
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read profile {name} (shipped ones are {shipped})"))?;
        Ok(Profile::parse(&name, &text)?)
    }
}

fn part(text: &str) -> Result<Part, String> {
    let (number, of) = text.split_once('/').ok_or("expected N/OF, as in 1/4")?;
    let parse = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
    Ok(Part { number: parse(number)?, of: parse(of)? })
}

/// Requested by SIGTERM and SIGINT.
fn stop() -> Stop {
    let stop = Stop::new();
    tokio::spawn(stop_on_signals(stop.clone()));
    stop
}

fn print(outcome: &impl std::fmt::Display, passed: bool) -> anyhow::Result<ExitCode> {
    output::line(outcome)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::RunFlags;
    use clap::{Args, Command, FromArgMatches};

    fn rate(line: &str) -> Option<u32> {
        let command = RunFlags::augment_args(Command::new("loadgen").no_binary_name(true));
        let flags =
            RunFlags::from_arg_matches(&command.try_get_matches_from(line.split_whitespace()).unwrap()).unwrap();
        flags.rate(&flags.crowd.profile().unwrap())
    }

    #[test]
    fn the_rate_of_a_profile_is_divided_among_the_parts_and_ones_own_is_not() {
        assert_eq!(rate("--profile peak-100k"), Some(100_000));
        assert_eq!(rate("--profile peak-100k --part 2/4"), Some(25_000));
        let parts = ["1/3", "2/3", "3/3"].map(|part| rate(&format!("--profile peak-100k --part {part}")));
        assert_eq!(parts, [Some(33_334), Some(33_333), Some(33_333)]);
        assert_eq!(rate("--profile peak-100k --part 2/4 --rate 5000"), Some(5_000));
        assert_eq!(rate("--profile peak-100k --part 2/4 --speedup 2"), None);
        assert_eq!(rate("--profile day --part 2/4"), None);
    }
}
