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
const LEDGER: &str = "ledger_minutes";

/// Why a shipped view cannot be left out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LeaveOutError {
    /// There is no such view.
    #[error("there is no built-in view {name}: there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// It is the ledger's.
    #[error("the view {LEDGER} cannot be left out: `watchbeat verify` balances the log by it")]
    Ledger,
}

impl ViewSource {
    /// Name of a shipped view and its table.
    fn shipped_name(&self) -> &str {
        self.file.trim_end_matches(".sql")
    }
}

/// The shipped views but those of these names.
pub fn shipped_without(names: &[String]) -> Result<Vec<ViewSource>, LeaveOutError> {
    let mut views = shipped();
    for name in names {
        if name == LEDGER {
            return Err(LeaveOutError::Ledger);
        }
        if !shipped().iter().any(|view| view.shipped_name() == name) {
            let known: Vec<_> = shipped().iter().map(|view| view.shipped_name().to_owned()).collect();
            return Err(LeaveOutError::Unknown { name: name.clone(), known: known.join(", ") });
        }
        views.retain(|view| view.shipped_name() != name);
    }
    Ok(views)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn files_without(names: &[&str]) -> Result<Vec<String>, LeaveOutError> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        shipped_without(&names).map(|views| views.into_iter().map(|view| view.file).collect())
    }

    #[test]
    fn what_is_left_out_is_named_and_never_the_ledger() {
        let all: Vec<_> = shipped().into_iter().map(|view| view.file).collect();
        assert_eq!(files_without(&[]), Ok(all.clone()));
        let rest: Vec<_> = all.into_iter().filter(|file| file != "ad_hours.sql").collect();
        assert_eq!(files_without(&["ad_hours", "ad_hours"]), Ok(rest));
        assert_eq!(files_without(&["ad_reach", LEDGER]), Err(LeaveOutError::Ledger));
        let error = files_without(&["ad_hour"]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("no built-in view ad_hour:") && error.contains("ad_hours, ad_reach"), "{error}");
    }
}
