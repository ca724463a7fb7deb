//! The report's metrics, each declared once.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use tokio::time::Instant;

const REQUESTS: &str = "watchbeat_report_requests_total";
const ANSWER_SECONDS: &str = "watchbeat_report_answer_seconds";

/// Tells the recorder what the metrics mean. A count of zero exists from the start: without it, a report API that nobody asks
/// could not be told from one that is not there.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by path and HTTP status.");
    describe_histogram!(ANSWER_SECONDS, Unit::Seconds, "Time from a request to its answer, by path.");
    counter!(REQUESTS, "path" => OTHER, "status" => "404").increment(0);
}

/// The path label of a request that no route matches.
const OTHER: &str = "other";

/// Counts a request and its answer. No label says whom or what is asked for.
pub(crate) async fn measure(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or(OTHER, MatchedPath::as_str).to_owned();
    let start = Instant::now();
    let response = next.run(request).await;
    histogram!(ANSWER_SECONDS, "path" => path.clone()).record(start.elapsed().as_secs_f64());
    counter!(REQUESTS, "path" => path, "status" => response.status().as_str().to_owned()).increment(1);
    response
}
