//! The shipped views, run by DataFusion over the facts of random logs: merged by the rules derived from their plans, they
//! give the model's tables; and the message of an epoch is the same whichever run it was made in.
#![allow(clippy::unwrap_used)]

use playback::facts::Facts;
use playback::kernel::Parameters;
use playback::model::{self, Logged, RandomLog, random_log};
use playback::record::TICK;
use playback::tables::{Cell, SHAPES, Tables, differences};
use processor::columns::Run;
use processor::partials::partials;
use processor::shard::{ClosedEpoch, Reading, Shard};
use processor::views::Views;
use prost::Message;
use sql::codec::{Encoder, decode};
use sql::partial::{Kind, Role};
use sql::spelt::{Column, Partial, Table};
use std::collections::BTreeMap;
use std::sync::Arc;

const START: i64 = 1_763_683_200_000;
const EPOCH_MS: i64 = 1_000;

/// The messages of a log, made in runs of `epochs_per_run` epochs.
async fn messages(views: &Views, log: &[Logged], epochs_per_run: usize) -> Vec<Partial> {
    let parameters = Parameters::default();
    let mut shard = Shard::new(0, EPOCH_MS, parameters);
    let (mut run, mut epochs, mut messages) = (Run::default(), Vec::new(), Vec::new());
    let records = log.iter().map(|logged| (logged.logged_at, logged.record.encode_to_vec()));
    let end = log.last().unwrap().logged_at;
    let ticks = [end + parameters.point_wait_ms, end + 2 * parameters.point_wait_ms].map(|at| (at, TICK.to_vec()));
    for (offset, (logged_at, value)) in records.chain(ticks).enumerate() {
        shard.cut(logged_at, |epoch: ClosedEpoch, facts: &Facts| {
            run.append(facts);
            epochs.push(epoch);
        });
        shard.fold(offset as u64, logged_at, &Reading::of(&value)).unwrap();
        if epochs.len() >= epochs_per_run {
            messages.extend(run_views(views, std::mem::take(&mut epochs), std::mem::take(&mut run)).await);
        }
    }
    messages.extend(run_views(views, epochs, run).await);
    messages
}

/// The messages of one run, as a sink takes them.
async fn run_views(views: &Views, epochs: Vec<ClosedEpoch>, run: Run) -> Vec<Partial> {
    let run = Arc::new(run);
    let outputs = views.run(&run).await.unwrap();
    let partials = partials(&epochs, &run, views, &outputs, "test", "f");
    let mut encoder = Encoder::new();
    partials.iter().map(|partial| Partial::from(&decode(&encoder.encode(partial).unwrap()).unwrap())).collect()
}

/// The value of a column in a row.
fn cell(column: &Column, row: usize) -> Cell {
    if column.nulls.get(row) == Some(&true) {
        return Cell::Null;
    }
    match column.kind() {
        Kind::Integer | Kind::Timestamp => Cell::Int(column.integers[row]),
        Kind::Text => Cell::Text(column.texts[row].clone()),
        Kind::Boolean => Cell::Bool(column.booleans[row]),
    }
}

fn merge(role: Role, old: Option<Cell>, new: Cell) -> Cell {
    match (role, old, new) {
        (Role::Sum, Some(Cell::Int(old)), Cell::Int(new)) => Cell::Int(old + new),
        (Role::Min, Some(old), new) => old.min(new),
        (Role::Max | Role::Or, Some(old), new) => old.max(new),
        (_, _, new) => new,
    }
}

/// The tables that messages add up to.
fn tables(messages: &[Partial]) -> Tables {
    let mut rows: BTreeMap<(String, Vec<Cell>), BTreeMap<String, Cell>> = BTreeMap::new();
    for table in messages.iter().flat_map(|message| &message.tables) {
        for row in 0..table.rows as usize {
            let keys = table
                .columns
                .iter()
                .filter(|column| column.role() == Role::Key)
                .map(|column| cell(column, row))
                .collect();
            let values = rows.entry((table.name.clone(), keys)).or_default();
            for column in table.columns.iter().filter(|column| column.role() != Role::Key) {
                let merged = merge(column.role(), values.remove(&column.name), cell(column, row));
                values.insert(column.name.clone(), merged);
            }
        }
    }
    let mut tables = Tables::default();
    for ((name, key), values) in rows {
        let shape = SHAPES.iter().find(|shape| shape.name == name).unwrap();
        let row: Vec<_> = shape.columns.iter().map(|(column, _)| values[*column].clone()).collect();
        let deleted = values.get("op") == Some(&Cell::Bool(false));
        let additive = ["video_minutes", "title_hours", "video_retention", "ad_hours", "ad_reach", "ledger_minutes"]
            .contains(&shape.name);
        let empty = additive && row.iter().all(|cell| *cell == Cell::Int(0));
        if !deleted && !empty {
            tables.insert(shape.name, key, row);
        }
    }
    tables
}

