//! However long the texts of players are, however much they play at once and however many points wait together, an epoch's
//! message is one that the topic takes.
#![allow(clippy::unwrap_used)]

use playback::kernel::Parameters;
use playback::random::Random;
use playback::record::{Record, RecordAd, TICK};
use processor::columns::Run;
use processor::partials::partials;
use processor::shard::{ClosedEpoch, Reading, Shard};
use processor::views::Views;
use prost::Message;
use sql::codec::{Encoder, decode};
use sql::limits::MESSAGE_BYTES;
use sql::partial::Partial;
use std::sync::Arc;

const START: i64 = 1_763_683_200_000;

/// A name of as many characters as it may have, all by chance.
fn longest(random: &mut Random, characters: usize) -> String {
    const OF_IDS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
    (0..characters).map(|_| char::from(random.pick(OF_IDS))).collect()
}

/// A record that shares no text with any other.
fn record(random: &mut Random) -> Record {
    Record {
        site: longest(random, 64),
        user_id: longest(random, 128),
        session_id: longest(random, 64),
        video_id: longest(random, 128),
        device: longest(random, 64),
        event_time: START - 6_000_000,
        received_at: START,
        ..Record::default()
    }
}

/// Two seconds of play at the usual speed.
fn of_many_texts(random: &mut Random) -> Record {
    Record { from_ms: Some(0), position_ms: 2_000, played_ms: 2_000, ..record(random) }
}

/// As much play as a report can tell of, at the greatest speed that is credited, anywhere in a title; the texts are so short
/// that they are not what fills the epoch.
fn of_much_content(random: &mut Random) -> Record {
    let from_ms = random.below(100_000_000) as u32;
    let [user_id, session_id, video_id] = [(); 3].map(|()| longest(random, 8));
    let played =
        Record { from_ms: Some(from_ms), position_ms: from_ms + 480_000, played_ms: 120_000, ..record(random) };
    Record { site: "s".into(), device: "d".into(), user_id, session_id, video_id, rate_thousandths: 4_000, ..played }
}

/// The same for one viewer and not many titles, under the longest names: each name is in the message once, and in very many
/// rows.
fn of_much_content_under_long_names(random: &mut Random) -> Record {
    let [site, title] = [("s", 64), ("t", 124)].map(|(letter, characters)| letter.repeat(characters));
    let video_id = format!("{title}{:04}", random.below(500));
    let (seq, from_ms) = (random.below(1_000_000) as u32, random.below(17_000) as u32 * 10_000 + 9_999);
    let played =
        Record { from_ms: Some(from_ms), position_ms: from_ms + 528_000, seq, video_id, ..of_much_content(random) };
    Record { site, user_id: "u".into(), session_id: "s".into(), ..played }
}

/// An impression of a line that nobody else saw.
fn of_ads(random: &mut Random) -> Record {
    let ad = RecordAd {
        impression_id: longest(random, 64),
        line_id: longest(random, 64),
        creative_id: longest(random, 64),
        quartile: 4,
        viewable_ms: Some(2_000),
    };
    Record { ad: Some(ad), ..record(random) }
}

/// A point whose wait began at the start, and is credited with as much as a point may be when the wait ends.
fn of_waiting_points(random: &mut Random) -> [Record; 2] {
    let first = Record { rate_thousandths: 4_000, ..record(random) };
    let event_time = first.event_time + 65_000;
    let waiting = Record { seq: 2, event_time, position_ms: 260_000, ..first.clone() };
    [first, waiting]
}

/// One of many reports that play one title in pieces of two milliseconds that do not touch; there are as many pieces as fit
/// into what [`of_all_pieces`] can tell of.
fn of_a_piece(number: u32) -> Record {
    let played = Record { from_ms: Some(4 * number), position_ms: 4 * number + 2, played_ms: 1, ..of_all_pieces() };
    Record { seq: number, ..played }
}

const PIECES: u32 = 100_000;

fn of_all_pieces() -> Record {
    let [site, user_id, session_id, video_id] = ["s", "pieces", "pieces", "pieces"].map(str::to_owned);
    Record {
        site,
        user_id,
        session_id,
        video_id,
        seq: PIECES,
        event_time: START,
        received_at: START,
        from_ms: Some(0),
        position_ms: 4 * PIECES,
        played_ms: 120_000,
        rate_thousandths: 4_000,
        ..Record::default()
    }
}

