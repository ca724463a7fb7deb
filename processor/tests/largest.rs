//! However long the texts of players are and however much they play at once, an epoch's message is one that the topic takes.
#![allow(clippy::unwrap_used)]

use playback::kernel::Parameters;
use playback::model::Random;
use playback::record::{Record, RecordAd};
use processor::columns::Run;
use processor::partials::partials;
use processor::shard::{Reading, Shard};
use processor::views::Views;
use prost::Message;
use sql::caps::MESSAGE_BYTES;
use sql::codec::{Encoder, decode};
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

/// As much play as a report can tell, at the greatest speed that is credited, at any place of a title; with texts so short
/// that it is not they that fill the epoch.
fn of_much_content(random: &mut Random) -> Record {
    let from_ms = random.below(100_000_000) as u32;
    let [user_id, session_id, video_id] = [(); 3].map(|()| longest(random, 8));
    let played =
        Record { from_ms: Some(from_ms), position_ms: from_ms + 480_000, played_ms: 120_000, ..record(random) };
    Record { site: "s".into(), device: "d".into(), user_id, session_id, video_id, rate_thousandths: 4_000, ..played }
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

#[tokio::test]
async fn the_message_of_an_epoch_of_the_longest_texts_or_the_most_play_fits_the_topic() {
    let views = Views::plan(&sql::views::shipped()).await.unwrap();
    type Make = fn(&mut Random) -> Record;
    // Each beside a table that must have so many rows of every record, or else it would not be the largest.
    let kinds: [(Make, &str, u64); 3] =
        [(of_many_texts, "watch_segments", 1), (of_much_content, "video_retention", 48), (of_ads, "ad_reach", 1)];
    for (make, name, rows) in kinds {
        let mut random = Random::new(1);
        let mut shard = Shard::new(0, 1_000, Parameters::default());
        let mut closed = None;
        for offset in 0.. {
            shard.cut(START, |epoch, facts| {
                let mut run = Run::default();
                run.append(facts);
                closed = Some((epoch, run));
            });
            if closed.is_some() {
                break;
            }
            shard.fold(offset, START, &Reading::of(&make(&mut random).encode_to_vec())).unwrap();
        }
        let (epoch, run) = closed.unwrap();
        let run = Arc::new(run);
        let outputs = views.run(&run).await.unwrap();
        let records = epoch.to;
        assert!(records > 1_000, "{name}: only {records} records");
        let messages = partials(&[epoch], &run, &views, &outputs, "test", "f");
        let message = Encoder::new().encode(&messages[0]).unwrap();
        assert!(message.len() < MESSAGE_BYTES as usize, "{name}: {} bytes", message.len());
        let taken = decode(&message).unwrap();
        let table = taken.tables.iter().find(|table| table.name == name).unwrap();
        assert!(u64::from(table.rows) >= rows * records, "{name}: {} rows of {records} records", table.rows);
    }
}
