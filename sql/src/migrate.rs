//! Brings a database to the schema of this build: `migrations/NNNN_name.sql`, applied once, in order, one statement at a
//! time, since YugabyteDB has no transactional DDL. So every statement can be repeated, and a file is recorded only
//! after its last one. Lines after `-- yugabyte:` run there only, lines after `-- postgres:` elsewhere only, up to the next
//! such mark or `-- both:`. There is no way down: a later file corrects an earlier one.

use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::database::with_causes;
use crate::limits;

/// Name and text, in order.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_watch_sessions", include_str!("../migrations/0001_watch_sessions.sql")),
    ("0002_watch_segments", include_str!("../migrations/0002_watch_segments.sql")),
    ("0003_resume_positions", include_str!("../migrations/0003_resume_positions.sql")),
    ("0004_video_minutes", include_str!("../migrations/0004_video_minutes.sql")),
    ("0005_title_hours", include_str!("../migrations/0005_title_hours.sql")),
    ("0006_video_retention", include_str!("../migrations/0006_video_retention.sql")),
    ("0007_ad_hours", include_str!("../migrations/0007_ad_hours.sql")),
    ("0008_ad_reach", include_str!("../migrations/0008_ad_reach.sql")),
    ("0009_ledger_minutes", include_str!("../migrations/0009_ledger_minutes.sql")),
    ("0010_progress", include_str!("../migrations/0010_progress.sql")),
    ("0011_videos", include_str!("../migrations/0011_videos.sql")),
    ("0012_licences", include_str!("../migrations/0012_licences.sql")),
    ("0013_ad_lines", include_str!("../migrations/0013_ad_lines.sql")),
    ("0014_room_for_updates", include_str!("../migrations/0014_room_for_updates.sql")),
    ("0015_owner", include_str!("../migrations/0015_owner.sql")),
    ("0016_owner_fingerprint", include_str!("../migrations/0016_owner_fingerprint.sql")),
];

/// What must be there before anything can be recorded.
const FOUNDATION: &[&str] = &[
    "create schema if not exists watchbeat",
    "create table if not exists watchbeat.migrations (
        name text primary key, checksum text not null, applied_at timestamptz not null default now())",
    "create table if not exists watchbeat.migration_lock (
        id bigint primary key, holder text not null, held_until timestamptz not null)",
    "insert into watchbeat.migration_lock (id, holder, held_until) values (1, '', 'epoch') on conflict (id) do nothing",
];

/// Why a database could not be brought to the schema.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database cannot be reached, or refuses.
    #[error("the database refused or cannot be reached: {}", with_causes(.0))]
    Database(#[from] tokio_postgres::Error),
    /// A statement failed.
    #[error("migration {name} failed: {source}; mend the cause and run it again, its statements can be repeated")]
    Statement {
        /// The file.
        name: &'static str,
        /// What the database said.
        source: tokio_postgres::Error,
    },
    /// Somebody edited a file that has been applied.
    #[error(
        "migration {name} was applied with another content (checksum {applied}, now {expected}): restore the file, and put the change into a new one"
    )]
    Changed {
        /// The file.
        name: &'static str,
        /// Checksum in the database.
        applied: String,
        /// Checksum of this build.
        expected: String,
    },
    /// The database is ahead.
    #[error("the database has the migration {0}, which this build does not know: run a newer build")]
    Unknown(String),
    /// Another process does not finish.
    #[error("another migration holds the lock ({0}): wait for it, or end it")]
    Locked(String),
}

/// Applies what is missing, and answers the names of what it applied. Any number of processes may run it at once.
pub async fn migrate(client: &mut Client) -> Result<Vec<&'static str>, MigrateError> {
    apply(client, MIGRATIONS).await
}

async fn apply(
    client: &mut Client,
    migrations: &[(&'static str, &'static str)],
) -> Result<Vec<&'static str>, MigrateError> {
    // No notices that something exists already.
    run(client, "set client_min_messages = warning").await?;
    for statement in FOUNDATION {
        run(client, statement).await?;
    }
    if missing(client, migrations).await?.is_empty() {
        return Ok(Vec::new());
    }
    let holder = lock(client).await?;
    let applied = apply_locked(client, migrations, &holder).await;
    let release = "update watchbeat.migration_lock set holder = '', held_until = 'epoch' where id = 1 and holder = $1";
    let released = client.execute(release, &[&holder]).await;
    let names = applied?;
    released?;
    Ok(names)
}

