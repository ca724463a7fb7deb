//! Why a report is refused: one named code for each bound of the specification, and a sentence for its author.
//!
//! Details name fields and bounds, never values, so that no user id leaks through them. What a whole body can
//! do wrong (its type, encoding, size) is the gateway's business.

use std::fmt;

/// Why one report was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Rejection {
    /// The bound it broke.
    pub code: Code,
    /// What was expected instead, for the author of the player.
    pub detail: String,
}

impl From<Code> for Rejection {
    fn from(code: Code) -> Rejection {
        Rejection { code, detail: code.meaning().to_owned() }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The table below as an enum, its names on the wire, and their meanings.
macro_rules! codes {
    ($($variant:ident $name:literal $meaning:literal;)*) => {
        /// A bound that a report can break; the names are part of the contract and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the specification's fields.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// What was expected.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning,)* }
            }
        }
    };
}

codes! {
    MalformedJson "malformed_json" "the report is not JSON";
    NotAnObject "not_an_object" "a report is a JSON object";
    DuplicateField "duplicate_field" "each field may be there once";
    SessionIdMissing "session_id_missing" "session_id is required";
    SessionIdInvalid "session_id_invalid" "session_id is a string of 1 to 64 characters out of A-Z a-z 0-9 . _ : -";
    SeqMissing "seq_missing" "seq is required";
    SeqInvalid "seq_invalid" "seq is an integer from 0 to 1000000, without fraction or exponent";
    UserIdMissing "user_id_missing" "user_id is required";
    UserIdInvalid "user_id_invalid" "user_id is a string of 1 to 128 characters out of A-Z a-z 0-9 . _ : -";
    UserNotAllowed "user_not_allowed" "user_id is the user whom the play token was issued to";
    VideoIdMissing "video_id_missing" "video_id is required";
    VideoIdInvalid "video_id_invalid" "video_id is a string of 1 to 128 characters out of A-Z a-z 0-9 . _ : -";
    EventTimeMissing "event_time_missing" "event_time is required";
    EventTimeInvalid "event_time_invalid" "event_time is an integer, milliseconds since the epoch, without fraction or exponent";
    EventTimeTooOld "event_time_too_old" "event_time, corrected by sent_at, is more than 7 days before the report was received";
    EventTimeInFuture "event_time_in_future" "event_time, corrected by sent_at, is more than 5 minutes after the report was received";
    PositionMissing "position_ms_missing" "position_ms is required";
    PositionInvalid "position_ms_invalid" "position_ms is an integer from 0 to 172800000, without fraction or exponent";
    SentAtInvalid "sent_at_invalid" "sent_at is an integer, milliseconds since the epoch, without fraction or exponent";
    SentAtBeforeEventTime "sent_at_before_event_time" "sent_at is the device's clock at sending: not before event_time";
    SentAtTooLate "sent_at_too_late" "sent_at is at most 7 days after event_time";
    FromInvalid "from_ms_invalid" "from_ms is an integer from 0 to 172800000, without fraction or exponent";
    PlayedInvalid "played_ms_invalid" "played_ms is an integer from 1 to 120000, without fraction or exponent";
    IntervalIncomplete "interval_incomplete" "from_ms and played_ms go together: send both or neither";
    StateInvalid "state_invalid" "state is one of playing, paused, buffering, seeking, ended, error";
    RateInvalid "rate_invalid" "rate is a number from 0.0625 to 16 (in Protobuf rate_thousandths, 62 to 16000)";
    DurationInvalid "duration_ms_invalid" "duration_ms is an integer from 1000 to 172800000, without fraction or exponent; absent when live";
    TerritoryInvalid "territory_invalid" "territory is two capital letters, ISO 3166-1 alpha-2";
    DeviceInvalid "device_invalid" "device is a string of 1 to 64 printable ASCII characters";
    ConsentInvalid "consent_invalid" "consent is true or false";
    AdInvalid "ad_invalid" "ad is an object";
    AdImpressionIdMissing "ad_impression_id_missing" "ad.impression_id is required in an ad report";
    AdImpressionIdInvalid "ad_impression_id_invalid" "ad.impression_id is a string of 1 to 64 characters out of A-Z a-z 0-9 . _ : -";
    AdLineIdMissing "ad_line_id_missing" "ad.line_id is required in an ad report";
    AdLineIdInvalid "ad_line_id_invalid" "ad.line_id is a string of 1 to 64 characters out of A-Z a-z 0-9 . _ : -";
    AdCreativeIdInvalid "ad_creative_id_invalid" "ad.creative_id is a string of 1 to 64 characters out of A-Z a-z 0-9 . _ : -";
    AdQuartileInvalid "ad_quartile_invalid" "ad.quartile is an integer from 0 to 4";
    AdViewableInvalid "ad_viewable_ms_invalid" "ad.viewable_ms is an integer from 0 to 600000, without fraction or exponent";
}
