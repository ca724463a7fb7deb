//! Facts added up into tables by hand, as the views and the sink do by SQL.

use playback::facts::Facts;
use playback::tables::{Cell, Tables};
use std::collections::BTreeMap;

type Sums = BTreeMap<(&'static str, Vec<Cell>), Vec<i64>>;

/// Tables in the making.
#[derive(Default)]
pub(crate) struct Folded {
    sums: Sums,
    sessions: BTreeMap<Vec<Cell>, Session>,
    keyed: BTreeMap<(&'static str, Vec<Cell>), Vec<Cell>>,
    furthest: BTreeMap<Vec<Cell>, i64>,
}

#[derive(Default)]
struct Session {
    sums: [i64; 4],
    started_at: Option<i64>,
    last_at: Option<i64>,
    is_view: bool,
    is_complete: bool,
    labels: Vec<Cell>,
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn floor(at: i64, step: i64) -> Cell {
    Cell::Int(at - at.rem_euclid(step))
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

impl Folded {
    /// Adds the facts of a stretch of the log.
    pub(crate) fn add(&mut self, facts: &Facts) {
        for fact in &facts.dispositions {
            let key = vec![
                text(facts.texts.get(fact.site)),
                floor(fact.received_at, MINUTE),
                text(fact.disposition.as_str()),
            ];
            self.sum("ledger_minutes", key, &[1]);
        }
        for fact in &facts.sessions {
            let session = self.sessions.entry(key_of(facts, fact.session)).or_default();
            let more = [fact.gross_ms, fact.unique_ms, fact.wall_ms, fact.heartbeats.into()];
            for (sum, value) in session.sums.iter_mut().zip(more) {
                *sum += i64::from(value);
            }
            session.started_at = Some(session.started_at.map_or(fact.event_time, |at| at.min(fact.event_time)));
            session.last_at = Some(session.last_at.map_or(fact.event_time, |at| at.max(fact.event_time)));
            session.is_view |= fact.is_view;
            session.is_complete |= fact.is_complete;
            session.labels = vec![
                fact.device.map_or(Cell::Null, |device| text(facts.texts.get(device))),
                text(&fact.territory.to_string()),
            ];
        }
        for fact in &facts.segments {
            let mut key = key_of(facts, fact.session);
            key.push(Cell::Int(i64::from(fact.from_ms)));
            match fact.keep {
                true => self.keyed.insert(("watch_segments", key), vec![Cell::Int(i64::from(fact.to_ms))]),
                false => self.keyed.remove(&("watch_segments", key)),
            };
        }
        for fact in &facts.resumes {
            let [site, user_id, _, video_id] = cells_of(facts, fact.session);
            let key = vec![site, user_id, video_id];
            let furthest = self.furthest.entry(key.clone()).or_default();
            *furthest = i64::from(fact.furthest_ms).max(*furthest);
            let row = vec![Cell::Int(i64::from(fact.position_ms)), Cell::Int(*furthest), Cell::Int(fact.event_time)];
            self.keyed.insert(("resume_positions", key), row);
        }
        self.add_play(facts);
        self.add_ads(facts);
    }

    fn add_play(&mut self, facts: &Facts) {
        for fact in &facts.plays {
            let [site, _, _, video] = cells_of(facts, fact.session);
            let territory = text(&fact.territory.to_string());
            self.sum(
                "video_minutes",
                vec![site.clone(), video.clone(), Cell::Int(fact.minute)],
                &[fact.wall_ms.into(), fact.viewers.into()],
            );
            let [gross_ms, wall_ms] = [fact.gross_ms, fact.wall_ms].map(i64::from);
            let [starts, views, completes] = [fact.starts, fact.views, fact.completes].map(i64::from);
            let sums = [gross_ms, fact.qualified_ms, wall_ms, starts, views, completes];
            self.sum("title_hours", vec![site, video, territory, floor(fact.minute, HOUR)], &sums);
        }
        for fact in &facts.intervals {
            for bucket in fact.from_ms / 10_000..=(fact.to_ms - 1) / 10_000 {
                let ms = fact.to_ms.min((bucket + 1) * 10_000) - fact.from_ms.max(bucket * 10_000);
                let [site, _, _, video] = cells_of(facts, fact.session);
                let key = vec![site, video, floor(fact.event_time, DAY), Cell::Int(i64::from(bucket))];
                self.sum("video_retention", key, &[i64::from(ms)]);
            }
        }
    }

    fn add_ads(&mut self, facts: &Facts) {
        for fact in &facts.impressions {
            let [q1, q2, q3, q4] = fact.quartiles;
            let sums = [fact.impressions, fact.measurable, fact.viewable, q1, q2, q3, q4];
            self.sum(
                "ad_hours",
                vec![text(facts.texts.get(fact.site)), text(facts.texts.get(fact.line_id)), Cell::Int(fact.hour)],
                &sums,
            );
            self.sum(
                "ad_reach",
                vec![text(facts.texts.get(fact.site)), text(facts.texts.get(fact.line_id)), floor(fact.hour, DAY)],
                &[fact.users],
            );
        }
    }

    fn sum(&mut self, table: &'static str, key: Vec<Cell>, values: &[i64]) {
        let sums = self.sums.entry((table, key)).or_insert_with(|| vec![0; values.len()]);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
    }

    /// The tables as they are now.
    pub(crate) fn tables(self) -> Tables {
        let mut tables = Tables::default();
        for ((table, key), sums) in self.sums {
            if sums.iter().any(|sum| *sum != 0) {
                tables.insert(table, key, sums.into_iter().map(Cell::Int).collect());
            }
        }
        for ((table, key), row) in self.keyed {
            tables.insert(table, key, row);
        }
        for (key, session) in self.sessions {
            let mut row: Vec<_> = session.sums.into_iter().map(Cell::Int).collect();
            row.extend([session.started_at, session.last_at].map(|at| Cell::Int(at.unwrap())));
            row.extend([Cell::Bool(session.is_view), Cell::Bool(session.is_complete)]);
            row.extend(session.labels);
            tables.insert("watch_sessions", key, row);
        }
        tables
    }
}

fn key_of(facts: &Facts, session: u32) -> Vec<Cell> {
    cells_of(facts, session).to_vec()
}

/// Site, user, session and video of a session.
fn cells_of(facts: &Facts, session: u32) -> [Cell; 4] {
    let key = facts.keys[session as usize];
    [key.site, key.user_id, key.session_id, key.video_id].map(|code| text(facts.texts.get(code)))
}
