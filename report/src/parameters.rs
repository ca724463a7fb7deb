//! What a question names: checked before the database sees it.

use playback::validate::is_id;

use crate::{ReportError, limits};

/// The site of a question that names none: the one that gateways without keys use.
const DEFAULT_SITE: &str = "default";

/// The site of a question.
pub(crate) fn site(named: Option<String>) -> Result<String, ReportError> {
    let site = named.unwrap_or_else(|| DEFAULT_SITE.to_owned());
    check_id("site", &site)?;
    Ok(site)
}

/// Refuses what cannot be an id.
pub(crate) fn check_id(what: &str, id: &str) -> Result<(), ReportError> {
    if is_id(id, limits::ID_CHARS) {
        return Ok(());
    }
    let limit = limits::ID_CHARS;
    Err(ReportError::BadRequest(format!("{what} is no id: 1 to {limit} of letters, digits and . _ : -")))
}
