//! One process of the binary under test. It ends with the test, whatever happens to that.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running `watchbeat`.
pub(crate) struct Process {
    child: Child,
    name: String,
    /// Address of its admin port, if it was given one.
    pub(crate) admin: String,
}

impl Process {
    /// Starts `watchbeat` with these arguments; standard error goes to a file in `dir`, for whoever has to find out.
    pub(crate) fn start(dir: &Path, name: &str, arguments: &[&str]) -> Process {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_watchbeat"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        // SAFETY: between fork and exec it only asks the kernel to end this process with the thread that started it.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        Process { child: command.spawn().unwrap(), name: name.to_owned(), admin: String::new() }
    }

    /// The first line of standard output.
    pub(crate) fn first_line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{} ended without a word on standard output: {:?}", self.name, self.child.wait());
        line
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it says of its readiness.
    pub(crate) fn readiness(&self) -> String {
        self.asked("/readyz")
    }

    /// What it answers on its admin port, head and body.
    pub(crate) fn asked(&self, path: &str) -> String {
        let mut answer = String::new();
        let mut connection = TcpStream::connect(&self.admin).unwrap();
        write!(connection, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    /// SIGTERM, then how it ended.
    pub(crate) fn stop(self) -> ExitStatus {
        self.stop_within(Duration::from_secs(40))
    }

    /// The same; fails when it takes longer than `patience`.
    pub(crate) fn stop_within(self, patience: Duration) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.end_within(patience)
    }

    /// Waits until it ends; fails when that takes longer than `patience`.
    pub(crate) fn end_within(mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} does not end", self.name);
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a signal to our own child, which is not waited for yet.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Fails if it has ended.
    pub(crate) fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended by itself: {status}", self.name);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// Waits until `holds`, or fails with what it waited for.
pub(crate) fn wait_until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {} s in vain until {what}", patience.as_secs());
        std::thread::sleep(Duration::from_millis(25));
    }
}
