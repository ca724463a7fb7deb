//! The admin port: `/livez`, `/readyz` and `/metrics`. It is for operators; nothing of viewers passes here.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{Metrics, Readiness, Stop, TaskError, limits};

/// Serves the admin endpoints until dropped, so that a drain is seen too: run it as a companion of the other tasks
/// ([`crate::Tasks::spawn_companion`]).
///
/// - `/livez` is 200 as long as the process can answer at all. It depends on no log and no database: an outage there must not
///   restart the fleet.
/// - `/readyz` is 200 when all components are ready and no stop is requested, else 503; both with the components and their reasons as JSON.
/// - `/metrics` is the text format of Prometheus.
///
/// # Errors
/// The listener failed.
pub async fn serve_admin(
    listener: TcpListener,
    readiness: Readiness,
    metrics: Metrics,
    stop: Stop,
) -> Result<(), TaskError> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving /livez, /readyz and /metrics");
    let router = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(Admin { readiness, metrics: metrics.clone(), stop });
    tokio::select! {
        served = axum::serve(listener, router) => Ok(served?),
        () = fold_regularly(&metrics) => Ok(()),
    }
}

#[derive(Clone)]
struct Admin {
    readiness: Readiness,
    metrics: Metrics,
    stop: Stop,
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let stopping = admin.stop.is_requested();
    let ready = !stopping && admin.readiness.is_ready();
    let components: Vec<_> = admin
        .readiness
        .reasons()
        .into_iter()
        .map(|(name, reason)| json!({ "name": name, "ready": reason.is_none(), "reason": reason }))
        .collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "stopping": stopping, "components": components })))
}

async fn render(State(admin): State<Admin>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.metrics.render())
}

/// Never returns: it is dropped when the serving beside it ends.
async fn fold_regularly(metrics: &Metrics) {
    let mut tick = tokio::time::interval(limits::METRICS_UPKEEP);
    loop {
        tick.tick().await;
        metrics.fold();
    }
}
