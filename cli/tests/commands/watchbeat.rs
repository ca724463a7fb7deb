//! The binary under test, and a database with the schema for it.

use sql::testing::TestDatabase;
use std::io::{Seek, Write};
use std::process::{Command, Output};
use tokio_postgres::Client;

/// Runs `watchbeat` with these arguments on this database, and waits for its end.
pub(crate) fn watchbeat(database: &TestDatabase, arguments: &[&str]) -> Ended {
    watchbeat_reading(database, arguments, "")
}

/// The same with a text to read.
pub(crate) fn watchbeat_reading(database: &TestDatabase, arguments: &[&str], text: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchbeat"));
    command.args(arguments).env("WATCHBEAT_DATABASE_URL", database.url());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    Ended(command.stdin(file).output().unwrap())
}

/// What a command said, and how it ended.
pub(crate) struct Ended(Output);

impl Ended {
    pub(crate) fn status(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    pub(crate) fn answer(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn errors(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// Refuses a failure, with what the command said.
    pub(crate) fn succeeded(self) -> Ended {
        assert_eq!(self.status(), 0, "{}", self.errors());
        self
    }
}

/// A database with the schema, and a connection to it.
pub(crate) async fn database() -> (TestDatabase, Client) {
    let database = TestDatabase::create().await;
    let mut client = sql::database::connect(database.url()).await.unwrap();
    sql::migrate::migrate(&mut client).await.unwrap();
    (database, client)
}