async fn apply_locked(
    client: &Client,
    migrations: &[(&'static str, &'static str)],
    holder: &str,
) -> Result<Vec<&'static str>, MigrateError> {
    let version: String = client.query_one("select version()", &[]).await?.get(0);
    let is_yugabyte = version.contains("-YB-");
    let mut names = Vec::new();
    for (name, text) in missing(client, migrations).await? {
        for statement in statements(text, is_yugabyte) {
            renew(client, holder).await?;
            run(client, &statement).await.map_err(|source| MigrateError::Statement { name, source })?;
        }
        let record = "insert into watchbeat.migrations (name, checksum) values ($1, $2) on conflict (name) do nothing";
        client.execute(record, &[&name, &checksum(text)]).await?;
        tracing::info!(migration = name, "migration applied");
        names.push(name);
    }
    Ok(names)
}

/// The migrations that are not recorded; refuses any recorded with another content.
async fn missing(
    client: &Client,
    migrations: &[(&'static str, &'static str)],
) -> Result<Vec<(&'static str, &'static str)>, MigrateError> {
    let rows = client.query("select name, checksum from watchbeat.migrations order by name", &[]).await?;
    let recorded: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    if let Some((name, _)) = recorded.iter().find(|(name, _)| migrations.iter().all(|(known, _)| known != name)) {
        return Err(MigrateError::Unknown(name.clone()));
    }
    let mut missing = Vec::new();
    for &(name, text) in migrations {
        let expected = checksum(text);
        match recorded.iter().find(|(recorded, _)| recorded == name) {
            None => missing.push((name, text)),
            Some((_, applied)) if *applied == expected => {}
            Some((_, applied)) => return Err(MigrateError::Changed { name, applied: applied.clone(), expected }),
        }
    }
    Ok(missing)
}

/// Takes the lock row; advisory locks are not in every YugabyteDB. The lease lapses, so that a dead owner blocks nobody.
async fn lock(client: &Client) -> Result<String, MigrateError> {
    let own = "select pg_backend_pid()::text || ' at ' || clock_timestamp()::text";
    let holder: String = client.query_one(own, &[]).await?.get(0);
    let take = "update watchbeat.migration_lock set holder = $1, held_until = now() + make_interval(secs => $2::bigint)
        where id = 1 and held_until < now()";
    for _ in 0..limits::MIGRATION_LOCK_TRIES {
        match client.execute(take, &[&holder, &limits::MIGRATION_LEASE_SECONDS]).await {
            Ok(1) => return Ok(holder),
            Ok(_) => {}
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(limits::MIGRATION_POLL).await;
    }
    let row = client.query_one("select holder from watchbeat.migration_lock where id = 1", &[]).await?;
    Err(MigrateError::Locked(row.get(0)))
}

/// Keeps the lock for another lease; refuses when it has been lost.
async fn renew(client: &Client, holder: &str) -> Result<(), MigrateError> {
    let renew = "update watchbeat.migration_lock set held_until = now() + make_interval(secs => $2::bigint)
        where id = 1 and holder = $1";
    match client.execute(renew, &[&holder, &limits::MIGRATION_LEASE_SECONDS]).await? {
        1 => Ok(()),
        _ => Err(MigrateError::Locked("it was taken over after this one stood still".into())),
    }
}

/// Runs one statement, and repeats it if another process did the same thing at the same moment.
async fn run(client: &Client, statement: &str) -> Result<(), tokio_postgres::Error> {
    for _ in 1..limits::MIGRATION_TRIES {
        match client.batch_execute(statement).await {
            Err(error) if is_conflict(&error) => tokio::time::sleep(limits::MIGRATION_POLL).await,
            outcome => return outcome,
        }
    }
    client.batch_execute(statement).await
}

/// `if not exists` still fails when two create the same thing at once, and YugabyteDB aborts DDL that overlaps.
fn is_conflict(error: &tokio_postgres::Error) -> bool {
    let retryable = [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_OBJECT,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ];
    error.code().is_some_and(|code| retryable.contains(code))
}

/// The statements of `text` for one of the two databases. A statement ends with the line that ends with a semicolon.
fn statements(text: &str, is_yugabyte: bool) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    let mut applies = true;
    for line in text.lines() {
        match line.trim() {
            "-- yugabyte:" => applies = is_yugabyte,
            "-- postgres:" => applies = !is_yugabyte,
            "-- both:" => applies = true,
            comment if comment.starts_with("--") => {}
            _ if !applies => {}
            part => {
                statement.push_str(part.strip_suffix(';').unwrap_or(part));
                statement.push('\n');
                if part.ends_with(';') {
                    statements.push(std::mem::take(&mut statement));
                }
            }
        }
    }
    statements
}

fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
