//! How a request can end other than with its answer, as status and JSON. Details of the database go to the log, not to the
//! client.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio_postgres::error::SqlState;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A parameter that makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// Nothing is known of what was asked for.
    #[error("nothing is known of this {0}")]
    Unknown(&'static str),
    /// No such resource.
    #[error("there is no such path: ask /v1/users/{{user}}/videos/{{video}} or /v1/videos/{{video}}")]
    NoSuchPath,
    /// Nothing can be written here.
    #[error("only GET is answered here")]
    NotGet,
    /// The pipeline has no such view.
    #[error("{0} is left out here (--without-view), so this cannot be answered: ask the other tables with SQL")]
    LeftOut(&'static str),
    /// No connection.
    #[error("the database cannot be reached: {}", sql::database::with_causes(.0))]
    Unreachable(#[from] sql::database::PoolError),
    /// The database refused.
    #[error("the database failed: {}", sql::database::with_causes(.0))]
    Database(tokio_postgres::Error),
    /// More requests come than the database answers.
    #[error("too many requests wait for the database")]
    Busy,
    /// The database takes its time.
    #[error("the database did not answer in time")]
    TooSlow,
}

impl From<tokio_postgres::Error> for ReportError {
    fn from(error: tokio_postgres::Error) -> ReportError {
        match error.code() {
            Some(&SqlState::QUERY_CANCELED) => ReportError::TooSlow, // see limits::STATEMENT_TIMEOUT
            _ => ReportError::Database(error),
        }
    }
}

impl From<PathRejection> for ReportError {
    fn from(rejection: PathRejection) -> ReportError {
        ReportError::BadRequest(rejection.body_text())
    }
}

impl From<QueryRejection> for ReportError {
    fn from(rejection: QueryRejection) -> ReportError {
        ReportError::BadRequest(rejection.body_text())
    }
}

impl IntoResponse for ReportError {
    fn into_response(self) -> Response {
        let (status, code, detail) = match &self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request", self.to_string()),
            Self::Unknown(_) | Self::NoSuchPath => (StatusCode::NOT_FOUND, "not_found", self.to_string()),
            Self::NotGet => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", self.to_string()),
            Self::LeftOut(_) => (StatusCode::NOT_IMPLEMENTED, "left_out", self.to_string()),
            Self::Busy => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy", "too many requests wait for the database: ask again".into())
            }
            Self::Unreachable(_) | Self::Database(_) | Self::TooSlow => {
                tracing::warn!(error = %self, "a report could not be answered");
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the database does not answer now: ask again".into())
            }
        };
        let body = Json(serde_json::json!({ "error": { "code": code, "detail": detail } }));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => (status, [(header::RETRY_AFTER, "1")], body).into_response(),
            _ => (status, body).into_response(),
        }
    }
}
