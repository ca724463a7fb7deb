//! The report API: what a user has watched of a title, and how a title fares. It reads the tables, in one snapshot per
//! answer, and says in each how far they are complete. It changes nothing and keeps nothing.

mod error;
mod instant;
pub mod limits;
mod meters;
mod parameters;
mod progress;
mod snapshot;
mod user_video;
mod video;

use axum::routing::{MethodRouter, get};
use axum::{Router, middleware};
use service::{Readiness, Stop, TaskError};
use sql::database::{Database, OpenError, Pool};
use tokio::net::TcpListener;

pub use error::ReportError;

/// Connections for [`serve`].
pub fn pool(database: &Database, size: usize) -> Result<Pool, OpenError> {
    database.impatient_pool(size, limits::STATEMENT_TIMEOUT)
}

/// Serves until told to stop; requests under way are still answered. The views named in `left_out` are not kept.
pub async fn serve(
    listener: TcpListener,
    pool: Pool,
    left_out: Vec<String>,
    readiness: Readiness,
    stop: Stop,
) -> Result<(), TaskError> {
    meters::describe();
    let database = readiness.component("report_database");
    let watching = database.watch(limits::PING_EVERY, &stop, || snapshot::ping(&pool));
    let routes = Router::new()
        .route("/v1/users/{user}/videos/{video}", if_kept(&user_video::READS, &left_out, get(user_video::answer)))
        .route("/v1/videos/{video}", if_kept(&video::READS, &left_out, get(video::answer)))
        .fallback(async || ReportError::NoSuchPath)
        .method_not_allowed_fallback(async || ReportError::NotGet)
        .layer(middleware::from_fn(meters::measure))
        .with_state(pool.clone());
    let stopped = stop.clone();
    let stopped = async move { stopped.requested().await };
    let serving = async { axum::serve(listener, routes).with_graceful_shutdown(stopped).await };
    let ((), served) = tokio::join!(watching, serving);
    Ok(served?)
}

/// The route if all the views that it `reads` are kept, else an error: from a table without rows it would answer that nothing
/// was watched.
fn if_kept(reads: &[&'static str], left_out: &[String], route: MethodRouter<Pool>) -> MethodRouter<Pool> {
    match reads.iter().copied().find(|view| left_out.iter().any(|name| name == view)) {
        Some(view) => get(async move || ReportError::LeftOut(view)),
        None => route,
    }
}

#[cfg(test)]
mod tests {
    use super::{user_video, video};
    use sql::queries::*;
    use std::collections::BTreeSet;

    /// The views whose tables these queries name.
    fn views_of(queries: &[&'static str]) -> BTreeSet<&'static str> {
        let words = queries
            .iter()
            .flat_map(|query| query.split(|character: char| !character.is_alphanumeric() && character != '_'));
        let words: BTreeSet<_> = words.collect();
        sql::views::names().filter(|name| words.contains(name)).collect()
    }

    #[test]
    fn each_route_knows_the_views_that_its_queries_read() {
        let of_user_video = [USER_VIDEO_RESUME, USER_VIDEO_SEGMENTS, USER_VIDEO_SESSIONS];
        assert_eq!(views_of(&of_user_video), BTreeSet::from(user_video::READS));
        let of_video = [VIDEO_KNOWN, VIDEO_TERRITORIES, VIDEO_MINUTES, VIDEO_RETENTION];
        assert_eq!(views_of(&of_video), BTreeSet::from(video::READS));
    }
}