#[tokio::test]
async fn the_views_of_random_logs_merge_into_the_models_tables() {
    let views = Views::plan(&sql::views::shipped()).await.unwrap();
    for seed in 0..40 {
        let log =
            random_log(RandomLog { seed, reports: 150 + 10 * seed as usize, start: START, outage: seed % 4 == 0 });
        let found = differences(
            &model::run(&log, model::Parameters::default()),
            &tables(&messages(&views, &log, 1 + seed as usize * 3).await),
        );
        assert!(found.is_empty(), "seed {seed}: {}", found.join("\n"));
    }
}

#[tokio::test]
async fn an_epochs_message_does_not_depend_on_the_run_it_was_made_in() {
    let views = Views::plan(&sql::views::shipped()).await.unwrap();
    for seed in 100..104 {
        let log = random_log(RandomLog { seed, reports: 400, start: START, outage: false });
        let alone = messages(&views, &log, 1).await;
        for epochs_per_run in [3, 64, 100_000] {
            assert!(
                messages(&views, &log, epochs_per_run).await == alone,
                "seed {seed}, {epochs_per_run} epochs a run"
            );
        }
    }
}

/// The first view of each pair names texts only, so that it is run over their numbers; the second computes with them.
#[tokio::test]
async fn a_view_has_the_same_rows_whether_it_names_texts_or_computes_with_them() {
    let pairs = [
        (
            "site, user_id, session_id, video_id, sum(gross_ms) as ms, last_value(device order by ordinal) as last
             from sessions group by site, user_id, session_id, video_id",
            "site, user_id, coalesce(session_id, '') as session_id, coalesce(video_id, '') as video_id,
             sum(gross_ms) as ms, last_value(nullif(device, '') order by ordinal) as last
             from sessions group by site, user_id, coalesce(session_id, ''), coalesce(video_id, '')",
        ),
        (
            "video_id, territory, user_id, site, last_value(to_ms order by ordinal) as last from
             (select * from (select site, user_id, video_id, territory, to_ms, ordinal from intervals) as i
              where to_ms > 10000) as j group by video_id, territory, user_id, site",
            "coalesce(video_id, '') as video_id, coalesce(territory, '') as territory, user_id, site,
             last_value(to_ms + 0 order by ordinal) as last from intervals
             where to_ms > 10000 group by coalesce(video_id, ''), coalesce(territory, ''), user_id, site",
        ),
        (
            "event_time, count(*) as n, count(device) as devices from sessions group by event_time",
            "event_time, site, count(*) as n, count(device) as devices from sessions group by event_time, site",
        ),
        (
            "site, disposition, count(*) as n, count(*) as n_again from dispositions where disposition <> 'idle' group by site, disposition",
            "site, coalesce(disposition, '') as disposition, count(*) as n, count(*) as n_again from dispositions
             where disposition <> 'idle' group by site, coalesce(disposition, '')",
        ),
    ];
    let log = random_log(RandomLog { seed: 11, reports: 900, start: START, outage: false });
    for (named, computed) in pairs {
        let source = |query: &str| sql::views::ViewSource {
            file: "v.sql".into(),
            text: format!("create materialized view v as select {query}"),
        };
        let mut rows = Vec::new();
        for query in [named, computed] {
            let views = Views::plan(&[source(query)]).await.unwrap();
            let messages = messages(&views, &log, 40).await;
            assert!(messages.iter().any(|message| !message.tables.is_empty()), "{query}");
            rows.push(messages.into_iter().map(|message| message.tables).collect::<Vec<_>>());
        }
        if !named.starts_with("event_time") {
            assert!(rows[0] == rows[1], "{named}\n{:?}\n{:?}", rows[0], rows[1]);
            continue;
        }
        // The site is one more key there: the rows of each epoch add up to the same.
        let sums = |epochs: &[Vec<Table>]| -> Vec<i64> {
            let sum = |column: &Column| if column.name == "n" { column.integers.iter().sum() } else { 0 };
            epochs.iter().map(|tables| tables.iter().flat_map(|table| &table.columns).map(sum).sum()).collect()
        };
        assert_eq!(sums(&rows[0]), sums(&rows[1]));
    }
}

