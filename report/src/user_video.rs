//! `GET /v1/users/{user}/videos/{video}`: where a user goes on with a title, and what they have seen of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use sql::database::Pool;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};

use crate::parameters::{self, check_id};
use crate::progress::{self, CompleteTo};
use crate::snapshot::{self, Most, rows};
use crate::{ReportError, limits};

/// The views whose tables are read.
pub(crate) const READS: [&str; 3] = ["resume_positions", "watch_segments", "watch_sessions"];

/// The answer. Times and positions in ms.
#[derive(Debug, Serialize)]
pub(crate) struct UserVideo {
    site: String,
    user_id: String,
    video_id: String,
    resume: Option<Resume>,
    /// Union over the sessions, as `[from_ms, to_ms)`.
    segments: Vec<Segment>,
    /// Length of that union.
    unique_ms: i64,
    sessions: Vec<Session>,
    complete_to: BTreeMap<String, CompleteTo>,
}

#[derive(Debug, Serialize)]
struct Resume {
    position_ms: i64,
    furthest_ms: i64,
    event_time: i64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Segment {
    from_ms: i64,
    to_ms: i64,
}

#[derive(Debug, Serialize)]
struct Session {
    session_id: String,
    gross_ms: i64,
    unique_ms: i64,
    wall_ms: i64,
    heartbeats: i64,
    started_at: i64,
    last_at: i64,
    is_view: bool,
    is_complete: bool,
    device: Option<String>,
    territory: String,
}

/// The query string.
#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    site: Option<String>,
}

pub(crate) async fn answer(
    State(pool): State<Pool>,
    path: Result<Path<(String, String)>, PathRejection>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<UserVideo>, ReportError> {
    let (Path((user, video)), Query(parameters)) = (path?, parameters?);
    let site = parameters::site(parameters.site)?;
    check_id("user", &user)?;
    check_id("video", &video)?;
    snapshot::read(&pool, async move |snapshot| read(snapshot, &site, &user, &video).await).await.map(Json)
}

async fn read(snapshot: &Transaction<'_>, site: &str, user_id: &str, video_id: &str) -> Result<UserVideo, ReportError> {
    let resume = snapshot.query_opt(sql::queries::USER_VIDEO_RESUME, &[&site, &user_id, &video_id]).await?;
    let watched: [&(dyn ToSql + Sync); 3] = [&site, &user_id, &video_id];
    let most = |rows| Most { rows, way_out: "ask the tables with SQL" };
    let most_sessions = most(limits::SESSIONS);
    let sessions = rows(snapshot, sql::queries::USER_VIDEO_SESSIONS, &watched, most_sessions, session).await?;
    let segment = |row: &Row| Segment { from_ms: row.get(0), to_ms: row.get(1) };
    let segments = rows(snapshot, sql::queries::USER_VIDEO_SEGMENTS, &watched, most(limits::ROWS), segment).await?;
    let complete_to = progress::complete_to(snapshot).await?;
    if resume.is_none() && sessions.is_empty() {
        return Err(ReportError::Unknown("user and title"));
    }
    let resume = resume.map(|row| Resume { position_ms: row.get(0), furthest_ms: row.get(1), event_time: row.get(2) });
    let segments = union(segments.into_iter());
    let unique_ms = segments.iter().map(|segment| segment.to_ms - segment.from_ms).sum();
    let [site, user_id, video_id] = [site, user_id, video_id].map(str::to_owned);
    Ok(UserVideo { site, user_id, video_id, resume, segments, unique_ms, sessions, complete_to })
}

fn session(row: &Row) -> Session {
    Session {
        session_id: row.get(0),
        gross_ms: row.get(1),
        unique_ms: row.get(2),
        wall_ms: row.get(3),
        heartbeats: row.get(4),
        started_at: row.get(5),
        last_at: row.get(6),
        is_view: row.get(7),
        is_complete: row.get(8),
        device: row.get(9),
        territory: row.get(10),
    }
}

/// The union of segments that come sorted by their start; segments that touch become one.
fn union(sorted: impl Iterator<Item = Segment>) -> Vec<Segment> {
    let mut united: Vec<Segment> = Vec::new();
    for segment in sorted {
        match united.last_mut() {
            Some(last) if segment.from_ms <= last.to_ms => last.to_ms = last.to_ms.max(segment.to_ms),
            _ => united.push(segment),
        }
    }
    united
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_that_overlap_or_touch_are_one() {
        let segments = |pairs: &[(i64, i64)]| -> Vec<Segment> {
            pairs.iter().map(|&(from_ms, to_ms)| Segment { from_ms, to_ms }).collect()
        };
        let found = union(segments(&[(0, 10), (2, 5), (10, 20), (21, 30)]).into_iter());
        assert_eq!(found, segments(&[(0, 20), (21, 30)]));
    }
}
