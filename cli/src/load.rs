//! `watchbeat loadgen`: simulated viewers against a gateway, and the verdict on what the tables say of them.

use clap::Args;
use service::{Stop, stop_on_signals};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct LoadFlags {
    /// The gateway
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    target: String,
    /// A key of the gateway, once it knows keys
    #[arg(long, env = "WATCHBEAT_KEY", hide_env_values = true)]
    key: Option<String>,
    /// The site that the key stands for
    #[arg(long, default_value = "default")]
    site: String,
    /// Viewers at the same time
    #[arg(long, default_value_t = 20)]
    viewers: u32,
    /// How long they watch; s
    #[arg(long, default_value_t = 30, value_name = "S")]
    duration: u64,
    /// The same seed, the same viewers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many times faster than real time they live
    #[arg(long, default_value_t = 1)]
    speedup: u32,
    /// Reports that a viewer gathers for one request
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Requests under way at the same time
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Database with the tables; without it there is no verdict on them
    #[arg(long, env = "WATCHBEAT_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// How long the tables may take to be complete; s
    #[arg(long, default_value_t = 120, value_name = "S")]
    settle: u64,
}

/// Prints the verdict as one line of JSON; the exit status is 1 when a number is off.
#[allow(clippy::print_stdout)] // the verdict is the output
pub(crate) async fn run(flags: LoadFlags) -> anyhow::Result<ExitCode> {
    let stop = Stop::new();
    tokio::spawn(stop_on_signals(stop.clone()));
    let settings = loadgen::Settings {
        key: flags.key,
        site: flags.site,
        viewers: flags.viewers,
        duration: Duration::from_secs(flags.duration),
        seed: flags.seed,
        speedup: flags.speedup,
        batch: flags.batch,
        connections: flags.connections,
        database: flags.database_url,
        settle: Duration::from_secs(flags.settle),
        ..loadgen::Settings::new(flags.target)
    };
    let verdict = loadgen::run(settings, stop).await?;
    println!("{verdict}");
    Ok(if verdict.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