#[tokio::test]
async fn what_would_not_merge_is_refused_with_the_way_out() {
    let refusals = [
        ("select site, avg(gross_ms) as a from sessions group by site", "avg does not merge"),
        ("select site, sum(gross_ms) / count(*) as a from sessions group by site", "compute when reading"),
        ("select site, count(distinct user_id) as users from sessions group by site", "does not add up over epochs"),
        ("select site, max(gross_ms) as a from plays group by site", "take back earlier ones"),
        ("select site, last_value(device order by event_time) as a from sessions group by site", "order by ordinal"),
        ("select site from sessions", "aggregates with group by"),
        ("select sum(gross_ms) as a from sessions group by site", "it is the table's key"),
        ("select site, sum(gross_ms) as a from sessions group by site order by site", "order by"),
        (
            "select s.site, sum(s.gross_ms) as a from sessions s join plays p on s.site = p.site group by s.site",
            "reads one relation",
        ),
        ("select site, sum(wall_ms) as a from nothing group by site", "nothing"),
        ("select site, sum(cast(gross_ms as double)) as a from sessions group by site", "floats do not add up exactly"),
        ("select site, device, sum(wall_ms) as a from sessions group by site, device", "coalesce(device, '')"),
        (
            "select site, nullif(territory, 'ZZ') as t, sum(wall_ms) as a from sessions group by site, t",
            "coalesce(t, '')",
        ),
        (
            "select site, d, sum(wall_ms) as a from (select site, device as d, wall_ms from sessions) as s group by site, d",
            "coalesce(d, '')",
        ),
        (
            "select site, user_id, last_value(nullif(keep, 2) order by ordinal) as op from segments group by site, user_id",
            "op may not",
        ),
        (
            "select site, user_id, last_value(video_id order by ordinal) as op from segments group by site, user_id",
            "column op is 0 or false",
        ),
        ("select site, sum(wall_ms) as a from sessions where event_time < now() group by site", "cannot use now()"),
        ("select site, sum(wall_ms) as a from sessions where random() < 0.5 group by site", "cannot use random()"),
        (
            "select site, sum(wall_ms) as a from sessions where user_id in (select user_id from resumes) group by site",
            "reads one relation",
        ),
        ("select site, sum(wall_ms) as a from sessions where exists (select 1) group by site", "subquery"),
        ("select site, sum(wall_ms) as a from sessions where wall_ms > (select 1) group by site", "subquery"),
        ("select site, last_value(device order by ordinal) as a from sessions group by site", "site and user_id"),
        (
            "select site, lower(user_id) as u, last_value(device order by ordinal) as a from sessions group by site, u",
            "site and user_id",
        ),
        (
            "select site, user_id, last_value(device order by ordinal) as a \
             from (select site, user_id, device, event_time as ordinal from sessions) as s group by site, user_id",
            "order by ordinal",
        ),
        (
            "select site, user_id, last_value(device order by ordinal) filter (where wall_ms > 0) as a from sessions \
             group by site, user_id",
            "filter",
        ),
        (
            "select site, user_id, last_value(device order by ordinal) ignore nulls as a from sessions \
             group by site, user_id",
            "ignore nulls",
        ),
        ("select site, sum(event_time) as a from sessions group by site", "would not fit its table"),
        ("select site, sum(from_ms * to_ms) as a from intervals group by site", "would not fit its table"),
        ("select site, sum(gross_ms / wall_ms) as a from sessions group by site", "nullif(…, 0)"),
        ("select site, sum(gross_ms % 0) as a from sessions group by site", "nullif(…, 0)"),
        ("select site, sum(gross_ms / nullif(wall_ms, 1)) as a from sessions group by site", "nullif(…, 0)"),
        ("select site, cast(video_id as bigint) as v, count(*) as n from sessions group by site, v", "try_cast"),
        ("select site, sum(wall_ms) as a from sessions where video_id::bigint > 7 group by site", "try_cast"),
        ("select site, sum(wall_ms) as a from sessions where user_id > 1000 group by site", "try_cast"),
        ("select site, sum(wall_ms) as a from sessions where user_id in (1000, 1001) group by site", "try_cast"),
        ("select site, bool_or(user_id between 1000 and 1001) as a from sessions group by site", "try_cast"),
        ("select site, sum(arrow_cast(video_id, 'Int64')) as a from sessions group by site", "try_cast"),
        ("select site, date_trunc('hour', video_id) as h, count(*) as n from sessions group by site, h", "try_cast"),
        (
            "select site, date_trunc('hour', to_timestamp(event_time)) as h, count(*) as n from sessions group by site, h",
            "for good",
        ),
        ("select site, to_timestamp(user_id) as t, count(*) as n from sessions group by site, t", "for good"),
        ("select site, count(to_timestamp(user_id)) as n from sessions where device = 'tv' group by site", "for good"),
        ("select site, sum(cast(event_time as int)) as a from sessions group by site", "for good"),
        ("select site, count(split_part(video_id, '-', heartbeats)) as n from sessions group by site", "for good"),
        (
            "select site, count(split_part(video_id, '-', wall_ms)) as n from sessions where wall_ms >= 0 group by site",
            "for good",
        ),
        ("select site, count(chr(gross_ms)) as n from sessions where wall_ms > 0 group by site", "for good"),
        ("select site, count(regexp_like('a', device)) as n from sessions group by site", "for good"),
        ("select site, sum(ordinal) as a from sessions group by site", "others in every run"),
        ("select site, sum(wall_ms) as a from sessions where epoch < 3 group by site", "others in every run"),
        (
            "select site, sum(a) as a from (select site, max(wall_ms) as a from sessions group by site, user_id) as s \
             group by site",
            "aggregates once",
        ),
        ("select site, sum(wall_ms) as a from sessions group by rollup(site)", "one key"),
        ("select site, max(video_id) as a from sessions group by site", "does not suit its role"),
        ("select site, sum(wall_ms) as \"A\" from sessions group by site", "plain identifier"),
        (
            "select site, user_id, last_value(keep order by ordinal) as op, sum(to_ms) as a from segments \
             group by site, user_id",
            "counted on",
        ),
    ];
    for (query, reason) in refusals {
        let text = format!("create materialized view refused as {query}");
        let source = sql::views::ViewSource { file: "refused.sql".into(), text };
        let error = Views::plan(&[source]).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(reason) && error.starts_with("view refused.sql"), "{query}: {error}");
    }
}

