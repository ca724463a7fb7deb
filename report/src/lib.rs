//! The report API: what a user has watched of a title, and how a title fares. It reads the tables, in one snapshot per
//! answer, and says in each how far they are complete. It changes nothing and keeps nothing.

pub mod caps;
mod error;
mod interval;
mod progress;
mod user_video;
mod video;

use axum::Router;
use axum::routing::get;
use deadpool_postgres::Pool;
use service::{Component, Readiness, Stop, TaskError};
use tokio::net::TcpListener;

pub use error::ReportError;

/// Serves until told to stop; requests under way are answered.
pub async fn serve(listener: TcpListener, pool: Pool, readiness: Readiness, stop: Stop) -> Result<(), TaskError> {
    let watching = watch_database(pool.clone(), readiness.component("report_database"), stop.clone());
    let routes = Router::new()
        .route("/v1/users/{user}/videos/{video}", get(user_video::answer))
        .route("/v1/videos/{video}", get(video::answer))
        .fallback(async || ReportError::NoSuchPath)
        .with_state(pool);
    let stopped = async move { stop.requested().await };
    let serving = async { axum::serve(listener, routes).with_graceful_shutdown(stopped).await };
    let ((), served) = tokio::join!(watching, serving);
    Ok(served?)
}

/// Ready while the database answers.
async fn watch_database(pool: Pool, database: Component, stop: Stop) {
    loop {
        match ping(&pool).await {
            Ok(()) => database.ready(),
            Err(error) => database.not_ready(error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(caps::PING_EVERY) => {}
            () = stop.requested() => return,
        }
    }
}

async fn ping(pool: &Pool) -> Result<(), ReportError> {
    let asking = async { Ok::<_, ReportError>(pool.get().await?.simple_query("select 1").await?) };
    tokio::time::timeout(caps::ANSWER_TIMEOUT, asking).await.map_err(|_| ReportError::TooSlow)??;
    Ok(())
}
