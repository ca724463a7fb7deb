//! Files whose content is replaced while the gateway runs.

use std::fmt::Display;
use std::time::Duration;

/// Looks `every` so often for new content, by `take_up`. Content that cannot be used is told once and changes nothing. Never ends.
pub(crate) async fn keep_current<E: Display>(
    what: &'static str,
    every: Duration,
    mut take_up: impl FnMut() -> Result<(), E>,
) {
    let mut told = None;
    loop {
        tokio::time::sleep(every).await;
        let error = take_up().err().map(|error| error.to_string());
        if let Some(error) = error.as_ref().filter(|_| error != told) {
            tracing::warn!(error, "keeping the {what} in use, the new ones cannot be used");
        }
        told = error;
    }
}
