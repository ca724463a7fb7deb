//! The continuous views that Watchbeat ships, as SQL text. The processor plans and runs them.

/// One view's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewSource {
    /// Where the text is from: a file name, for messages.
    pub file: String,
    /// `create materialized view … as select …`.
    pub text: String,
}

/// The shipped views; each fills the table of its name.
pub fn shipped() -> Vec<ViewSource> {
    let view = |file: &str, text: &str| ViewSource { file: file.to_owned(), text: text.to_owned() };
    vec![
        view("watch_sessions.sql", include_str!("../views/watch_sessions.sql")),
        view("watch_segments.sql", include_str!("../views/watch_segments.sql")),
        view("resume_positions.sql", include_str!("../views/resume_positions.sql")),
        view("video_minutes.sql", include_str!("../views/video_minutes.sql")),
        view("title_hours.sql", include_str!("../views/title_hours.sql")),
        view("video_retention.sql", include_str!("../views/video_retention.sql")),
        view("ad_hours.sql", include_str!("../views/ad_hours.sql")),
        view("ad_reach.sql", include_str!("../views/ad_reach.sql")),
        view("ledger_minutes.sql", include_str!("../views/ledger_minutes.sql")),
    ]
}
