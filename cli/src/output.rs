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
    eprintln!("watchbeat: {}", told(error));
    status
}

/// An error with its causes, those left out that an error before them has in its text already.
fn told(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let failure = service::Failure::Failed { name: "sink", source: "disk full".into() };
        let error = anyhow::Error::new(failure).context("cannot go on");
        assert_eq!(told(&error), "cannot go on: sink failed: disk full");
    }
}