/// A shard, and the epochs that have ended.
struct Bed {
    views: Views,
    shard: Shard,
    closed: Vec<(ClosedEpoch, Run)>,
}

impl Bed {
    async fn new() -> Bed {
        let views = Views::plan(&sql::views::shipped()).await.unwrap();
        Bed { views, shard: Shard::new(0, 1_000, Parameters::default()), closed: Vec::new() }
    }

    fn cut(&mut self, logged_at: i64) {
        let closed = &mut self.closed;
        self.shard.cut(logged_at, |epoch, facts| {
            let mut run = Run::default();
            run.append(facts);
            closed.push((epoch, run));
        });
    }

    fn fold(&mut self, logged_at: i64, value: &[u8]) {
        self.cut(logged_at);
        self.shard.fold(self.shard.next_offset(), logged_at, &Reading::of(value)).unwrap();
    }

    /// The message of an epoch, which fits the topic.
    async fn message(&self, epoch: ClosedEpoch, run: Run) -> Partial {
        let run = Arc::new(run);
        let outputs = self.views.run(&run).await.unwrap();
        let messages = partials(std::slice::from_ref(&epoch), &run, &self.views, &outputs, "test", "f");
        let message = Encoder::new().encode(&messages[0]).unwrap();
        assert!(message.len() < MESSAGE_BYTES as usize, "{epoch:?}: {} bytes", message.len());
        decode(&message).unwrap()
    }
}

fn rows(message: &Partial, name: &str) -> u64 {
    message.tables.iter().find(|table| table.name == name).map_or(0, |table| u64::from(table.rows))
}

#[tokio::test]
async fn the_message_of_an_epoch_of_the_longest_texts_or_the_most_play_fits_the_topic() {
    type Make = fn(&mut Random) -> Record;
    // Each with a table that must have this many rows per record: with fewer, the message would not be the largest.
    let kinds: [(Make, &str, u64); 4] = [
        (of_many_texts, "watch_segments", 1),
        (of_much_content, "video_retention", 48),
        (of_much_content_under_long_names, "video_retention", 48),
        (of_ads, "ad_reach", 1),
    ];
    for (make, name, rows_of_each) in kinds {
        let (mut bed, mut random) = (Bed::new().await, Random::new(1));
        while bed.closed.is_empty() {
            bed.fold(START, &make(&mut random).encode_to_vec());
        }
        let (epoch, run) = bed.closed.remove(0);
        let records = epoch.to;
        assert!(records > 1_000, "{name}: only {records} records");
        let found = rows(&bed.message(epoch, run).await, name);
        assert!(found >= rows_of_each * records, "{name}: {found} rows of {records} records");
    }
}

#[tokio::test]
async fn the_messages_of_many_points_whose_waits_end_together_fit_the_topic() {
    const POINTS: u64 = 40_000;
    let (mut bed, mut random) = (Bed::new().await, Random::new(1));
    for _ in 0..POINTS {
        of_waiting_points(&mut random).iter().for_each(|record| bed.fold(START, &record.encode_to_vec()));
    }
    let jump = START + 3_600_000;
    bed.cut(jump);
    bed.closed.clear();
    bed.fold(jump, TICK);
    while bed.shard.due().is_some_and(|due| due <= jump) {
        bed.fold(jump, TICK);
    }
    bed.cut(jump + 1_000);
    let mut credited = 0;
    for (epoch, run) in std::mem::take(&mut bed.closed) {
        credited += rows(&bed.message(epoch, run).await, "watch_segments");
    }
    assert_eq!(credited, POINTS);
}

#[tokio::test]
async fn the_message_of_a_report_that_takes_in_many_segments_fits_the_topic_among_others() {
    let (mut bed, mut random) = (Bed::new().await, Random::new(1));
    for number in 0..PIECES {
        bed.fold(START, &of_a_piece(number).encode_to_vec());
    }
    bed.cut(START + 1_000);
    bed.closed.clear();
    bed.fold(START + 1_000, &of_all_pieces().encode_to_vec());
    while bed.closed.is_empty() {
        bed.fold(START + 1_000, &of_much_content(&mut random).encode_to_vec());
    }
    let (epoch, run) = bed.closed.remove(0);
    assert!(run.rows() < 300_000, "{} rows of facts", run.rows());
    assert!(rows(&bed.message(epoch, run).await, "watch_segments") > u64::from(PIECES));
}
