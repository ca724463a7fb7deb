//! A private PostgreSQL cluster in the data directory, run from binaries that are on the machine. It listens on the
//! loopback interface only, asks for a random password, and ends with the process that started it, however that ends.

use super::programs;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to come up: a crash recovery after a kill takes its time.
const START_PATIENCE: Duration = Duration::from_secs(60);
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const USER: &str = "watchbeat";
const DATABASE: &str = "watchbeat";

/// A running server; it is stopped when this is dropped.
pub(crate) struct Postgres {
    server: Child,
    url: String,
}

impl Postgres {
    /// Starts the cluster in `dir`, and makes it first when there is none.
    ///
    /// Call it on the main thread: the kernel ends the server when the thread that started it ends.
    pub(crate) async fn start(dir: &Path) -> Result<Postgres> {
        let binaries = programs::find(&dir.join("cluster"))?;
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir.canonicalize().with_context(|| format!("cannot open {}", dir.display()))?;
        let account = Account::of_server()?;
        let cluster = dir.join("cluster");
        let password = password(&dir)?;
        if !cluster.join("PG_VERSION").exists() {
            make_cluster(&binaries, &account, &dir, &cluster)?;
        }
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let port = free_port()?;
            let log_file = dir.join("server.log");
            let mut server = serve(&binaries, &account, &cluster, &log_file, port)?;
            let url = |database: &str| format!("postgres://{USER}:{password}@127.0.0.1:{port}/{database}");
            if wait_until_up(&mut server, &url("postgres"), deadline).await? {
                create_database(&url("postgres")).await?;
                return Ok(Postgres { server, url: url(DATABASE) });
            }
            // It gave up at once: the server of a killed process may still be going down, or the port was taken.
            if Instant::now() > deadline {
                bail!("PostgreSQL does not start; its last words: {}", last_words(&log_file));
            }
            tokio::time::sleep(RETRY_PAUSE * 4).await;
        }
    }

    /// The URL of its database, with the password.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = i32::try_from(self.server.id()).expect("a process id is an i32");
        // SAFETY: a signal to our own child, which is not waited for yet, so the id is still its.
        unsafe { libc::kill(pid, libc::SIGINT) }; // fast shutdown: ends sessions, keeps everything committed
        if let Err(error) = self.server.wait() {
            tracing::warn!(%error, "cannot wait for PostgreSQL to end");
        }
    }
}

/// Who the server runs as: PostgreSQL refuses to be root.
struct Account {
    /// Ids to change to, when this process is root.
    ids: Option<(u32, u32)>,
}

impl Account {
    fn of_server() -> Result<Account> {
        // SAFETY: it only reads an id, and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(Account { ids: None });
        }
        let accounts =
            fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd to find whom PostgreSQL can run as")?;
        let ids = ["postgres", "nobody"].iter().find_map(|name| {
            let fields: Vec<_> =
                accounts.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == *name)?;
            Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
        });
        let ids = ids.context(
            "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody: run as another user",
        )?;
        Ok(Account { ids: Some(ids) })
    }

    /// The command for one of PostgreSQL's programs. It ends with this process, and as root it drops all privileges but
    /// the one to get through directories of root, such as the data directory's parents.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if let Some((user, group)) = self.ids {
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups");
            for kind in ["inh", "ambient"] {
                command.arg(format!("--{kind}-caps=-all,+dac_override"));
            }
            command.arg("--bounding-set=-all,+dac_override");
        }
        command.arg("--").arg(program).env("LC_ALL", "C").stdin(Stdio::null());
        command
    }
}

/// The cluster's password, made once and kept for the owner alone.
fn password(dir: &Path) -> Result<String> {
    let file = dir.join("password");
    if let Ok(password) = fs::read_to_string(&file) {
        return Ok(password);
    }
    let mut random = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("cannot read /dev/urandom")?;
    let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(&file, "")
        .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o600)))
        .with_context(|| format!("cannot write {}", file.display()))?;
    fs::write(&file, &password).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(password)
}

fn make_cluster(binaries: &Path, account: &Account, dir: &Path, cluster: &Path) -> Result<()> {
    // What an interrupted first start left is of no use.
    if cluster.exists() {
        fs::remove_dir_all(cluster).with_context(|| format!("cannot remove the unfinished {}", cluster.display()))?;
    }
    let fresh = dir.join("cluster.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).with_context(|| format!("cannot remove the unfinished {}", fresh.display()))?;
    }
    fs::create_dir(&fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o700))?;
    if let Some((user, group)) = account.ids {
        chown(&fresh, Some(user), Some(group))
            .with_context(|| format!("cannot give {} to PostgreSQL", fresh.display()))?;
    }
    let made = account
        .command(&binaries.join("initdb"))
        .arg("-D")
        .arg(&fresh)
        .args(["--username", USER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--pwfile"])
        .arg(dir.join("password"))
        .output()
        .context("cannot run initdb (through setpriv, of util-linux)")?;
    if !made.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&made.stderr).trim());
    }
    fs::rename(&fresh, cluster).with_context(|| format!("cannot rename {}", fresh.display()))
}

fn serve(binaries: &Path, account: &Account, cluster: &Path, log_file: &Path, port: u16) -> Result<Child> {
    let log = fs::File::create(log_file).with_context(|| format!("cannot write {}", log_file.display()))?;
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        "unix_socket_directories=".to_owned(),
        "max_wal_size=4GB".to_owned(), // fewer checkpoints while the tables fill
        "timezone=UTC".to_owned(),
    ];
    let mut command = account.command(&binaries.join("postgres"));
    command.arg("-D").arg(cluster);
    for setting in settings {
        command.arg("-c").arg(setting);
    }
    command.stdout(Stdio::null()).stderr(log);
    command.spawn().context("cannot run postgres (through setpriv, of util-linux)")
}

/// True once it answers, false when it ended instead.
async fn wait_until_up(server: &mut Child, url: &str, deadline: Instant) -> Result<bool> {
    while Instant::now() < deadline {
        if server.try_wait().context("cannot watch PostgreSQL")?.is_some() {
            return Ok(false);
        }
        if sql::database::connect(url).await.is_ok() {
            return Ok(true);
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    let _ = server.kill(); // it hangs: the caller tells
    Ok(false)
}

async fn create_database(url: &str) -> Result<()> {
    let client = sql::database::connect(url).await?;
    let there = client.query_opt("select from pg_database where datname = $1", &[&DATABASE]).await?;
    if there.is_none() {
        client.batch_execute(&format!("create database {DATABASE}")).await?;
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?.local_addr()?.port())
}

fn last_words(log_file: &Path) -> String {
    let text = fs::read_to_string(log_file).unwrap_or_default();
    text.lines().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(" | ")
}
