//! The continuous views that Watchbeat ships, as SQL text. The processor plans and runs them.

/// One view's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewSource {
    /// Where the text is from: a file name, for messages.
    pub file: String,
    /// `create materialized view … as select …`.
    pub text: String,
}

/// The view that the account of all records is held against: without it nothing could be verified.
pub const LEDGER: &str = "ledger_minutes";

/// The tables that no view fills: a view of such a name would fail in the database.
pub const RESERVED: [&str; 7] = ["progress", "owner", "videos", "licences", "ad_lines", "migrations", "migration_lock"];

/// Name and text of each shipped view; it fills the table of its name.
const SHIPPED: [(&str, &str); 9] = [
    ("watch_sessions", include_str!("../views/watch_sessions.sql")),
    ("watch_segments", include_str!("../views/watch_segments.sql")),
    ("resume_positions", include_str!("../views/resume_positions.sql")),
    ("video_minutes", include_str!("../views/video_minutes.sql")),
    ("title_hours", include_str!("../views/title_hours.sql")),
    ("video_retention", include_str!("../views/video_retention.sql")),
    ("ad_hours", include_str!("../views/ad_hours.sql")),
    ("ad_reach", include_str!("../views/ad_reach.sql")),
    (LEDGER, include_str!("../views/ledger_minutes.sql")),
];

/// Names of the shipped views.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The shipped views.
pub fn shipped() -> Vec<ViewSource> {
    shipped_without(&[])
}

/// The shipped views but those of these names; the ledger's is always among them.
pub fn shipped_without(left_out: &[String]) -> Vec<ViewSource> {
    let is_wanted = |name: &str| name == LEDGER || !left_out.iter().any(|other| other == name);
    let wanted = SHIPPED.iter().filter(|(name, _)| is_wanted(name));
    wanted.map(|(name, text)| ViewSource { file: format!("{name}.sql"), text: (*text).to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn files_without(names: &[&str]) -> Vec<String> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        shipped_without(&names).into_iter().map(|view| view.file).collect()
    }

    #[test]
    fn what_is_named_is_left_out_and_never_the_ledger() {
        let all: Vec<_> = names().map(|name| format!("{name}.sql")).collect();
        assert_eq!(files_without(&[]), all);
        let rest: Vec<_> = all.into_iter().filter(|file| file != "ad_hours.sql").collect();
        assert_eq!(files_without(&["ad_hours", "ad_hours", LEDGER]), rest);
    }

    #[test]
    fn every_file_of_the_folder_is_shipped() {
        let entries = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/views")).unwrap();
        let files: BTreeSet<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(files, shipped().into_iter().map(|view| view.file).collect());
    }
}
