//! Adds the credits of whole sessions up to the rows of the tables.

use super::judge::{Credit, territory};
use super::{DAY_MS, HOUR_MS, SessionKey, floor};
use crate::record::Record;
use crate::tables::{Cell, Tables};
use std::collections::{BTreeMap, BTreeSet};

const MINUTE_MS: i64 = 60_000;
/// Resolution of the retention curve; ms of content.
const BUCKET_MS: i64 = 10_000;
/// A view: this much unique content, or half of a shorter title.
const VIEW_MS: i64 = 30_000;
const COMPLETE_PERCENT: i64 = 90;

/// Rows in the making.
#[derive(Default)]
pub(super) struct Sums {
    tables: Tables,
    minutes: BTreeMap<(String, String, i64), [i64; 2]>,
    hours: BTreeMap<(String, String, String, i64), [i64; 6]>,
    retention: BTreeMap<(String, String, i64, i64), i64>,
}

impl Sums {
    /// Adds one session: its reports in order of their sequence and what they were credited.
    pub(super) fn add_session<'a>(
        &mut self,
        key: &SessionKey,
        reports: impl Iterator<Item = &'a Record> + Clone,
        credits: &[Credit],
    ) {
        let segments = union(credits);
        let unique = segments.iter().map(|(from, to)| to - from).sum::<i64>();
        let duration =
            reports.clone().map(|report| i64::from(report.duration_ms)).filter(|duration| *duration > 0).min();
        let enough = duration.map_or(VIEW_MS, |duration| VIEW_MS.min(duration / 2));
        let view = !credits.is_empty() && unique >= enough;
        let complete =
            !credits.is_empty() && duration.is_some_and(|duration| unique * 100 >= duration * COMPLETE_PERCENT);

        self.add_watch_session(key, reports, credits, unique, view, complete);
        for (from, to) in segments {
            let mut segment = session_cells(key);
            segment.push(from.into());
            self.tables.insert("watch_segments", segment, vec![to.into()]);
        }
        self.add_minutes(key, credits);
        self.add_hours(key, credits, view, complete);
        self.add_retention(key, credits);
    }

    fn add_watch_session<'a>(
        &mut self,
        key: &SessionKey,
        reports: impl Iterator<Item = &'a Record> + Clone,
        credits: &[Credit],
        unique: i64,
        view: bool,
        complete: bool,
    ) {
        let times = reports.clone().map(|report| report.event_time);
        let device = reports.clone().map(|report| report.device.as_str()).find(|device| !device.is_empty());
        let place = reports.clone().find_map(territory).unwrap_or("ZZ");
        let row = vec![
            credits.iter().map(|credit| credit.to - credit.from).sum::<i64>().into(),
            unique.into(),
            credits.iter().map(|credit| credit.end - credit.start).sum::<i64>().into(),
            i64::try_from(reports.clone().count()).expect("as many reports fit in memory").into(),
            times.clone().min().expect("a session has a report").into(),
            times.max().expect("a session has a report").into(),
            view.into(),
            complete.into(),
            device.map_or(Cell::Null, Cell::from),
            place.into(),
        ];
        self.tables.insert("watch_sessions", session_cells(key), row);
    }

    fn add_minutes(&mut self, (site, _, _, video_id): &SessionKey, credits: &[Credit]) {
        let mut seen = BTreeSet::new();
        for credit in credits {
            for (minute, ms) in split(credit.end - credit.start, credit, MINUTE_MS) {
                if ms > 0 {
                    let row = self.minutes.entry((site.clone(), video_id.clone(), minute)).or_default();
                    row[0] += ms;
                    row[1] += i64::from(seen.insert(minute));
                }
            }
        }
    }

    fn add_hours(&mut self, (site, _, _, video_id): &SessionKey, credits: &[Credit], view: bool, complete: bool) {
        let hours = &mut self.hours;
        let mut row = |territory: &str, hour: i64, column: usize, amount: i64| {
            let key = (site.clone(), video_id.clone(), territory.to_owned(), hour);
            hours.entry(key).or_default()[column] += amount;
        };
        for credit in credits {
            for (hour, ms) in split(credit.to - credit.from, credit, HOUR_MS) {
                row(&credit.territory, hour, 0, ms);
                row(&credit.territory, hour, 1, if view { ms } else { 0 });
            }
            for (hour, ms) in split(credit.end - credit.start, credit, HOUR_MS) {
                row(&credit.territory, hour, 2, ms);
            }
        }
        if let Some(first) = credits.iter().min() {
            let hour = floor(first.start, HOUR_MS);
            row(&first.territory, hour, 3, 1);
            row(&first.territory, hour, 4, i64::from(view));
            row(&first.territory, hour, 5, i64::from(complete));
        }
    }

    fn add_retention(&mut self, (site, _, _, video_id): &SessionKey, credits: &[Credit]) {
        for credit in credits {
            let day = floor(credit.end, DAY_MS);
            for bucket in credit.from / BUCKET_MS..=(credit.to - 1) / BUCKET_MS {
                let ms = credit.to.min((bucket + 1) * BUCKET_MS) - credit.from.max(bucket * BUCKET_MS);
                *self.retention.entry((site.clone(), video_id.clone(), day, bucket)).or_default() += ms;
            }
        }
    }

    /// The tables of sessions; rows of nothing but zeros are none.
    pub(super) fn tables(self) -> Tables {
        let mut tables = self.tables;
        for ((site, video_id, minute), row) in self.minutes {
            insert_amounts(&mut tables, "video_minutes", vec![site.into(), video_id.into(), minute.into()], &row);
        }
        for ((site, video_id, territory, hour), row) in self.hours {
            let key = vec![site.into(), video_id.into(), territory.into(), hour.into()];
            insert_amounts(&mut tables, "title_hours", key, &row);
        }
        for ((site, video_id, day, bucket), gross_ms) in self.retention {
            let key = vec![site.into(), video_id.into(), day.into(), bucket.into()];
            insert_amounts(&mut tables, "video_retention", key, &[gross_ms]);
        }
        tables
    }
}

fn insert_amounts(tables: &mut Tables, table: &'static str, key: Vec<Cell>, row: &[i64]) {
    if row.iter().any(|amount| *amount != 0) {
        tables.insert(table, key, row.iter().copied().map(Cell::Int).collect());
    }
}

fn session_cells((site, user_id, session_id, video_id): &SessionKey) -> Vec<Cell> {
    [site, user_id, session_id, video_id].into_iter().map(|text| text.as_str().into()).collect()
}

/// Sorted disjoint intervals that cover the same content; touching ones are joined.
fn union(credits: &[Credit]) -> Vec<(i64, i64)> {
    let mut intervals: Vec<(i64, i64)> = credits.iter().map(|credit| (credit.from, credit.to)).collect();
    intervals.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in intervals {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// Spreads an amount over the time of a credit in proportion, cut at multiples of `step`; the parts add up to it.
fn split(amount: i64, credit: &Credit, step: i64) -> Vec<(i64, i64)> {
    let (start, end) = (credit.start, credit.end);
    if end <= start {
        return vec![(floor(end, step), amount)];
    }
    let (mut parts, mut done, mut at) = (Vec::new(), 0, start);
    while at < end {
        let edge = end.min(floor(at, step) + step);
        let upto = amount * (edge - start) / (end - start);
        parts.push((floor(at, step), upto - done));
        (done, at) = (upto, edge);
    }
    parts
}
