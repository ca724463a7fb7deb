//! Facts: signed rows that say what each report changed. They are all that the SQL views see, one relation a
//! struct, one column a field; `docs/facts.md` describes them for authors of views.
//!
//! Adding up a relation's rows over any stretch of the log gives what that stretch changed, so views over facts merge by
//! addition, whatever the epochs are. Each text and session key is stored once beside the rows, which refer to it by number:
//! most rows of an epoch share theirs with others.

use crate::credit::{Disposition, Territory};
use crate::texts::{TextCode, Texts};
use crate::words::{WordCode, Words};

/// The session key: one player playing one title once, of one user of one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey {
    /// Whose players.
    pub site: TextCode,
    /// Account or profile.
    pub user_id: TextCode,
    /// The session's name.
    pub session_id: TextCode,
    /// The title.
    pub video_id: TextCode,
}

/// One record of the log met its disposition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispositionFact {
    /// Whose record.
    pub site: TextCode,
    /// When the gateway received it; ms since the epoch.
    pub received_at: i64,
    /// What became of it.
    pub disposition: Disposition,
}

/// A report changed the sums of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFact {
    /// Number of the session among [`Facts::keys`].
    pub session: u32,
    /// 1 for an accepted report, 0 for a point judged later.
    pub heartbeats: u8,
    /// Content credited; ms.
    pub gross_ms: u32,
    /// Growth of the union of credited content; ms.
    pub unique_ms: u32,
    /// Wall time credited; ms.
    pub wall_ms: u32,
    /// Corrected event time of the report; ms since the epoch.
    pub event_time: i64,
    /// Whether the session is a view by now; once true it stays.
    pub is_view: bool,
    /// Whether it is complete by now; once true it stays.
    pub is_complete: bool,
    /// Device of the session by now.
    pub device: Option<TextCode>,
    /// Territory of the session by now.
    pub territory: Territory,
}

/// A maximal interval of a session's union appeared, grew, or was taken in by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFact {
    /// Number of the session among [`Facts::keys`].
    pub session: u32,
    /// Start of the segment; ms of content.
    pub from_ms: u32,
    /// Its end now; ms of content.
    pub to_ms: u32,
    /// False: there is no segment with this start any more.
    pub keep: bool,
}

/// Credited play, cut at minutes; also what a session's start, view and completion add to a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayFact {
    /// Number of the session among [`Facts::keys`].
    pub session: u32,
    /// Where it was played.
    pub territory: Territory,
    /// Start of the minute it was played in; ms since the epoch.
    pub minute: i64,
    /// Content; ms.
    pub gross_ms: u32,
    /// Content of sessions that are views; ms.
    pub qualified_ms: i64,
    /// Wall time; ms.
    pub wall_ms: u32,
    /// Session keys new in this minute.
    pub viewers: i8,
    /// Starts.
    pub starts: i8,
    /// Views.
    pub views: i8,
    /// Completes.
    pub completes: i8,
}

/// One credited interval of content, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntervalFact {
    /// Number of the session among [`Facts::keys`].
    pub session: u32,
    /// Where it was played.
    pub territory: Territory,
    /// Corrected event time of the report; ms since the epoch.
    pub event_time: i64,
    /// Start; ms of content.
    pub from_ms: u32,
    /// End; ms of content.
    pub to_ms: u32,
}

/// Where a user would resume a title has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeFact {
    /// Session of the report: its number among [`Facts::keys`].
    pub session: u32,
    /// Resume position now; ms of content.
    pub position_ms: u32,
    /// Greatest position since the title was last forgotten, so it can be less than in an earlier fact; ms of content.
    pub furthest_ms: u32,
    /// Event time of the report that set the position; ms since the epoch.
    pub event_time: i64,
}

/// An impression appeared, or what is known of it changed: then one row takes the old back, one adds the new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImpressionFact {
    /// Whose.
    pub site: TextCode,
    /// Who saw it.
    pub user_id: TextCode,
    /// Line of its first report in the log.
    pub line_id: TextCode,
    /// Start of the earliest hour it reported; ms since the epoch.
    pub hour: i64,
    /// Impressions.
    pub impressions: i64,
    /// Those that reported `viewable_ms`.
    pub measurable: i64,
    /// Those in view long enough.
    pub viewable: i64,
    /// Those that reached each quartile, 1 to 4.
    pub quartiles: [i64; 4],
    /// Users new to the line on the hour's day.
    pub users: i64,
}

/// A record is some 170 bytes of facts, written and read again once an epoch: its memory is seldom in a cache by then.
const _: () = assert!(size_of::<SessionFact>() <= 40 && size_of::<PlayFact>() <= 40, "facts take more memory");

/// The facts of a stretch of the log, in log order within each relation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // each is documented at its row
pub struct Facts {
    /// The texts that rows and keys name by number.
    pub texts: Texts,
    /// The sessions with facts, each once, in the order of their first one.
    pub keys: Vec<SessionKey>,
    pub dispositions: Vec<DispositionFact>,
    pub sessions: Vec<SessionFact>,
    pub segments: Vec<SegmentFact>,
    pub plays: Vec<PlayFact>,
    pub intervals: Vec<IntervalFact>,
    pub resumes: Vec<ResumeFact>,
    pub impressions: Vec<ImpressionFact>,
    known: Known,
}

/// What the kernel named here before; no part of what the facts say.
#[derive(Debug, Clone, Default)]
struct Known {
    /// For each key, its session's serial in the kernel.
    serials: Vec<u32>,
    /// The number that each of the kernel's words has among the texts, if it has one.
    words: Vec<Option<TextCode>>,
}

impl PartialEq for Known {
    fn eq(&self, _: &Known) -> bool {
        true
    }
}

impl Eq for Known {}

impl Facts {
    /// Number of the key of the kernel's session `serial`; `last` is the number it had last, here or elsewhere.
    pub(crate) fn session(&mut self, last: u32, serial: u32, key: impl FnOnce(&mut Facts) -> SessionKey) -> u32 {
        if self.known.serials.get(last as usize) == Some(&serial) {
            return last;
        }
        self.known.serials.push(serial);
        let key = key(self);
        self.keys.push(key);
        u32::try_from(self.keys.len() - 1).expect("an epoch has far fewer than 2^32 sessions")
    }

    /// Number that the kernel's word `word` has among these texts; a word that many facts name is looked up once.
    pub(crate) fn word(&mut self, word: WordCode, words: &Words) -> TextCode {
        let index = word.0 as usize;
        if let Some(Some(known)) = self.known.words.get(index) {
            return *known;
        }
        let code = self.texts.code(words.get(word));
        if self.known.words.len() <= index {
            self.known.words.resize(index + 1, None);
        }
        self.known.words[index] = Some(code);
        code
    }

    /// Rows, over all relations.
    pub fn rows(&self) -> usize {
        self.dispositions.len()
            + self.sessions.len()
            + self.segments.len()
            + self.plays.len()
            + self.intervals.len()
            + self.resumes.len()
            + self.impressions.len()
    }

    /// Forgets all rows, keeps the memory.
    pub fn clear(&mut self) {
        self.texts.clear();
        self.keys.clear();
        self.known.serials.clear();
        self.known.words.clear();
        self.dispositions.clear();
        self.sessions.clear();
        self.segments.clear();
        self.plays.clear();
        self.intervals.clear();
        self.resumes.clear();
        self.impressions.clear();
    }
}
