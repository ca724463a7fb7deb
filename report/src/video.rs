//! `GET /v1/videos/{video}?from=&to=`: how a title fares, in the hours, minutes and days that start in `[from, to)`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use sql::database::Pool;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};

use crate::instant::instant_ms;
use crate::parameters::{self, check_id};
use crate::progress::{self, CompleteTo};
use crate::snapshot::{self, Most, rows};
use crate::{ReportError, limits};

/// The views whose tables are read.
pub(crate) const READS: [&str; 3] = ["title_hours", "video_minutes", "video_retention"];

/// The answer. Times and durations in ms.
#[derive(Debug, Serialize)]
pub(crate) struct Video {
    site: String,
    video_id: String,
    from: Option<i64>,
    to: Option<i64>,
    totals: Consumption,
    territories: BTreeMap<String, Consumption>,
    minutes: Vec<Minute>,
    retention: Vec<Bucket>,
    complete_to: BTreeMap<String, CompleteTo>,
}

#[derive(Debug, Default, Serialize)]
struct Consumption {
    gross_ms: i64,
    qualified_ms: i64,
    wall_ms: i64,
    starts: i64,
    views: i64,
    completes: i64,
}

#[derive(Debug, Serialize)]
struct Minute {
    minute: i64,
    watch_ms: i64,
    viewers: i64,
}

/// Ten seconds of content, from `bucket * 10` s.
#[derive(Debug, Serialize)]
struct Bucket {
    bucket: i64,
    gross_ms: i64,
}

/// The query string.
#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    site: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

pub(crate) async fn answer(
    State(pool): State<Pool>,
    video: Result<Path<String>, PathRejection>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Video>, ReportError> {
    let (Path(video), Query(parameters)) = (video?, parameters?);
    let site = parameters::site(parameters.site)?;
    check_id("video", &video)?;
    let bound = |what: &str, text: Option<String>| {
        let refuse =
            |text: String| ReportError::BadRequest(format!("{what}={text} is neither ISO 8601 nor ms since 1970"));
        text.map(|text| instant_ms(&text).ok_or_else(|| refuse(text))).transpose()
    };
    let (from, to) = (bound("from", parameters.from)?, bound("to", parameters.to)?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(ReportError::BadRequest("from must be before to".into()));
    }
    snapshot::read(&pool, async move |snapshot| read(snapshot, &site, &video, from, to).await).await.map(Json)
}

async fn read(
    snapshot: &Transaction<'_>,
    site: &str,
    video_id: &str,
    from: Option<i64>,
    to: Option<i64>,
) -> Result<Video, ReportError> {
    let (from_time, to_time) = (from.map(time), to.map(time));
    let is_known: bool = snapshot.query_one(sql::queries::VIDEO_KNOWN, &[&site, &video_id]).await?.get(0);
    if !is_known {
        return Err(ReportError::Unknown("title"));
    }
    let range: [&(dyn ToSql + Sync); 4] = [&site, &video_id, &from_time, &to_time];
    let most = Most { rows: limits::ROWS, way_out: "narrow the range by from and to" };
    let territory = |row: &Row| (row.get(0), consumption(row));
    let territories = rows(snapshot, sql::queries::VIDEO_TERRITORIES, &range, most, territory).await?;
    let minute = |row: &Row| Minute { minute: row.get(0), watch_ms: row.get(1), viewers: row.get(2) };
    let minutes = rows(snapshot, sql::queries::VIDEO_MINUTES, &range, most, minute).await?;
    let bucket = |row: &Row| Bucket { bucket: row.get(0), gross_ms: row.get(1) };
    let retention = rows(snapshot, sql::queries::VIDEO_RETENTION, &range, most, bucket).await?;
    let complete_to = progress::complete_to(snapshot).await?;
    let territories: BTreeMap<String, Consumption> = territories.into_iter().collect();
    let totals = territories.values().fold(Consumption::default(), sum);
    let [site, video_id] = [site, video_id].map(str::to_owned);
    Ok(Video { site, video_id, from, to, totals, territories, minutes, retention, complete_to })
}

fn consumption(row: &Row) -> Consumption {
    Consumption {
        gross_ms: row.get(1),
        qualified_ms: row.get(2),
        wall_ms: row.get(3),
        starts: row.get(4),
        views: row.get(5),
        completes: row.get(6),
    }
}

fn sum(left: Consumption, right: &Consumption) -> Consumption {
    Consumption {
        gross_ms: left.gross_ms + right.gross_ms,
        qualified_ms: left.qualified_ms + right.qualified_ms,
        wall_ms: left.wall_ms + right.wall_ms,
        starts: left.starts + right.starts,
        views: left.views + right.views,
        completes: left.completes + right.completes,
    }
}

/// The instant in the driver's type; `instant_ms` never gives one before 1970.
fn time(ms: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms.unsigned_abs())
}