#[tokio::test]
async fn a_view_has_no_name_of_a_table_that_no_view_fills() {
    let text = "create materialized view progress as select site, count(*) as n from sessions group by site".to_owned();
    let refused = Views::plan(&[sql::views::ViewSource { file: "refused.sql".into(), text }]).await.err().unwrap();
    assert!(refused.to_string().contains("give the view another"), "{refused}");
}

#[tokio::test]
async fn keys_that_are_never_null_and_divisors_that_are_never_zero_are_taken_where_that_can_be_seen() {
    let taken = [
        "select site, device, sum(wall_ms) as a from sessions where device is not null group by site, device",
        "select site, device, sum(wall_ms) as a from sessions where wall_ms > 0 and device <> 'tv' group by site, device",
        "select site, coalesce(device, '') as device, sum(wall_ms) as a from sessions group by site, coalesce(device, '')",
        "select site, case when device = 'tv' then 1 else 0 end as tv, sum(wall_ms) as a from sessions group by site, tv",
        "select site, d, sum(wall_ms) as a from (select site, coalesce(device, 'none') as d, wall_ms from sessions) as s \
         group by site, d",
        "select site, coalesce(try_cast(video_id as bigint), 0) as v, sum(gross_ms / nullif(wall_ms, 0)) as a from sessions \
         group by site, v",
        "select site, sum(gross_ms) as a from sessions where try_cast(user_id as bigint) > 1000 group by site",
        "select site, coalesce(split_part(video_id, '-', 2), '') as part, sum(wall_ms) as a from plays \
         where minute > '2025-11-21' group by site, part",
        "select site, date_trunc('year', to_timestamp_millis(event_time)) as y, count(*) as n from sessions group by site, y",
        "select site, date_trunc('week', minute) as w, sum(wall_ms) as a from plays group by site, w",
        "select site, gross_ms / -60000 as m, sum(wall_ms % 2) as a from sessions group by site, m",
        "select s.site, u, last_value(device order by o) as a \
         from (select site, user_id as u, device, ordinal as o from sessions) as s group by s.site, u",
    ];
    for query in taken {
        let text = format!("create materialized view taken as {query}");
        let source = sql::views::ViewSource { file: "taken.sql".into(), text };
        let refused = Views::plan(&[source]).await.err().map(|error| error.to_string());
        assert_eq!(refused, None, "{query}");
    }
}

/// The view of the documentation, run: a null that got as far as a message would stop the sink.
#[tokio::test]
async fn the_example_of_the_documentation_puts_out_what_the_sink_takes() {
    let facts = include_str!("../../docs/facts.md");
    let text = facts.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let source = sql::views::ViewSource { file: "example.sql".into(), text: text.into() };
    let views = Views::plan(&[source]).await.unwrap();
    let log = random_log(RandomLog { seed: 7, reports: 300, start: START, outage: false });
    assert!(log.iter().any(|logged| logged.record.device.is_empty()), "some report says no device");
    let messages = messages(&views, &log, 50).await;
    assert!(messages.iter().any(|message| !message.tables.is_empty()));
}
