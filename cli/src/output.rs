//! What a command answers with: lines on standard output, or why it failed.

use anyhow::{Context, Result};
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Writes one line. Who closed standard output, as `head` does, has read enough: that is no error.
pub(crate) fn line(text: impl Display) -> Result<()> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

/// Says in one line why the command failed; `status` is what it ends with.
pub(crate) fn failed(error: &anyhow::Error, status: ExitCode) -> ExitCode {
    eprintln!("watchbeat: {}", sql::database::told(error.as_ref()));
    status
}
