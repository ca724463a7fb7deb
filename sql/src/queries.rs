//! The statements that read the tables, from `queries/*.sql`. Who may ask, and how an answer looks, is decided elsewhere.

/// All of `progress`, in order.
pub const PROGRESS: &str = include_str!("../queries/progress.sql");
/// What the ledger check compares, per partition.
pub const LEDGER_PARTITIONS: &str = include_str!("../queries/ledger_partitions.sql");
/// What the ledger check compares, per disposition.
pub const LEDGER_DISPOSITIONS: &str = include_str!("../queries/ledger_dispositions.sql");
/// Where a user goes on with a title. `$1` site, `$2` user, `$3` video.
pub const USER_VIDEO_RESUME: &str = include_str!("../queries/user_video_resume.sql");
/// The sessions of a user with a title. `$1` site, `$2` user, `$3` video, `$4` most rows.
pub const USER_VIDEO_SESSIONS: &str = include_str!("../queries/user_video_sessions.sql");
/// Their segments, by start. `$1` site, `$2` user, `$3` video, `$4` most rows.
pub const USER_VIDEO_SEGMENTS: &str = include_str!("../queries/user_video_segments.sql");
/// Whether anything is known of a title. `$1` site, `$2` video.
pub const VIDEO_KNOWN: &str = include_str!("../queries/video_known.sql");
/// Sums of a title per territory. `$1` site, `$2` video, `$3` from, `$4` to (null: no bound), `$5` most rows.
pub const VIDEO_TERRITORIES: &str = include_str!("../queries/video_territories.sql");
/// Audience of a title per minute. Parameters as [`VIDEO_TERRITORIES`].
pub const VIDEO_MINUTES: &str = include_str!("../queries/video_minutes.sql");
/// Content of a title by bucket. Parameters as [`VIDEO_TERRITORIES`].
pub const VIDEO_RETENTION: &str = include_str!("../queries/video_retention.sql");
