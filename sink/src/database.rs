//! Patience with the database. Which failures pass by themselves is decided here; what is asked of the database is not.

use metrics::counter;
use service::{Component, Stop};
use sql::database::{Pool, PoolError};
use tokio_postgres::error::SqlState;

use crate::{DatabaseError, limits, meters};

/// Runs `operation` until it succeeds or fails for good; `None` when told to stop before. Nothing is lost by waiting:
/// the log has everything.
pub(crate) async fn persistently<T>(
    what: &'static str,
    pool: &Pool,
    database: &Component,
    stop: &Stop,
    mut operation: impl AsyncFnMut() -> Result<T, DatabaseError>,
) -> Result<Option<T>, DatabaseError> {
    let mut backoff = limits::FIRST_BACKOFF;
    for tried in 1_u32.. {
        let error = match operation().await {
            Ok(done) => {
                database.ready();
                return Ok(Some(done));
            }
            Err(error) if is_passing(&error) => error,
            Err(error) => return Err(error),
        };
        counter!(meters::RETRIES).increment(1);
        if is_read_only(&error) {
            pool.forget_idle(); // a new connection may lead to the primary
        }
        if tried == limits::QUICK_TRIES {
            tracing::warn!(%error, what, "the database is away; trying on");
            database.not_ready(format!("{what}: {error}"));
        } else {
            tracing::debug!(%error, what, tried, "the database failed; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = stop.requested(), if tried >= limits::QUICK_TRIES => return Ok(None),
        }
        backoff = if tried < limits::QUICK_TRIES { backoff * 2 } else { limits::AWAY_BACKOFF };
    }
    Ok(None)
}

/// Whether trying again can help.
pub(crate) fn is_passing(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::TimedOut | DatabaseError::Pool(PoolError::Timeout(_)) => true,
        DatabaseError::Query(error) | DatabaseError::Pool(PoolError::Backend(error)) => match error.as_db_error() {
            Some(said) => is_passing_code(said.code(), said.message()),
            None => is_lost(error),
        },
        _ => false,
    }
}

/// Whether the server takes no writes: it was the primary before a failover, or is not yet. The connection stays as it is.
fn is_read_only(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Query(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION))
}

/// Whether the server's failure passes by itself, by its code. An unknown internal error may be anything, so it is not repeated.
fn is_passing_code(code: &SqlState, message: &str) -> bool {
    let conflict = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
    let ended = [SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, SqlState::QUERY_CANCELED];
    // 08: connection, 53: out of a resource, 57P: the server stops, starts or has crashed.
    let passing_classes = ["08", "53", "57P"];
    conflict.contains(code)
        || ended.contains(code)
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
        || passing_classes.iter().any(|class| code.code().starts_with(class))
        || (*code == SqlState::INTERNAL_ERROR && is_passing_message(&message.to_lowercase()))
}

/// Whether this message, in lower case, is one that YugabyteDB sends without a code of its own: that the schema has changed, or
/// that its own servers did not reach each other. The latter kind begins with the name of the failure.
fn is_passing_message(message: &str) -> bool {
    let unreached = ["timed out", "network error", "service unavailable", "remote error"];
    message.contains("schema version mismatch")
        || message.contains("catalog version mismatch")
        || (message.contains("catalog snapshot") && message.contains("invalidated"))
        || unreached.iter().any(|failure| message.starts_with(failure))
}

/// Whether the connection broke, or could not be made.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<std::io::Error>() {
            return true;
        }
        source = cause.source();
    }
    error.is_closed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_repeated() {
        let cases = [
            ("40001", "", true),
            ("40P01", "", true),
            ("25P03", "", true),
            ("57P01", "terminating connection", true),
            ("57P03", "the database system is starting up", true),
            ("08006", "", true),
            ("53300", "too many clients", true),
            ("XX000", "schema version mismatch for table x: expected 5, got 4", true),
            ("XX000", "The catalog snapshot used for this transaction has been invalidated", true),
            ("XX000", "Timed out: Perform RPC (request call id 7) to 10.0.0.2:9100 timed out after 120.000s", true),
            ("XX000", "Network error: recvmsg error: Connection refused", true),
            ("XX000", "SERVICE UNAVAILABLE: leader not ready to serve requests", true),
            ("XX000", "remote error: tablet is being split", true),
            ("XX000", "something else", false),
            ("XX000", "something else that timed out", false),
            ("25006", "cannot execute UPDATE in a read-only transaction", true),
            ("22003", "Timed out", false),
            ("42703", "column does not exist", false),
            ("25P02", "", false),
            ("22003", "bigint out of range", false),
            ("28P01", "password authentication failed", false),
        ];
        for (code, message, expected) in cases {
            assert_eq!(is_passing_code(&SqlState::from_code(code), message), expected, "{code} {message}");
        }
    }
}
