//! What a command answers with: lines on standard output, or why it failed.

use anyhow::{Context, Result};
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Writes one line. A reader that has closed standard output, as `head` does, has read enough: that is no error. The result is
/// then false, and more lines are for nobody.
pub(crate) fn line(text: impl Display) -> Result<bool> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Says in one line why the command failed; `status` is what it ends with.
pub(crate) fn failed(error: &anyhow::Error, status: ExitCode) -> ExitCode {
    eprintln!("watchbeat: {}", sql::database::with_causes(error.as_ref()));
    status
}
