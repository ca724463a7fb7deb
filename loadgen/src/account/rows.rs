//! The account as rows of the tables, one at a time: what a row must say, how many there are, and all of them.

use super::{Account, DAY_MS, HOUR_MS, MINUTE_MS, SessionRef};
use crate::names::Names;
use playback::credit::Disposition;
use playback::tables::Cell;
use rustc_hash::FxHashMap;

/// Key and values of a row.
type Row = (Vec<Cell>, Vec<Cell>);

/// How the numbers of an account are called in the tables.
#[derive(Debug, Clone)]
pub(crate) struct Labels {
    pub(crate) site: String,
    pub(crate) names: Names,
    /// By number; an empty one was not reported.
    pub(crate) territories: Vec<String>,
    pub(crate) devices: Vec<String>,
}

/// The rows of an account whose sessions are closed.
pub(crate) struct Rows<'a> {
    pub(crate) account: &'a Account,
    pub(crate) labels: &'a Labels,
    /// Distinct accounts by line and day.
    reach: FxHashMap<(u16, u32), i64>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(account: &'a Account, labels: &'a Labels) -> Rows<'a> {
        let mut reach = FxHashMap::default();
        for (line, day, _) in &account.reached {
            *reach.entry((*line, *day)).or_default() += 1;
        }
        Rows { account, labels, reach }
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: &str) -> usize {
        let sums = &self.account.sums;
        match table {
            "watch_sessions" => self.account.sessions.len(),
            "watch_segments" => self.account.sessions.values().map(|watched| watched.segments.len()).sum(),
            "resume_positions" => self.account.resumes.len(),
            "video_minutes" => sums.minutes.len(),
            "title_hours" => sums.hours.len(),
            "video_retention" => sums.retention.len(),
            "ad_hours" => self.account.ad_hours.len(),
            "ad_reach" => self.reach.len(),
            _ => self.account.ledger.len(),
        }
    }

    /// What a table must say under a key; `None`: it must not have that row.
    pub(crate) fn row(&self, table: &str, key: &[Cell]) -> Option<Vec<Cell>> {
        let (Some((Cell::Text(site), key)), names) = (key.split_first(), &self.labels.names) else { return None };
        if *site != self.labels.site {
            return None;
        }
        let sums = &self.account.sums;
        match (table, key) {
            (
                "watch_sessions" | "watch_segments",
                [Cell::Text(user), Cell::Text(session), Cell::Text(video), at @ ..],
            ) => {
                let (number, player, of_device) = names.session_of(session)?;
                let watched = self.account.sessions.get(&(number, u32::from(player) << 31 | of_device))?;
                if names.user_of(user)? != number || names.title_of(video)? != watched.title {
                    return None;
                }
                let [Cell::Int(from_ms)] = at else { return at.is_empty().then(|| self.session_row(watched)) };
                let segment = watched.segments.iter().find(|(from, _)| i64::from(*from) == *from_ms);
                segment.map(|(_, to)| vec![(*to).into()])
            }
            ("resume_positions", [Cell::Text(user), Cell::Text(video)]) => {
                let resume = self.account.resumes.get(&(names.user_of(user)?, names.title_of(video)?))?;
                Some(vec![resume.position_ms.into(), resume.furthest_ms.into(), resume.at_ms.into()])
            }
            ("video_minutes", [Cell::Text(video), Cell::Int(minute)]) => {
                let row = sums.minutes.get(&(names.title_of(video)?, step(*minute, MINUTE_MS)?))?;
                Some(cells(row))
            }
            ("title_hours", [Cell::Text(video), Cell::Text(territory), Cell::Int(hour)]) => {
                let territory = self.labels.territories.iter().position(|name| territory_name(name) == territory)?;
                let key = (names.title_of(video)?, territory as u8, step(*hour, HOUR_MS)?);
                sums.hours.get(&key).map(|row| cells(row))
            }
            ("video_retention", [Cell::Text(video), Cell::Int(day), Cell::Int(bucket)]) => {
                let key = (names.title_of(video)?, step(*day, DAY_MS)?, u32::try_from(*bucket).ok()?);
                sums.retention.get(&key).map(|gross| vec![(*gross).into()])
            }
            ("ad_hours", [Cell::Text(line), Cell::Int(hour)]) => {
                let row = self.account.ad_hours.get(&(names.line_of(line)?, step(*hour, HOUR_MS)?))?;
                Some(cells(row))
            }
            ("ad_reach", [Cell::Text(line), Cell::Int(day)]) => {
                let users = self.reach.get(&(names.line_of(line)?, step(*day, DAY_MS)?))?;
                Some(vec![(*users).into()])
            }
            ("ledger_minutes", [Cell::Int(minute), Cell::Text(disposition)]) => {
                let disposition = Disposition::ALL.into_iter().find(|known| known.as_str() == disposition)?;
                let count = self.account.ledger.get(&(step(*minute, MINUTE_MS)?, disposition))?;
                Some(vec![Cell::Int(*count as i64)])
            }
            _ => None,
        }
    }

    /// Every row of a table, in any order.
    pub(crate) fn all(&self, table: &str) -> Box<dyn Iterator<Item = Row> + '_> {
        let (account, sums) = (self.account, &self.account.sums);
        match table {
            "watch_sessions" => Box::new(
                account
                    .sessions
                    .iter()
                    .map(|(session, watched)| (self.session_key(*session, watched.title), self.session_row(watched))),
            ),
            "watch_segments" => Box::new(account.sessions.iter().flat_map(|(session, watched)| {
                let key = self.session_key(*session, watched.title);
                watched
                    .segments
                    .iter()
                    .map(move |(from, to)| ([&key[..], &[(*from).into()]].concat(), vec![(*to).into()]))
            })),
            "resume_positions" => Box::new(account.resumes.iter().map(|((user, title), resume)| {
                let row = vec![resume.position_ms.into(), resume.furthest_ms.into(), resume.at_ms.into()];
                (self.key([self.labels.names.user(*user).into(), self.title(*title)]), row)
            })),
            "video_minutes" => {
                Box::new(sums.minutes.iter().map(|((title, minute), row)| {
                    (self.key([self.title(*title), time(*minute, MINUTE_MS)]), cells(row))
                }))
            }
            "title_hours" => Box::new(sums.hours.iter().map(|((title, territory, hour), row)| {
                let territory = territory_name(&self.labels.territories[usize::from(*territory)]);
                (self.key([self.title(*title), territory.into(), time(*hour, HOUR_MS)]), cells(row))
            })),
            "video_retention" => Box::new(sums.retention.iter().map(|((title, day, bucket), gross)| {
                (self.key([self.title(*title), time(*day, DAY_MS), (*bucket).into()]), vec![(*gross).into()])
            })),
            "ad_hours" => Box::new(account.ad_hours.iter().map(|((line, hour), row)| {
                (self.key([self.labels.names.line(*line).into(), time(*hour, HOUR_MS)]), cells(row))
            })),
            "ad_reach" => Box::new(self.reach.iter().map(|((line, day), users)| {
                (self.key([self.labels.names.line(*line).into(), time(*day, DAY_MS)]), vec![(*users).into()])
            })),
            _ => Box::new(account.ledger.iter().map(|((minute, disposition), count)| {
                let key = self.key([time(*minute, MINUTE_MS), disposition.as_str().into()]);
                (key, vec![Cell::Int(*count as i64)])
            })),
        }
    }

    fn session_row(&self, watched: &super::Watched) -> Vec<Cell> {
        let device = self.labels.devices[usize::from(watched.device)].as_str();
        vec![
            watched.gross_ms.into(),
            watched.unique_ms.into(),
            watched.wall_ms.into(),
            watched.heartbeats.into(),
            watched.started_at.into(),
            watched.last_at.into(),
            watched.is_view.into(),
            watched.is_complete.into(),
            if device.is_empty() { Cell::Null } else { device.into() },
            territory_name(&self.labels.territories[usize::from(watched.territory)]).into(),
        ]
    }

    fn session_key(&self, (number, session): SessionRef, title: u32) -> Vec<Cell> {
        let names = &self.labels.names;
        let session = names.session(number, (session >> 31) as u8, session & (u32::MAX >> 1));
        self.key([names.user(number).into(), session.into(), self.title(title)])
    }

    fn key<const N: usize>(&self, rest: [Cell; N]) -> Vec<Cell> {
        std::iter::once(self.labels.site.as_str().into()).chain(rest).collect()
    }

    fn title(&self, title: u32) -> Cell {
        self.labels.names.title(title).into()
    }
}

fn territory_name(name: &str) -> &str {
    if name.is_empty() { "ZZ" } else { name }
}

fn cells(row: &[i64]) -> Vec<Cell> {
    row.iter().copied().map(Cell::Int).collect()
}

fn time(step: u32, step_ms: i64) -> Cell {
    (i64::from(step) * step_ms).into()
}

/// Number of a step by its first instant; `None` for a time within one.
fn step(time_ms: i64, step_ms: i64) -> Option<u32> {
    if time_ms % step_ms == 0 { u32::try_from(time_ms / step_ms).ok() } else { None }
}
